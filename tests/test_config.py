"""The configuration: every default loads; whatever is wrong is named with file, key, value and what is allowed."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from config import (
    DEFAULT_CONFIG,
    ROOT,
    Config,
    ConfigError,
    load_config,
    missed_meetings,
    parse_config,
    resolve,
    to_json,
)
from testing.harness import deep_update
from trading_lib.simulation import GBM, OU

SMALLEST: dict[str, Any] = {"symbols": ["AAPL"]}


def parsed(**changes: Any) -> Config:
    return parse_config(json.dumps(deep_update({**SMALLEST}, changes)).encode())


def refusal(**changes: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        parsed(**changes)
    return str(refused.value)


# ---------------------------------------------------------------------------------------------- what loads


def test_the_shipped_configuration_loads_and_says_nothing_but_defaults() -> None:
    config = load_config()
    assert config.symbols == ("AAPL", "GOOG", "IBM", "MSFT")
    assert config == parsed(symbols=list(config.symbols))


def test_every_shipped_configuration_loads() -> None:
    for path in (ROOT / "configs").glob("*.json"):
        load_config(path)


def test_only_the_symbols_are_required_and_every_section_has_its_defaults() -> None:
    config = parsed()
    assert (config.Gateway.md_port, config.Gateway.news_port, config.OrderManager.port) == (8000, 8001, 9000)
    assert config.Gateway.pace.ticks_per_s == 200
    assert config.Gateway.news.every_ticks == 100
    assert config.Gateway.loop
    assert config.OrderBook.shared_memory_name == "market_prices"
    assert (config.Strategy.short_window, config.Strategy.long_window) == (5, 20)
    assert (config.Strategy.bullish_threshold, config.Strategy.bearish_threshold) == (60, 40)


def test_where_a_part_looks_for_another_is_where_that_one_is_unless_it_is_given() -> None:
    config = parsed(
        Gateway={"md_port": 1, "news_port": 2},
        OrderBook={"shared_memory_name": "x"},
        OrderManager={"port": 3},
    )
    assert (config.OrderBook.md_port, config.OrderBook.news_port) == (1, 2)
    assert config.Strategy.order_manager_port == 3
    assert config.Strategy.shared_memory_name == config.OrderManager.shared_memory_name == "x"
    assert list(missed_meetings(config)) == []
    assert json.loads(to_json(config))["OrderManager"]["shared_memory_name"] == "x"


def test_a_copy_of_the_shipped_file_may_leave_out_where_the_order_manager_finds_the_tape() -> None:
    tree = json.loads(DEFAULT_CONFIG.read_bytes())
    assert "shared_memory_name" not in tree["OrderManager"]
    tree["OrderBook"]["shared_memory_name"] = tree["Strategy"]["shared_memory_name"] = "second"
    assert parse_config(json.dumps(tree).encode()).OrderManager.shared_memory_name == "second"


def test_where_a_part_looks_for_another_may_be_given_and_what_does_not_meet_is_named() -> None:
    config = parsed(OrderBook={"shared_memory_name": "x"}, Strategy={"shared_memory_name": "y"})
    assert (config.Strategy.shared_memory_name, config.OrderManager.shared_memory_name) == ("y", "x")
    (missed,) = missed_meetings(config)
    assert missed == (
        "Strategy.shared_memory_name (y) must be OrderBook.shared_memory_name (x): "
        "Strategy and OrderBook would never meet"
    )


def test_a_port_on_another_host_is_somebody_else_and_need_not_be_the_same() -> None:
    between = parsed(Strategy={"order_manager_host": "localhost", "order_manager_port": 9500})
    assert list(missed_meetings(between)) == []
    assert len(list(missed_meetings(parsed(Strategy={"order_manager_port": 9500})))) == 1


def test_the_default_strategy_takes_its_parameters_from_the_section() -> None:
    entry = parsed(Strategy={"short_window": 3, "long_window": 9, "quantity": 7}).Strategy.entries[0]
    assert (entry.id, entry.path) == ("sma_news", "strategies/sma_news/strategy.py")
    assert entry.params == {
        "short_window": 3,
        "long_window": 9,
        "bullish_threshold": 60,
        "bearish_threshold": 40,
        "quantity": 7,
    }
    assert resolve(entry.path).is_file()


def test_a_configured_strategy_is_the_one_to_run() -> None:
    mine = {"id": "mine", "path": "x.py", "params": {"deep": {"er": [1]}}, "symbols": ["IBM"]}
    entry = parsed(Strategy={"strategies": [mine]}).Strategy.entries[0]
    assert (entry.id, entry.path, entry.params, entry.symbols) == (
        "mine",
        "x.py",
        {"deep": {"er": [1]}},
        ("IBM",),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"symbols": ["BTC/USD", "SPY.BID", "^GSPC", "ES=F", "a-b_c:1"]},
        {"instruments": {"AAPL": {"tick_size": 0.01}, "NOT.LISTED": {}}},
        {"Gateway": {"pace": {"ticks_per_s": 0}, "news": {"every_ticks": 0}}},
        {"Gateway": {"md_port": 1, "news_port": 65535}},
        {"Gateway": {"host": "localhost"}, "OrderManager": {"host": "::1"}},
        {"Gateway": {"host": "127.8.9.10"}},
        {"OrderManager": {"host": "::1", "port": 8000}},  # another address: no clash
        {"run": {"start": "1970-01-01"}},
        {"run": {"duration_s": 0.001}},
        {"Gateway": {"provider": "simulated"}},
        {"Gateway": {"provider": "simulated", "model": {"type": "vasicek", "P0": 50}}},
        {"Gateway": {"provider": "simulated", "model": {"sigma": 0.1}, "correlation": [[1]]}},
        {"Gateway": {"provider": "simulated", "schedule": {"mode": "poisson"}, "faults": {"drop": 0.1}}},
    ],
)
def test_what_is_allowed_is_allowed(changes: dict[str, Any]) -> None:
    parsed(**changes)


@pytest.mark.parametrize(
    ("start", "ns"),
    [
        ("2025-01-02T14:30:00Z", 1_735_828_200_000_000_000),
        ("2025-01-02T15:30:00+01:00", 1_735_828_200_000_000_000),
        ("2025-01-02T14:30:00", 1_735_828_200_000_000_000),
        ("2025-01-02T14:30:00.999999Z", 1_735_828_200_999_999_000),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_the_start_is_ns_utc(start: str, ns: int) -> None:
    assert parsed(run={"start": start}).run.start_ns == ns


def test_written_out_and_read_again_it_is_the_same() -> None:
    config = parsed(
        instruments={"AAPL": {"tick_size": 0.05}},
        run={"seed": 7},
        Strategy={"strategies": [{"id": "mine", "path": "x.py", "params": {"a": [1, None, "x"]}}]},
    )
    written = to_json(config)
    assert parse_config(written) == config
    assert written.endswith(b"}\n")
    assert json.loads(written)["Gateway"]["md_port"] == 8000  # every default is written out


@pytest.mark.parametrize(
    ("model", "kind"), [(None, OU), ({}, OU), ({"type": "vasicek"}, OU), ({"type": "gbm"}, GBM)]
)
def test_the_model_of_a_simulated_market_is_of_its_type(model: dict[str, Any] | None, kind: type) -> None:
    assert parsed(Gateway={"provider": "simulated", "model": model}).Gateway.market == kind()


def test_a_model_is_written_out_with_every_parameter() -> None:
    config = parsed(Gateway={"provider": "simulated", "model": {"type": "regime", "P0": 7}})
    written = json.loads(to_json(config))["Gateway"]["model"]
    assert (written["type"], written["P0"], written["year"]) == ("regime", 7.0, "calendar")
    assert written["regimes"][0] == {"mu": 0.05, "sigma": 0.1, "hold_s": 60.0}
    assert parse_config(to_json(config)) == config


def test_paths_are_relative_to_the_project_or_absolute() -> None:
    assert resolve("data/x.csv") == ROOT / "data/x.csv"
    assert resolve("/x.csv") == Path("/x.csv")
    assert DEFAULT_CONFIG == ROOT / "config.json"


# --------------------------------------------------------------------------------------------- what does not


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"zz": 1}, "zz: no such key, only symbols, instruments, run, Gateway, "),
        ({"Gateway": {"port": 1}}, "Gateway.port: no such key, only host, md_port, news_port, "),
        ({"Gateway": {"pace": {"speed": 1}}}, "Gateway.pace.speed: no such key, only mode, ticks_per_s"),
        (
            {"instruments": {"AAPL": {}, "MSFT": {"tick": 1}}},
            "instruments.MSFT.tick: no such key, only tick_size, ",
        ),
        ({"Strategy": {"strategies": [{"id": "x"}]}}, "Strategy.strategies[0].path: is missing"),
    ],
)
def test_a_key_that_does_not_exist_is_named_with_those_that_do(changes: dict[str, Any], text: str) -> None:
    assert refusal(**changes).startswith(f"config.json: {text}")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model": {"type": "sabr"}}, "Gateway.model.type = 'sabr': expected 'ou' or 'vasicek' or 'gbm' or "),
        ({"model": {"type": []}}, "Gateway.model.type = []: expected 'ou' or "),
        ({"model": {"kapa": 1}}, "Gateway.model.kapa: no such key, only type, P0, kappa, theta, sigma, "),
        ({"model": {"type": "gbm", "kappa": 1}}, "Gateway.model.kappa: no such key, only type, P0, mu, "),
        ({"model": {"kappa": -1}}, "Gateway.model.kappa: must be at least 0, not -1.0"),
        ({"model": {"kappa": "fast"}}, "Gateway.model.kappa: expected `float`, got `str`"),
        (
            {"model": {"type": "regime", "regimes": [{"mu": 0, "sigma": 1}]}},
            "Gateway.model.regimes[0]: object missing required field `hold_s`",
        ),
        (
            {"correlation": [[1, 0], [0, 1]]},
            "Gateway.correlation: must be 1 x 1, one row a symbol",
        ),
        ({"correlation": [[0.5]]}, "Gateway.correlation: must be symmetric, with 1 on the diagonal"),
        ({"correlation": [[1], []]}, "Gateway.correlation: must be 1 x 1, one row a symbol"),
        (
            {"provider": "csv", "model": {}},
            "Gateway.model: only with Gateway.provider 'simulated', not 'csv'",
        ),
        ({"provider": "csv", "correlation": [[1]]}, "Gateway.correlation: only with Gateway.provider"),
        (
            {"provider": "random_walk", "schedule": {"mode": "poisson"}},
            "Gateway.schedule.mode = 'poisson': only with Gateway.provider 'simulated', not 'random_walk'",
        ),
        ({"faults": {"drop": 1}}, "Gateway.faults.drop = 1: expected a number at least 0"),
        ({"news": {"follows_returns": 2}}, "Gateway.news.follows_returns = 2: expected a number at least 0"),
    ],
)
def test_a_simulated_market_that_cannot_be_is_explained(changes: dict[str, Any], text: str) -> None:
    assert refusal(Gateway={"provider": "simulated", **changes}).startswith(f"config.json: {text}")


PORT = "expected a whole number at least 1 and at most 65535"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"symbols": []}, "symbols = []: expected a list of at least 1 entries"),
        ({"symbols": "AAPL"}, "symbols = 'AAPL': expected a list of at least 1 entries"),
        ({"symbols": ["A", "two words"]}, r"symbols[1] = 'two words': expected text like ^["),
        ({"symbols": ["A" * 25]}, f"symbols[0] = '{'A' * 25}': expected text like "),
        (
            {"instruments": {"two words": {}}},
            "instruments = {'two words': {}}: as keys expected text like ^[",
        ),
        (
            {"instruments": {"A": {}, "B": {"tick_size": 0}}},
            "instruments.B.tick_size = 0: expected a number at least 1e-15",
        ),
        (
            {"instruments": {"A": {"settlement": "barter"}}},
            "instruments.A.settlement = 'barter': expected 'cash_and_carry'",
        ),
        ({"run": {"seed": -1}}, "run.seed = -1: expected a whole number at least 0"),
        ({"run": {"seed": 1.5}}, "run.seed = 1.5: expected a whole number at least 0"),
        ({"run": {"duration_s": -1}}, "run.duration_s = -1: expected a number at least 0 and at most"),
        ({"run": {"log_dir": None}}, "run.log_dir = None: expected text"),
        ({"Gateway": 3}, "Gateway = 3: expected an object"),
        ({"Gateway": {"md_port": 0}}, f"Gateway.md_port = 0: {PORT}"),
        ({"Gateway": {"md_port": 65536}}, f"Gateway.md_port = 65536: {PORT}"),
        ({"Gateway": {"md_port": "8000"}}, f"Gateway.md_port = '8000': {PORT}"),
        ({"Gateway": {"md_port": None}}, f"Gateway.md_port = None: {PORT}"),
        ({"Gateway": {"loop": "yes"}}, "Gateway.loop = 'yes': expected true or false"),
        (
            {"Gateway": {"provider": "kafka"}},
            "Gateway.provider = 'kafka': expected 'csv' or 'random_walk' or ",
        ),
        ({"Gateway": {"pace": {"mode": "x"}}}, "Gateway.pace.mode = 'x': expected 'event' or 'ticks_per_s'"),
        ({"Gateway": {"pace": {"mode": 3}}}, "Gateway.pace.mode = 3: expected 'event' or 'ticks_per_s'"),
        ({"Gateway": {"on_slow": "wait"}}, "Gateway.on_slow = 'wait': expected 'disconnect' or 'drop'"),
        ({"Gateway": {"pace": {"ticks_per_s": -1}}}, "Gateway.pace.ticks_per_s = -1: expected a number "),
        ({"Gateway": {"pace": {"ticks_per_s": 1e10}}}, "Gateway.pace.ticks_per_s = 10000000000.0: expected "),
        ({"Gateway": {"pace": {"ticks_per_s": 1e-9}}}, "Gateway.pace.ticks_per_s = 1e-09: expected 0 (flat"),
        ({"Gateway": {"news": {"every_ticks": 0.5}}}, "Gateway.news.every_ticks = 0.5: expected 0 (no news)"),
        ({"Gateway": {"schedule": {"speed": 0}}}, "Gateway.schedule.speed = 0: expected a number at least "),
        ({"Gateway": {"client_buffer_bytes": 1}}, "Gateway.client_buffer_bytes = 1: expected a whole number"),
        (
            {"Gateway": {"max_clients": 1001}},
            "Gateway.max_clients = 1001: expected a whole number at least 1",
        ),
        ({"OrderBook": {"tape_capacity": 100}}, "OrderBook.tape_capacity = 100: expected a whole number at "),
        (
            {"OrderBook": {"shared_memory_name": "../x"}},
            "OrderBook.shared_memory_name = '../x': expected text",
        ),
        ({"OrderBook": {"shared_memory_name": ".."}}, "OrderBook.shared_memory_name = '..': expected text"),
        ({"Strategy": {"quantity": 0}}, "Strategy.quantity = 0: expected a number above 0"),
        (
            {"Strategy": {"bullish_threshold": 101}},
            "Strategy.bullish_threshold = 101: expected a whole number",
        ),
        (
            {"Strategy": {"strategies": [{"id": "a" * 25, "path": "x"}]}},
            f"Strategy.strategies[0].id = '{'a' * 25}': expected text like",
        ),
        (
            {"Strategy": {"strategies": [{"id": "a", "path": "x", "symbols": ["ok", "not ok"]}]}},
            "Strategy.strategies[0].symbols[1] = 'not ok': expected text like",
        ),
        ({"Dashboard": {"token": "short"}}, "Dashboard.token = 'short': expected text like ^[A-Za-z0-9_"),
        ({"Dashboard": {"token": "a token in words"}}, "Dashboard.token = 'a token in words': expected "),
        ({"Dashboard": {"hosts": ["lab", "a/b"]}}, "Dashboard.hosts[1] = 'a/b': expected text like ^["),
        ({"Dashboard": {"host": ""}}, "Dashboard.host = '': expected text like ^["),
        (
            {"Dashboard": {"history_s": 1}},
            "Dashboard.history_s = 1: expected a number at least 5 and at most",
        ),
        ({"Dashboard": {"max_streams": 0}}, "Dashboard.max_streams = 0: expected a whole number at least 1"),
        (
            {"OrderManager": {"risk": {"max_order_qty": 0}}},
            "OrderManager.risk.max_order_qty = 0: expected a ",
        ),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_what_is(changes: dict[str, Any], text: str) -> None:
    assert refusal(**changes).startswith(f"config.json: {text}")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"Strategy": {"short_window": 20, "long_window": 5}},
            "Strategy.short_window (20) must be below Strategy.long_window (5)",
        ),
        (
            {"Strategy": {"short_window": 20}},
            "Strategy.short_window (20) must be below Strategy.long_window (20)",
        ),
        (
            {"Strategy": {"bullish_threshold": 40}},
            "Strategy.bearish_threshold (40) must be below Strategy.bullish_threshold (40)",
        ),
        ({"symbols": ["A", "B", "A"]}, "symbols: A listed twice"),
        (
            {"symbols": ["A", "B"], "OrderBook": {"symbol_capacity": 1}},
            "OrderBook.symbol_capacity (1) must be at least the number of symbols (2)",
        ),
        ({"Gateway": {"news_port": 8000}}, "Gateway.md_port and Gateway.news_port are both 8000"),
        ({"OrderManager": {"port": 8001}}, "Gateway.news_port and OrderManager.port are both 8001"),
        ({"Gateway": {"md_port": 8080}}, "Dashboard.port and Gateway.md_port are both 8080"),
        ({"Dashboard": {"port": 9002}}, "Dashboard.port and OrderBook.control_port are both 9002"),
        ({"run": {"start": "yesterday"}}, "run.start = 'yesterday': expected an ISO 8601 time from 1970"),
        ({"run": {"start": "1969-12-31T23:59:59Z"}}, "run.start = '1969-12-31T23:59:59Z': expected an ISO"),
        ({"run": {"start": "2300-01-01"}}, "run.start = '2300-01-01': expected an ISO 8601 time from 1970"),
    ],
)
def test_rules_between_keys_name_both(changes: dict[str, Any], text: str) -> None:
    assert refusal(**changes).startswith(f"config.json: {text}")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.com", "127.0.0.1.example.com", ""])
@pytest.mark.parametrize("section", ["Gateway", "OrderManager"])
def test_only_loopback_may_be_listened_on(section: str, host: str) -> None:
    assert refusal(**{section: {"host": host}}).startswith(
        f"config.json: {section}.host = {host!r}: only loopback addresses"
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "lab.example.com"])
def test_beyond_loopback_the_dashboard_listens_only_with_a_token(host: str) -> None:
    text = f"config.json: Dashboard.host = {host!r}: beyond loopback (127.0.0.1, localhost, ::1) only with a "
    assert refusal(Dashboard={"host": host}).startswith(f"{text}Dashboard.token")
    assert parsed(Dashboard={"host": host, "token": "0123456789abcdef"}).Dashboard.host == host


def test_a_dashboard_that_is_off_needs_no_port() -> None:
    parsed(Gateway={"md_port": 8080}, Dashboard={"enabled": False})


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "not JSON: "),
        (b"{", "not JSON: "),
        (b"\xff\xfe", "not JSON: "),
        (b'{"symbols": ["A"], "run": {"duration_s": 1e999}}', "not JSON: Number out of range"),
        (b"[]", "top level = []: expected an object"),
        (b"3", "top level = 3: expected an object"),
        (b"{}", "symbols: is missing"),
    ],
)
def test_what_is_no_configuration_at_all_is_said_to_be_none(raw: bytes, text: str) -> None:
    with pytest.raises(ConfigError, match=f"^mine.json: {re.escape(text)}"):
        parse_config(raw, "mine.json")


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    with pytest.raises(ConfigError, match=r"other\.json: cannot be read: No such file"):
        load_config(path)
    path.write_text('{"symbols": ["A"], "Gateway": {"md_port": 0}}')
    with pytest.raises(ConfigError, match=r"^other\.json: Gateway\.md_port = 0: expected"):
        load_config(path)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


# ------------------------------------------------------------------------------------------- requirements


def test_requirements_txt_lists_the_dependencies_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == project["dependencies"]


# --------------------------------------------------------------------------------- YAML and environment


def test_the_same_keys_in_yaml_are_the_same_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("symbols: [AAPL]\nGateway:\n  pace: {mode: ticks_per_s, ticks_per_s: 50}\n")
    assert load_config(path, {}) == parsed(symbols=["AAPL"], Gateway={"pace": {"ticks_per_s": 50}})


def test_yaml_that_cannot_be_read_is_refused_by_name_and_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("symbols: [AAPL\n")
    with pytest.raises(ConfigError, match=r"config.yaml: not YAML: .* line 2"):
        load_config(path, {})


def test_an_environment_variable_overrides_a_single_key(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"symbols": ["AAPL"], "Gateway": {"md_port": 7000}}')
    environment = {
        "ALGOSIM_Gateway__pace__ticks_per_s": "1000",
        "ALGOSIM_run__start": "2025-03-01T00:00:00Z",
        "ALGOSIM_PURE_PYTHON": "1",
        "HOME": "/",
    }
    config = load_config(path, environment)
    assert (config.Gateway.pace.ticks_per_s, config.Gateway.md_port) == (1000, 7000)
    assert config.run.start == "2025-03-01T00:00:00Z"


def test_a_wrong_override_is_refused_like_a_wrong_key(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"symbols": ["AAPL"]}')
    with pytest.raises(ConfigError, match=r"config.json with ALGOSIM_…: Gateway.md_port = 'x': expected"):
        load_config(path, {"ALGOSIM_Gateway__md_port": "x"})
    with pytest.raises(ConfigError, match=r"ALGOSIM_symbols__x: symbols.x is not below an object"):
        load_config(path, {"ALGOSIM_symbols__x": "1"})


def test_a_line_end_behind_a_name_is_no_part_of_one() -> None:
    assert refusal(symbols=["AAPL\n"]).startswith("config.json: symbols[0] = 'AAPL\\n': expected text like ")
    token = "0123456789abcdef\n"
    assert refusal(Dashboard={"token": token}).startswith("config.json: Dashboard.token = ")
    assert refusal(OrderBook={"shared_memory_name": "x\n"}).startswith("config.json: OrderBook.shared_memory")


def test_two_strategies_of_one_id_are_refused() -> None:
    mine = {"id": "mine", "path": "x.py"}
    with pytest.raises(ConfigError, match=r"Strategy.strategies: mine used twice as id"):
        parsed(Strategy={"strategies": [mine, mine]})
