"""The Strategy as it runs: where it begins, what it sends, how it ends."""

import os
import re
import signal
import time
from pathlib import Path

from OrderManager.server import Progress
from runtime.part import EXIT_CONFIG, EXIT_OK
from shared_memory_utils import SharedPriceBook, TapeWriter
from Strategy.test.stage import BUY_ALL, SYMBOLS, TS, market, stage
from testing.harness import segment_name
from trading_lib import order_wire
from trading_lib.models import OrderStatus, Report, Side


def test_it_waits_for_the_tape_attaches_at_its_head_and_sends_orders(tmp_path: Path) -> None:
    with stage(tmp_path) as s:
        assert "ready" not in s.process.output
        with s.market("run-7") as m:
            s.until_ready()
            assert f"mine on tape {s.name} of run run-7, from record 0" in s.process.output
            m.put(1.0, 2.0, 3.0)
            s.until(lambda: len(s.received) == 3)
            orders = [r.order for r in s.received]
            assert [o.client_order_id for o in orders] == ["0.0", "1.0", "2.0"]
            assert [(o.symbol, o.quantity, o.price, o.timestamp) for o in orders] == [
                ("AAPL", i + 1, i + 1, TS + i) for i in range(3)
            ]
            assert {r.strategy for r in s.received} == {"mine"}
            assert s.stop() == EXIT_OK


def test_a_late_strategy_starts_at_the_head_knows_the_last_prices_and_says_where(tmp_path: Path) -> None:
    source = """
        def on_tick(ctx, tick):
            ctx.log(f"{tick.symbol} {tick.price} MSFT {ctx.price('MSFT')}")
            ctx.place_market_order("BUY", 1)
    """
    name = segment_name()
    with market(name) as m:
        m.put(1.0, 2.0)
        m.put(400.5, slot=1)
        with stage(tmp_path, source, name=name) as s:
            s.prices = {"AAPL": 2.0, "MSFT": 400.5}
            s.give_token("run-1")
            s.until_ready()
            assert "from record 3" in s.process.output
            m.put(9.0)
            s.until(lambda: s.received)
            assert [r.order.client_order_id for r in s.received] == ["3.0"]
            assert s.stop() == EXIT_OK
            assert "mine: AAPL 9.0 MSFT 400.5" in s.log_file.read_text()


def test_it_survives_the_end_of_a_tape_and_starts_afresh_on_the_next(tmp_path: Path) -> None:
    source = """
        def init(ctx): ctx.seen = 0
        def on_tick(ctx, tick):
            ctx.seen += 1
            ctx.place_market_order("BUY", 100 * ctx.seen + ctx.position() / 1000)
    """
    with stage(tmp_path, source) as s:
        for k in range(3):
            with s.market(f"run-{k}") as m:
                s.until_ready(k + 1)
                m.put(1.0, 1.0)
                s.until(lambda k=k: len(s.received) == 2 * (k + 1))  # type: ignore[misc]
        assert s.quantities == [100, 200.1] * 3
        assert s.stop() == EXIT_OK


def test_what_is_on_the_tape_when_it_ends_is_still_processed(tmp_path: Path) -> None:
    with stage(tmp_path) as s:
        with s.market() as m:
            s.until_ready()
            s.process.popen.send_signal(signal.SIGSTOP)
            m.put(*range(1, 3001))
        s.process.popen.send_signal(signal.SIGCONT)
        s.until(lambda: len(s.received) == 3000)
        assert s.quantities == list(range(1, 3001))
        assert s.stop() == EXIT_OK


def test_told_to_stop_it_processes_what_is_on_the_tape_and_sends_the_orders(tmp_path: Path) -> None:
    with stage(tmp_path) as s:
        with s.market() as m:
            s.until_ready()
            m.put(*range(1, 3001))
            assert s.stop() == EXIT_OK
        assert s.quantities == list(range(1, 3001))


def test_who_sleeps_too_long_is_told_how_much_it_missed(tmp_path: Path) -> None:
    with stage(tmp_path, BUY_ALL, "-vv") as s, s.market() as m:
        s.until_ready()
        (worker,) = s.workers
        os.kill(worker, signal.SIGSTOP)
        for start in range(1, 10_001, 1000):  # the tape holds 4096
            m.put(*range(start, start + 1000))
        os.kill(worker, signal.SIGCONT)
        s.until(lambda: s.quantities and s.quantities[-1] == 10_000)
        missed = 10_000 - len(s.received)
        assert 10_000 - 4096 <= missed < 10_000
        assert s.quantities == list(range(missed + 1, 10_001))
        s.until(lambda: re.search(rf"'missed': {missed},", s.process.output))
        assert s.stop() == EXIT_OK


def test_it_waits_for_its_ledgers_answer_before_it_consumes_and_then_misses_nothing(tmp_path: Path) -> None:
    with stage(tmp_path, BUY_ALL, "-vv") as s, s.market() as m:
        s.close_orders_port()
        s.until(lambda: "'attached': True, 'ticks': 0" in s.process.output)
        m.put(1.0, 2.0)
        s.until(lambda: "'lag': 2" in s.process.output)
        assert "ready: mine" not in s.process.output
        s.open_orders_port()
        s.until(lambda: s.quantities == [1.0, 2.0])
        assert [(h.strategy, h.token, h.mode, h.number) for h in s.hellos] == [
            ("mine", "token of run-1", "new", 0)
        ]
        assert s.stop() == EXIT_OK


def test_it_finds_an_order_manager_that_comes_back(tmp_path: Path) -> None:
    with stage(tmp_path) as s, s.market() as m:
        s.until_ready()
        m.put(1.0)
        s.until(lambda: s.quantities == [1.0])
        s.close_orders_port()
        s.until(lambda: "order link lost" in s.log_file.read_text())
        m.put(2.0, 3.0)
        s.open_orders_port()
        s.until(lambda: s.quantities[-2:] == [2.0, 3.0])
        assert [r.order.client_order_id for r in s.received[-2:]] == ["1.0", "2.0"]
        assert [h.mode for h in s.hellos] == ["new", "again"]
        assert s.stop() == EXIT_OK


def test_it_begins_where_and_with_what_the_ledger_says(tmp_path: Path) -> None:
    source = "def on_tick(ctx, tick): ctx.place_market_order('SELL', ctx.position())"
    with stage(tmp_path, source) as s:
        s.next_seq, s.position = 2, 7.0
        with s.market() as m:
            s.until(lambda: s.client)
            m.put(1.0, 1.0, 1.0)
            s.until(lambda: s.received)
            assert [(r.order.client_order_id, r.order.quantity) for r in s.received] == [("2.0", 7)]
            assert s.stop() == EXIT_OK


def test_the_ledger_hears_how_far_it_has_come_while_the_tape_moves_and_at_the_end(tmp_path: Path) -> None:
    with stage(tmp_path, "def on_tick(ctx, tick): pass") as s, s.market() as m:
        s.until_ready()
        m.put(*[1.0] * 100)
        s.until(lambda: s.progress and s.progress[-1] == Progress(100, False))
        m.put(1.0)
        assert s.stop() == EXIT_OK
        assert s.progress[-1] == Progress(101, False)


def test_when_its_ledger_differs_it_stops_loudly_and_orders_nothing_more(tmp_path: Path) -> None:
    with stage(tmp_path) as s, s.market() as m:
        s.until_ready()
        m.put(1.0)
        s.until(lambda: s.received and s.client)
        assert s.client is not None
        never = Report(
            "mine", "0.0", 1, 1, OrderStatus.REJECTED, "AAPL", Side.BUY, 1, 0, 0, TS, reason="a whim"
        )
        s.client.send(order_wire.encode_report(never))
        s.until(lambda: "mine STOPPED: its ledger differs: the ledger reports" in s.log_file.read_text())
        m.put(2.0, 3.0)
        assert s.stop() == EXIT_OK
        assert s.quantities == [1.0]


def test_without_the_runs_token_it_does_not_attach(tmp_path: Path) -> None:
    with stage(tmp_path, BUY_ALL, "-vv") as s, market(s.name, "run-1"):
        s.until(lambda: s.process.output.count("'attached': False") >= 2)
        s.give_token("run-1")
        s.until_ready()
        assert s.stop() == EXIT_OK


def test_a_strategy_that_raises_is_counted_and_goes_on(tmp_path: Path) -> None:
    source = """
        def on_tick(ctx, tick):
            if tick.price < 3:
                1 / 0
            ctx.place_market_order("BUY", tick.price)
    """
    with stage(tmp_path, source, "-vv") as s, s.market() as m:
        s.until_ready()
        m.put(1.0, 2.0, 3.0)
        s.until(lambda: s.quantities == [3.0])
        s.until(lambda: "'errors': 2, 'last_error': 'line 4: ZeroDivisionError" in s.process.output)
        s.save(BUY_ALL)
        s.until(lambda: "'errors': 2, 'last_error': ''" in s.process.output)  # that of the version before
        assert s.stop() == EXIT_OK
    assert "mine: at record 0: line 4: ZeroDivisionError: division by zero" in s.process.output


def test_only_the_configured_symbols_are_shown_and_parameters_arrive(tmp_path: Path) -> None:
    source = "def on_tick(ctx, tick): ctx.place_market_order('SELL', ctx.get_param('size'))"
    with stage(tmp_path, source, symbols=["MSFT"], params={"size": 7}) as s, s.market() as m:
        s.until_ready()
        m.put(1.0)
        m.put(2.0, slot=1)
        s.until(lambda: s.received)
        assert [(r.order.symbol, r.order.quantity) for r in s.received] == [("MSFT", 7)]
        assert s.stop() == EXIT_OK


def test_a_strategy_file_that_is_not_there_is_exit_78(tmp_path: Path) -> None:
    with stage(tmp_path, None) as s:
        assert s.process.popen.wait(30) == EXIT_CONFIG
        assert "Strategy.strategies: mine: " in s.process.output
        assert "no such strategy file" in s.process.output
        assert "Traceback" not in s.process.output


def test_a_tape_and_a_price_book_of_different_runs_are_not_attached_to(tmp_path: Path) -> None:
    with stage(tmp_path) as s:
        book = SharedPriceBook(SYMBOLS, s.name, create=True, run_id="old")
        tape = TapeWriter.open(s.name, 4096, "new")
        try:
            deadline = time.monotonic() + 0.3
            s.until(lambda: time.monotonic() > deadline)
            assert "ready" not in s.process.output
            book.unlink()
            book.close()
            book = SharedPriceBook(SYMBOLS, s.name, create=True, run_id="new")
            s.give_token("new")
            s.until_ready()
            assert s.stop() == EXIT_OK
        finally:
            book.unlink()
            book.close()
            tape.close()
