"""The Gateway as it runs: `Gateway/run.py`, real files, real ports, real signals."""

import signal
import socket
from pathlib import Path

import pytest

from Gateway.test.feed import Running, gateway, session
from runtime.part import EXIT_CONFIG, EXIT_OK
from trading_lib import wire
from trading_lib.wire import Control, NewsMessage, TickMessage

EXACT = b"AAPL,173.2*MSFT,410.55*AAPL,173.21*IBM,0.0001*"
S0 = 1_735_828_200  # 2025-01-02T14:30:00Z
TICKS = [("AAPL", 173.2, 0), ("MSFT", 410.55, 0), ("AAPL", 173.21, 1), ("IBM", 0.0001, 2)]


def exit_of(running: Running) -> tuple[int, str]:
    """Exit code and output of a Gateway that cannot start."""
    return running.process.popen.wait(30), running.process.output


# --------------------------------------------------------------------------------------------- streams


def test_a_plain_client_receives_exactly_the_frames_of_the_file(tmp_path: Path) -> None:
    with gateway(tmp_path) as running:
        running.process.wait_for(
            f"gateway ready: ticks on 127.0.0.1:{running.md_port}, news on :{running.news_port}\n"
        )
        assert running.plain(running.md_port, lambda data: len(data) >= len(EXACT)) == EXACT
        assert running.process.stop() == EXIT_OK


def test_a_session_receives_the_same_ticks_with_their_times_and_an_epoch_and_the_end(tmp_path: Path) -> None:
    with gateway(tmp_path) as running, session(running) as feed:
        feed.until(lambda: feed.marks("X"))
        times = [TickMessage(symbol, price, (S0 + s) * 10**9) for symbol, price, s in TICKS]
        assert feed.messages == [
            Control("E", (str(S0 * 10**9),)),
            *times,
            Control("X", (str((S0 + 2) * 10**9),)),
        ]
        assert feed.id > 0


def test_news_goes_to_plain_news_clients_and_to_sessions_in_the_same_order(tmp_path: Path) -> None:
    changes = {"news": {"every_ticks": 2}, "pace": {"mode": "ticks_per_s", "ticks_per_s": 2000}, "loop": True}
    with gateway(tmp_path, Gateway=changes) as running, session(running) as feed:
        feed.until(lambda: feed.id > 0)
        found = running.plain(running.news_port, lambda data: data.count(b"*") >= 200 and data.endswith(b"*"))
        feed.until(lambda: found in b"".join(wire.encode_news(n.symbol, n.sentiment) for n in feed.news))
        assert {news.sentiment for news in feed.news} <= set(range(101))


def test_each_news_item_follows_its_tick_with_its_symbol_and_time(tmp_path: Path) -> None:
    with gateway(tmp_path, Gateway={"news": {"every_ticks": 1}}) as running, session(running) as feed:
        feed.until(lambda: feed.marks("X"))
    assert [type(message) for message in feed.messages[1:-1]] == [TickMessage, NewsMessage] * 4
    for tick, news in zip(feed.ticks, feed.news, strict=True):
        assert (tick.symbol, tick.ts) == (news.symbol, news.ts)


def test_the_source_starts_with_the_first_client_not_before(tmp_path: Path) -> None:
    with gateway(tmp_path, Gateway={"pace": {"mode": "ticks_per_s", "ticks_per_s": 1e6}}) as running:
        running.process.wait_for("ready")
        with session(running) as feed:
            feed.until(lambda: feed.marks("X"))
            assert (feed.first_seq, len(feed.ticks)) == (0, 4)


def test_flat_out_a_session_that_takes_its_time_loses_nothing(tmp_path: Path) -> None:
    changes = {"provider": "random_walk", "loop": True, "client_buffer_bytes": 65_536}
    tree = {"run": {"duration_s": 10_000}}  # 50,000 rounds of four symbols, 0.2 s of event time apart
    with gateway(tmp_path, csv=None, Gateway=changes, **tree) as running, session(running) as feed:
        feed.until(lambda: feed.marks("X"))
        assert len(feed.ticks) == 200_000
        assert len(feed.messages) == 200_002


# ---------------------------------------------------------------------------------------- epochs and ends


def test_a_loop_is_one_epoch_after_another_with_numbers_that_go_on(tmp_path: Path) -> None:
    pace = {"mode": "ticks_per_s", "ticks_per_s": 5000}
    with gateway(tmp_path, Gateway={"loop": True, "pace": pace}) as running, session(running) as feed:
        feed.until(lambda: len(feed.marks("E")) > 20)
        assert set(feed.marks("E")) == {S0 * 10**9}
        first = feed.messages[:5]
        assert [feed.messages[i : i + 5] for i in range(0, 100, 5)] == [first] * 20


def test_the_end_is_said_once_and_the_gateway_stays_for_those_who_come_late(tmp_path: Path) -> None:
    with gateway(tmp_path) as running:
        with session(running) as feed:
            feed.until(lambda: feed.marks("X"))
        with session(running) as late:
            late.until(lambda: late.id == feed.id)
            assert running.process.stop() == EXIT_OK
            late.until(lambda: late.ended)
            assert late.messages == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_gateway_says_end_to_its_sessions(tmp_path: Path, number: signal.Signals) -> None:
    pace = {"mode": "ticks_per_s", "ticks_per_s": 1000}
    with gateway(tmp_path, Gateway={"loop": True, "pace": pace}) as running, session(running) as feed:
        feed.until(lambda: len(feed.ticks) > 10)
        assert running.process.stop(number) == EXIT_OK
        feed.until(lambda: feed.ended)
        assert feed.messages[-1] == Control("X", (str(feed.ticks[-1].ts),))
        assert len(feed.marks("X")) == 1


def test_a_duration_is_so_many_ticks_for_a_source_paced_in_ticks(tmp_path: Path) -> None:
    changes = {"loop": True, "pace": {"mode": "ticks_per_s", "ticks_per_s": 500}}
    with gateway(tmp_path, Gateway=changes, run={"duration_s": 0.2}) as running, session(running) as feed:
        feed.until(lambda: feed.marks("X"))
        assert len(feed.ticks) == 100
        assert isinstance(feed.messages[-2], TickMessage)


def test_a_duration_is_event_time_for_a_source_paced_by_it(tmp_path: Path) -> None:
    changes = {"loop": True, "pace": {"mode": "event"}, "schedule": {"speed": 100}}
    with gateway(tmp_path, Gateway=changes, run={"duration_s": 3}) as running, session(running) as feed:
        feed.until(lambda: feed.marks("X"))
        assert [tick.symbol for tick in feed.ticks] == ["AAPL", "MSFT", "AAPL", "IBM", "AAPL", "MSFT"]
        assert len(feed.marks("T")) == 2 * 7  # 10, 20 … 640 ms after each of the two records a second apart


def test_event_time_passes_at_its_speed_and_each_piece_says_when_it_was_due(tmp_path: Path) -> None:
    changes = {"pace": {"mode": "event"}, "schedule": {"speed": 10}}
    with gateway(tmp_path, Gateway=changes) as running, session(running) as feed:
        feed.until(lambda: feed.marks("X"))
    first, last = feed.dues[0], feed.dues[-1]
    assert abs(last - first - 200_000_000) < 5_000_000  # two clocks are read for each: not to the last ns


# ------------------------------------------------------------------------------------------ cannot start


@pytest.mark.parametrize("key", ["md_port", "news_port"])
def test_a_busy_port_is_exit_78_and_names_its_key(tmp_path: Path, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with gateway(tmp_path, Gateway={key: port}) as running:
            code, output = exit_of(running)
    assert code == EXIT_CONFIG
    assert f"port {port}" in output
    assert f"change Gateway.{key}" in output


@pytest.mark.parametrize(
    "csv", [None, "", "timestamp,symbol,price\n", "timestamp,symbol,price\nyesterday,AAPL,1\n", "\x00\x01"]
)
def test_a_data_file_without_a_good_row_is_exit_78_and_named(tmp_path: Path, csv: str | None) -> None:
    with gateway(tmp_path, csv=csv) as running:
        code, output = exit_of(running)
    assert code == EXIT_CONFIG
    assert "Gateway.data_path: " in output
    assert "data.csv" in output
    assert "Traceback" not in output


def test_a_tick_size_the_provider_cannot_use_is_exit_78_and_says_so(tmp_path: Path) -> None:
    tree = {"instruments": {"AAPL": {"tick_size": 1000}}}
    with gateway(tmp_path, csv=None, Gateway={"provider": "random_walk"}, **tree) as running:
        code, output = exit_of(running)
    assert code == EXIT_CONFIG
    assert "tick size of AAPL" in output
    assert "Traceback" not in output
