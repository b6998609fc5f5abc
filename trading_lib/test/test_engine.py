"""The host: a strategy file and packed tape records in, orders out."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trading_lib.context import MAX_REASONS, REASON_CHARS
from trading_lib.engine import ERRORS_SHOWN, Engine
from trading_lib.lane import Request
from trading_lib.models import Kind, Order, Side
from trading_lib.strategy_file import StrategyError, load_strategy
from trading_lib.test.engine_run import EPOCH, MARKS, SYMBOLS, TS, Record, Run, news, ticks

ROOT = Path(__file__).resolve().parents[2]

RECORDER = """
    seen = []

    def init(ctx):
        seen.append("init")

    def on_tick(ctx, tick):
        seen.append(("tick", tick.symbol, tick.price, tick.ts, tick.seq))

    def on_news(ctx, news):
        seen.append(("news", news.symbol, news.sentiment, news.ts, news.seq))
"""

TRADER = """
    seen = []

    def on_tick(ctx, tick):
        seen.append((tick.symbol, tick.price, tick.ts, tick.seq, ctx.position()))
        if tick.price < 30:
            ctx.place_market_order("BUY", 1)

    def on_news(ctx, news):
        seen.append((news.symbol, news.sentiment, news.ts, news.seq, ctx.price()))
        if news.sentiment > 50 and ctx.price():
            ctx.place_market_order("SELL", 1)
"""


MakeRun = Callable[..., Run]


@pytest.fixture
def run(tmp_path: Path) -> MakeRun:
    def make(source: str, **options: Any) -> Run:
        return Run(tmp_path, source, **options)

    return make


# ---------------------------------------------------------------------------------- what a strategy sees


def test_a_strategy_sees_every_tick_and_news_item_once_in_order(run: MakeRun) -> None:
    made = run(RECORDER)
    made.feed([*ticks(1.5), news(70, slot=1), *MARKS, *ticks(2.5, slot=2)])
    assert made.seen == [
        "init",
        ("tick", "AAPL", 1.5, TS + 100_000, 100),
        ("news", "MSFT", 70, TS + 101_000, 101),
        ("tick", "IBM", 2.5, TS + 105_000, 105),
    ]
    assert (made.engine.ticks, made.engine.news) == (2, 1)


records = st.lists(
    st.tuples(
        st.sampled_from([Kind.TICK, Kind.TICK, Kind.NEWS, Kind.EPOCH, *(kind for kind, _, _ in MARKS)]),
        st.integers(0, 2),
        st.integers(0, 100).map(float),
    ),
    max_size=40,
)


@given(records, st.lists(st.integers(1, 20), min_size=1, max_size=10))
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_where_batches_end_changes_nothing(tmp_path: Path, stream: list[Record], batches: list[int]) -> None:
    whole, cut = Run(tmp_path, TRADER), Run(tmp_path, TRADER)
    expected = whole.feed(stream)
    requests: list[Request] = []
    rest, i = stream, 0
    while rest:
        size = batches[i % len(batches)]
        requests += cut.feed(rest[:size])
        rest, i = rest[size:], i + 1
    assert cut.seen == whole.seen
    assert [request.client_order_id for request in requests] == [
        request.client_order_id for request in expected
    ]
    assert cut.engine.lane.unfilled == whole.engine.lane.unfilled


def test_a_strategy_needs_no_init_and_no_on_news(run: MakeRun) -> None:
    made = run("def on_tick(ctx, tick): pass")
    made.feed([*ticks(1), news(50), EPOCH])
    assert (made.engine.ticks, made.engine.news, made.engine.epochs, made.engine.errors) == (1, 1, 1, 0)


def test_only_the_wanted_symbols_are_shown_and_the_prices_of_all_are_known(run: MakeRun) -> None:
    made = run(RECORDER, wanted=("MSFT",))
    made.feed([*ticks(1.0), *ticks(2.0, slot=1), news(60), news(70, slot=1)])
    assert [entry[:3] for entry in made.seen[1:]] == [("tick", "MSFT", 2.0), ("news", "MSFT", 70)]
    assert made.engine.lane.prices == {"AAPL": 1.0, "MSFT": 2.0}
    assert (made.engine.ticks, made.engine.news) == (2, 2)


def test_a_strategy_may_name_its_symbols_itself_and_the_configuration_wins(run: MakeRun) -> None:
    source = "SYMBOLS = ('IBM',)\n" + textwrap.dedent(RECORDER)
    own = run(source)
    own.feed([*ticks(1.0), *ticks(2.0, slot=2)])
    assert [entry[1] for entry in own.seen[1:]] == ["IBM"]
    configured = run(source, wanted=("AAPL",))
    configured.feed([*ticks(1.0), *ticks(2.0, slot=2)])
    assert [entry[1] for entry in configured.seen[1:]] == ["AAPL"]


def test_a_slot_seen_for_the_first_time_is_looked_up_once(run: MakeRun) -> None:
    made = run(RECORDER)
    made.feed([*ticks(1.0, slot=2), *ticks(1.0), *ticks(1.0, slot=2), news(50, slot=1)])
    assert made.named == [0, 1, 2]
    assert [entry[1] for entry in made.seen[1:]] == ["IBM", "AAPL", "IBM", "MSFT"]


def test_parameters_come_from_the_configuration_else_from_the_default(run: MakeRun) -> None:
    made = run(
        """
        seen = []
        def init(ctx):
            seen.extend([ctx.get_param("a", 1), ctx.get_param("b", 2), ctx.get_param("c")])
        def on_tick(ctx, tick): pass
        """,
        params={"a": 10},
    )
    assert made.seen == [10, 2, None]


def test_prices_are_those_of_the_tape_as_consumed(run: MakeRun) -> None:
    made = run(
        """
        seen = []
        def on_tick(ctx, tick):
            seen.append((ctx.price(), ctx.price("MSFT"), ctx.price("IBM")))
        """
    )
    made.feed([*ticks(1.0), *ticks(2.0, slot=1), *ticks(3.0)])
    assert made.seen == [(1.0, None, None), (2.0, 2.0, None), (3.0, 2.0, None)]


def test_a_gap_is_counted_and_the_strategy_goes_on(run: MakeRun) -> None:
    made = run(RECORDER)
    made.feed([*ticks(1.0), (Kind.GAP, 0, 17.0), *ticks(2.0)])
    assert (made.engine.gaps, made.engine.ticks) == (1, 2)


def test_what_a_strategy_logs_is_kept_for_the_caller_with_its_name(run: MakeRun) -> None:
    made = run("def init(ctx): ctx.log('begin')\ndef on_tick(ctx, tick): ctx.log(tick.price)")
    made.feed(ticks(1.5))
    assert made.engine.take_lines() == ["mine: begin", "mine: 1.5"]
    assert made.engine.take_lines() == []


# ------------------------------------------------------------------------------------------------ orders


def test_an_order_names_the_record_that_caused_it_and_its_time(run: MakeRun) -> None:
    made = run("def on_tick(ctx, tick): ctx.last = ctx.place_market_order('BUY', 10)")
    (order,) = made.feed(ticks(173.2))
    assert isinstance(order, Order)
    assert (order.symbol, order.side, order.quantity, order.price) == ("AAPL", Side.BUY, 10, 173.2)
    assert (order.cause_seq, order.timestamp) == (100, TS + 100_000)
    assert made.engine.placed == 1


def test_orders_of_one_record_are_numbered_and_the_next_record_begins_at_zero(run: MakeRun) -> None:
    made = run(
        """
        seen = []
        def on_tick(ctx, tick):
            seen.extend([ctx.place_market_order("BUY", 1), ctx.place_market_order("SELL", 2, symbol="AAPL")])
        def on_news(ctx, news):
            seen.append(ctx.place_market_order("SELL", 1))
        """
    )
    orders = made.feed([*ticks(1.0, 2.0), news(50)])
    assert made.seen == ["100.0", "100.1", "101.0", "101.1", "102.0"]
    assert [order.client_order_id for order in orders] == made.seen


def test_the_position_counts_orders_on_their_way(run: MakeRun) -> None:
    made = run(
        """
        seen = []
        def on_tick(ctx, tick):
            before = ctx.position()
            ctx.place_market_order("BUY" if tick.price > 1 else "SELL", 10)
            seen.append((before, ctx.position(), ctx.position("IBM")))
        """
    )
    made.feed([*ticks(2.0, 2.0, 1.0), *ticks(1.0, slot=1)])
    assert made.seen == [(0, 10, 0), (10, 20, 0), (20, 10, 0), (0, -10, 0)]
    assert (made.engine.lane.position("AAPL"), made.engine.lane.position("MSFT")) == (10, -10)


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("'BUY', 0", "quantity must be positive and finite, not 0"),
        ("'BUY', -1", "quantity must be positive"),
        ("'BUY', float('nan')", "quantity must be positive"),
        ("'BUY', float('inf')", "quantity must be positive"),
        ("'BUY', 'ten'", "ValueError"),
        ("'HOLD', 1", "HOLD"),
        ("'BUY', 1, symbol='IBM'", "no price of 'IBM' yet"),
        ("'BUY', 1, 'a*b'", "bad tag"),
        ("'BUY', 1, 'x' * 33", "bad tag"),
    ],
)
def test_an_order_that_cannot_be_is_an_error_of_the_strategy_and_moves_nothing(
    run: MakeRun, call: str, fault: str
) -> None:
    made = run(f"def on_tick(ctx, tick): ctx.place_market_order({call})")
    assert made.feed(ticks(1.0)) == []
    assert (made.engine.errors, made.engine.placed, made.engine.lane.unfilled) == (1, 0, {})
    assert fault in made.engine.last_error
    assert made.engine.last_error.startswith("line 1: ")


# ------------------------------------------------------------------------------------------------ epochs


def test_an_epoch_begins_with_a_fresh_context_a_flat_position_and_no_prices(run: MakeRun) -> None:
    made = run(
        """
        seen = []
        def init(ctx):
            seen.append(("init", hasattr(ctx, "mine"), ctx.position("AAPL"), ctx.price("AAPL")))
            ctx.mine = 0
        def on_tick(ctx, tick):
            ctx.mine += 1
            seen.append((ctx.mine, ctx.position(), ctx.price("MSFT")))
            ctx.place_market_order("BUY", 5)
        """
    )
    made.feed([*ticks(2.0, slot=1), *ticks(1.0, 1.0), EPOCH, *ticks(1.0), EPOCH])
    fresh = ("init", False, 0, None)
    assert made.seen == [fresh, (1, 0, 2.0), (2, 0, 2.0), (3, 5, 2.0), fresh, (1, 0, None), fresh]
    assert made.engine.epochs == 2


def test_an_init_that_fails_is_an_error_with_its_line(run: MakeRun) -> None:
    with pytest.raises(StrategyError, match="init: line 3: ZeroDivisionError"):
        run("def on_tick(ctx, tick): pass\ndef init(ctx):\n    1 / 0\n")


def test_an_init_that_fails_at_a_later_epoch_is_one_too(run: MakeRun) -> None:
    made = run(
        """
        seen = []
        def on_tick(ctx, tick): pass
        def init(ctx):
            seen.append(1)
            assert len(seen) < 2
        """
    )
    with pytest.raises(StrategyError, match="init: line 6: AssertionError"):
        made.feed([EPOCH])


# ---------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("1 / 0", "line 3: ZeroDivisionError: division by zero"),
        ("ctx.nothing", "line 3: AttributeError"),
        ("tick.price = 2", "line 3: AttributeError"),
        ("raise SystemExit(3)", "line 3: SystemExit: 3"),
        ("on_tick(ctx, tick)", "RecursionError"),
        ("import no_such_module", "line 3: ModuleNotFoundError"),
    ],
)
def test_an_exception_is_counted_with_its_line_and_never_stops_the_host(
    run: MakeRun, statement: str, shown: str
) -> None:
    source = f"seen = []\ndef on_tick(ctx, tick):\n    {statement}\ndef on_news(ctx, news): seen.append(1)\n"
    made = run(source)
    made.feed([*ticks(1.0, 2.0), news(50)])
    assert (made.engine.errors, made.engine.ticks, made.seen) == (2, 2, [1])
    assert shown in made.engine.last_error


def test_an_exception_in_on_news_is_counted_too(run: MakeRun) -> None:
    made = run(
        "def on_tick(ctx, tick): pass\ndef on_news(ctx, news):\n    raise ValueError(news.sentiment)\n"
    )
    made.feed([news(50), *ticks(1.0)])
    assert (made.engine.errors, made.engine.last_error) == (1, "line 3: ValueError: 50")


def test_orders_placed_before_the_exception_stand(run: MakeRun) -> None:
    made = run("def on_tick(ctx, tick):\n    ctx.place_market_order('BUY', 1)\n    1 / 0\n")
    assert len(made.feed(ticks(1.0, 1.0))) == 2
    assert made.engine.lane.position("AAPL") == 2


def test_the_line_is_that_of_the_strategy_file_also_when_a_library_raised(run: MakeRun) -> None:
    made = run("import json\ndef on_tick(ctx, tick):\n    json.loads('{')\n")
    made.feed(ticks(1.0))
    assert made.engine.last_error.startswith("line 3: JSONDecodeError")


def test_of_a_burst_of_exceptions_the_log_shows_the_first_few_and_all_are_counted(run: MakeRun) -> None:
    made = run("def on_tick(ctx, tick): 1 / 0")
    made.feed(ticks(*[1.0] * 100))
    assert made.engine.errors == 100
    assert len(made.warnings) == ERRORS_SHOWN
    assert made.warnings[0] == "mine: at record 100: line 1: ZeroDivisionError: division by zero"
    made.feed(ticks(1.0))  # the next burst is shown again
    assert len(made.warnings) == ERRORS_SHOWN + 1


# ------------------------------------------------------------------------------------------- from a file


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("def on_tick(ctx, tick:\n", "line 1: SyntaxError"),
        ("import math\n\nmath.nothing\n", "line 3: AttributeError"),
        ("x = 1\n", "a strategy has a function on_tick(ctx, tick)"),
        ("on_tick = 3\n", "a strategy has a function on_tick(ctx, tick)"),
        ("import sys\nsys.exit(1)\n", "line 2: SystemExit: 1"),
        ("", "a strategy has a function on_tick(ctx, tick)"),
        ("\x00", "SyntaxError"),
    ],
)
def test_a_file_that_is_no_strategy_is_refused_with_its_name_and_line(
    tmp_path: Path, text: str, shown: str
) -> None:
    path = tmp_path / "strategy.py"
    path.write_text(text)
    with pytest.raises(StrategyError) as refused:
        load_strategy(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert shown in str(refused.value)


@pytest.mark.parametrize("name", ["missing.py", "folder.py", "strategy.txt"])
def test_what_is_no_python_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "strategy.txt").write_text("def on_tick(ctx, tick): pass")
    with pytest.raises(StrategyError, match="no such strategy file"):
        load_strategy(tmp_path / name)


def test_two_strategies_of_one_name_do_not_share_anything(tmp_path: Path) -> None:
    modules = []
    for folder in ("a", "b"):
        path = tmp_path / folder / "same" / "strategy.py"
        path.parent.mkdir(parents=True)
        path.write_text(f"who = {folder!r}\ndef on_tick(ctx, tick): pass\n")
        modules.append(load_strategy(path))
    assert [module.who for module in modules] == ["a", "b"]


def test_a_strategy_may_use_dataclasses_and_postponed_annotations(run: MakeRun) -> None:
    made = run(
        """
        from __future__ import annotations
        from dataclasses import dataclass, field
        seen = []
        @dataclass
        class State:
            prices: list[float] = field(default_factory=list)
        def init(ctx): ctx.state = State()
        def on_tick(ctx, tick): ctx.state.prices.append(tick["price"]); seen.append(ctx.state.prices)
        """
    )
    made.feed(ticks(1.0, 2.0))
    assert (made.seen[-1], made.engine.errors) == ([1.0, 2.0], 0)


# -------------------------------------------------------------------------------- the default strategy


def test_the_default_strategy_places_the_orders_computed_by_hand(tmp_path: Path) -> None:
    module = load_strategy(ROOT / "strategies/sma_news/strategy.py")
    params = {"short_window": 2, "long_window": 3, "quantity": 10}
    engine = Engine("sma_news", module, params, SYMBOLS.__getitem__, print)
    script: list[tuple[Record, str]] = [
        (ticks(10.0)[0], ""),
        (ticks(11.0)[0], ""),
        (ticks(12.0)[0], ""),  # short 11.5 > long 11, but no news yet
        (news(60), ""),
        (ticks(13.0)[0], ""),  # 12.5 > 12, but 60 is not above 60
        (news(61), ""),  # news alone orders nothing
        (ticks(14.0)[0], "BUY 10 @ 14.0"),  # 13.5 > 13 and 61 > 60: long
        (ticks(15.0)[0], ""),  # long already
        (ticks(99.0, slot=1)[0], ""),  # another symbol has averages and news of its own
        (news(39), ""),
        (ticks(15.0)[0], ""),  # 15 > 14.67 while news is bearish: keep the position
        (ticks(12.0)[0], "SELL 20 @ 12.0"),  # 13.5 < 14 and 39 < 40: from +10 to -10
        (ticks(9.0)[0], ""),
        (news(100), ""),
        (ticks(9.0)[0], ""),  # 9 < 10 while news is bullish
        (ticks(30.0)[0], "BUY 20 @ 30.0"),  # 19.5 > 16: from -10 to +10
        (EPOCH, ""),
        (ticks(10.0)[0], ""),
        (ticks(11.0)[0], ""),
        (ticks(12.0)[0], ""),  # no news in this epoch yet
        (news(90), ""),
        (ticks(13.0)[0], "BUY 10 @ 13.0"),  # flat again, so 10
    ]
    for seq, ((kind, slot, value), expected) in enumerate(script):
        engine.consume([(seq, TS + seq, value, 0, 0, slot, int(kind))])
        orders = [request for request in engine.take_requests() if isinstance(request, Order)]
        placed = [f"{o.side} {o.quantity:g} @ {o.price}" for o in orders]
        assert placed == ([expected] if expected else []), f"at record {seq}"
    assert engine.errors == 0
    assert engine.lane.position("AAPL") == 10


@pytest.mark.parametrize(
    ("raised", "shown"),
    [
        ("ValueError('x' * 3_000_000)", "ValueError: xxx"),
        ("ValueError('\\udc80')", "\\udc80"),
        ("Unsayable()", "its text raises RuntimeError"),
        ("KeyboardInterrupt()", "KeyboardInterrupt"),
    ],
)
def test_whatever_a_strategy_raises_is_counted_and_said_in_few_words(
    tmp_path: Path, raised: str, shown: str
) -> None:
    source = f"""
        class Unsayable(Exception):
            def __str__(self):
                raise RuntimeError

        def on_tick(ctx, tick):
            raise {raised}
    """
    path = tmp_path / "strategy.py"
    path.write_text(textwrap.dedent(source))
    engine = Engine("mine", load_strategy(path), {}, lambda slot: SYMBOLS[slot], print)
    engine.consume([(0, TS, 100.0, 0, 0, 0, int(Kind.TICK))])
    assert engine.errors == 1
    assert shown in engine.last_error
    assert len(engine.last_error.encode()) < 1000


# ------------------------------------------------------------------------------------------------ series


def seen_symbols(tmp_path: Path, symbols: tuple[str, ...], slots: list[int], **options: Any) -> list[str]:
    path = tmp_path / "strategy.py"
    path.write_text("seen = []\ndef on_tick(ctx, tick): seen.append(tick.symbol)\n")
    module = load_strategy(path)
    engine = Engine("mine", module, {}, symbols.__getitem__, print, **options)
    engine.consume((seq, TS + seq, 1.0, 0, 0, slot, int(Kind.TICK)) for seq, slot in enumerate(slots))
    found: list[str] = module.seen
    return found


def test_a_series_beside_a_symbol_is_no_price_that_a_strategy_is_called_for(tmp_path: Path) -> None:
    symbols = ("X", "X.MODEL", "BRK.B", "Y.BID", "Y")
    assert seen_symbols(tmp_path, symbols, [0, 1, 2, 4, 3, 0]) == ["X", "BRK.B", "Y", "X"]


def test_a_series_that_is_asked_for_by_name_is_seen(tmp_path: Path) -> None:
    assert seen_symbols(tmp_path, ("X", "X.MODEL"), [0, 1, 0], wanted=["X.MODEL"]) == ["X.MODEL"]


def test_a_parameter_is_the_configured_one_or_the_files_own(tmp_path: Path) -> None:
    path = tmp_path / "strategy.py"
    path.write_text("PARAMS = {'a': 1, 'b': 2}\ndef on_tick(ctx, tick): pass\n")
    engine = Engine("mine", load_strategy(path), {"b": 20}, str, print)
    assert engine.params == {"a": 1, "b": 20}


def test_a_reason_for_no_trade_is_short_text_whatever_it_was_and_there_are_not_many(run: MakeRun) -> None:
    source = """
        def on_tick(ctx, tick):
            for reason in ("x" * 5000, "x" * 6000, "\\udcff", ("a", 1), None):
                ctx.no_trade(reason)
            for number in range(100):
                ctx.no_trade(f"reason {number}")
    """
    made = run(source)
    made.feed(ticks(1.0, 2.0))
    why = made.engine.why_no_trade()
    assert {name: why[name] for name in ("x" * REASON_CHARS, "\\udcff", "('a', 1)", "None")} == {
        "x" * REASON_CHARS: 4,
        "\\udcff": 2,
        "('a', 1)": 2,
        "None": 2,
    }
    assert len(why) == MAX_REASONS + 1
    assert sum(why.values()) == 210
