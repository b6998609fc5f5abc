"""What a run's journal says, as tables: trades.csv, matched_trades.csv, equity.csv, inputs.jsonl.

Rows are appended while the run goes on, and stand in their final order all the same: by (epoch, ts, strategy,
client order id as its pair of numbers). A row waits until nothing before it can come any more, which is
when every lane has gone past its time.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from OrderManager import records
from Recorder.csv_lines import numbers, quoted
from Recorder.tables import COLUMNS, POSITION
from Recorder.writers import Retraced
from trading_lib.fifo import Fifo
from trading_lib.models import MANUAL, Account, Fill, Order, Report
from trading_lib.money import MONEY_SCALE, MULTIPLIER_SCALE, QTY_SCALE, exact, scaled

BPS_DIGITS: Final = 9  # a float price is exact to some 1e-12 bps


class Frontier(NamedTuple):
    """How far every lane is: past record `seq` of event time `ts`, in the epoch that record `epoch_seq` began."""

    seq: int
    epoch_seq: int
    ts: int

    def passed(self, seq: int, ts: int) -> bool:
        """Whether nothing of the time of a row, made at record `seq`, can follow."""
        return seq <= self.seq and (seq <= self.epoch_seq or ts < self.ts)


class _Row(NamedTuple):
    key: tuple[Any, ...]  # (epoch, ts, strategy, …)
    seq: int
    line: str


_key: Final = attrgetter("key")


class _Table:
    """A CSV file and the rows that wait for it."""

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self._file = Retraced(path)
        self._file.write(",".join(map(quoted, header)).encode() + b"\n")
        self._last: tuple[Any, ...] = ()
        self.waiting: list[_Row] = []
        self.out_of_order = 0

    def release(self, count: int) -> None:
        """Write the first `count` of those that wait."""
        if count:
            rows = self.waiting[:count]
            self.out_of_order += sum(row.key < self._last for row in rows)
            self._last = max(self._last, rows[-1].key)
            del self.waiting[:count]
            self._file.write("".join(row.line for row in rows).encode())

    def close(self, *, cut: bool) -> None:
        if cut:
            self._file.cut()
        self._file.close()


class LedgerRows:
    """The tables, from a journal's records in order. Owns the files. Raises OSError.

    `symbols` have a position column in equity.csv. A position in another one makes `wider` the symbols that
    a new LedgerRows, which begins again at the journal's first record, must have.
    """

    def __init__(self, folder: Path, symbols: Sequence[str], multipliers: Mapping[str, float]) -> None:
        self._symbols = tuple(symbols)
        self._known = frozenset(symbols)
        self._multipliers = {s: scaled(multiplier, MULTIPLIER_SCALE) for s, multiplier in multipliers.items()}
        before, after = COLUMNS["equity"][:3], COLUMNS["equity"][3:]
        positions = [f"{POSITION}{symbol}" for symbol in symbols]
        self._trades = _Table(folder / "trades.csv", COLUMNS["trades"])
        self._matched = _Table(folder / "matched_trades.csv", COLUMNS["matched_trades"])
        self._equity = _Table(folder / "equity.csv", [*before, *positions, *after])
        self._tables = (self._trades, self._matched, self._equity)
        self._inputs = Retraced(folder / "inputs.jsonl")
        self._fifos: dict[str, Fifo] = {}  # by strategy
        self._open: dict[str, dict[str, float]] = {}  # client order ids by strategy, and their limit prices
        self.wider: tuple[str, ...] = ()
        self.fills = self.recoveries = self.manual_orders = 0
        self.notes: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """Orders that were taken and are not done."""
        return sum(map(len, self._open.values()))

    @property
    def out_of_order(self) -> int:
        """Rows that came too late for their place."""
        return sum(table.out_of_order for table in self._tables)

    def take(self, record: records.JournalRecord) -> None:
        """One record that counts."""
        match record:
            case Report():
                self._report(record)
            case Account():
                self._account(record)
            case records.Taken():
                self._taken(record)
            case records.Note():
                self.notes[record.what] += 1
                line = {"tape_seq": record.seq, **msgspec.structs.asdict(record)}
                del line["seq"]
                self._inputs.write(msgspec.json.encode(line) + b"\n")
            case records.Recovered():
                self.recoveries += 1
            case _:
                pass  # heads, horizons, checkpoints: how the journal is read, no facts of their own

    def _taken(self, taken: records.Taken) -> None:
        if isinstance(taken.request, Order):
            open_orders = self._open.setdefault(taken.strategy_id, {})
            open_orders[taken.request.client_order_id or ""] = taken.request.limit_price
            self.manual_orders += taken.strategy_id == MANUAL

    def _report(self, report: Report) -> None:
        open_orders = self._open.get(report.strategy_id, {})
        limit = open_orders.get(report.client_order_id, 0.0)
        if report.status.final:
            open_orders.pop(report.client_order_id, None)
        fill = report.fill
        if fill is None:
            return
        self.fills += 1
        when = (report.epoch, fill.ts, report.strategy_id)
        strategy, symbol, tag = quoted(report.strategy_id), quoted(fill.symbol), quoted(fill.tag)
        self._match(fill, (*when, report.exec_id), report.seq, f"{report.epoch},{strategy},{symbol}")
        cause, _, index = report.client_order_id.partition(".")
        slippage = slippage_bps(report, limit)
        amounts = numbers((fill.qty, fill.price, fill.commission, slippage, report.latency_ns / 1e6))
        line = f"{report.epoch},{fill.ts},{strategy},{report.client_order_id},{symbol},{fill.side},{amounts},{tag}\n"
        self._trades.waiting.append(_Row((*when, int(cause), int(index), report.exec_id), report.seq, line))

    def _match(self, fill: Fill, key: tuple[Any, ...], seq: int, begin: str) -> None:
        """The trades that a fill completes, as rows that begin alike."""
        fifo = self._fifos.get(fill.strategy_id)
        if fifo is None:
            fifo = self._fifos[fill.strategy_id] = Fifo(keep_round_trips=False)
        multiplier = self._multipliers.get(fill.symbol, MULTIPLIER_SCALE)
        fifo.apply(fill, scaled(fill.signed_qty, QTY_SCALE), multiplier, scaled(fill.commission, MONEY_SCALE))
        for trade in fifo.take_trades():
            _, side, *amounts = msgspec.structs.astuple(trade)
            self._matched.waiting.append(_Row(key, seq, f"{begin},{side},{numbers(amounts)}\n"))

    def _account(self, account: Account) -> None:
        held = account.positions
        if not held.keys() <= self._known:
            new = [symbol for symbol in held if symbol not in self._known and symbol not in self.wider]
            self.wider = (*(self.wider or self._symbols), *new)
        amounts = numbers(
            [
                *[held.get(symbol, 0.0) for symbol in self._symbols],
                *(account.cash, account.last_price if account.symbol else "", account.unrealized),
                *(account.realized, account.commission, account.equity),
            ]
        )
        key = (account.epoch, account.ts, account.strategy_id)
        line = f"{account.epoch},{account.ts},{quoted(account.strategy_id)},{amounts}\n"
        self._equity.waiting.append(_Row(key, account.seq, line))

    # --------------------------------------------------------------------------------------- in order

    def release(self, horizon: int, frontier: Frontier | None) -> None:
        """Write what is final now that every lane has gone past the records before `horizon`.

        A record that has not been seen by all is not earlier than any that has: so what is earlier than
        some row from before the horizon is final, and what is earlier than the tape was there (`frontier`).
        """
        seen = [row.key for table in self._tables for row in table.waiting if row.seq < horizon]
        last = max(seen, default=(-1, -1))[:2]
        for table in self._tables:
            table.waiting.sort(key=_key)  # stable: rows of one instant stay as they came
            count = 0
            for row in table.waiting:
                if row.key >= last and (frontier is None or not frontier.passed(row.seq, row.key[1])):
                    break
                count += 1
            table.release(count)

    def finish(self) -> None:
        """Nothing more comes: write what waits, and leave nothing else in the files."""
        for table in self._tables:
            table.waiting.sort(key=_key)
            table.release(len(table.waiting))
        self._inputs.cut()
        self._close(cut=True)

    def close(self) -> None:
        """Leave the files as they are: who comes next goes on."""
        self._close(cut=False)

    def _close(self, *, cut: bool) -> None:
        for table in self._tables:
            table.close(cut=cut)
        self._inputs.close()


def slippage_bps(report: Report, limit_price: float = 0.0) -> float | str:
    """How far a fill is from its reference price, in basis points, to the worse side positive; '' if unknown.

    What is filled at its limit has none: the tick that filled it was beyond the limit, by chance so far.
    """
    if not report.reference:
        return ""
    if report.last_px == limit_price:
        return 0.0
    price_n, price_d = exact(report.last_px)
    reference_n, reference_d = exact(report.reference)
    away = price_n * reference_d - reference_n * price_d
    return round(report.side.sign * 10_000 * away / (reference_n * price_d), BPS_DIGITS) + 0.0
