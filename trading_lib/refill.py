"""The same orders filled again under other terms, over the same tape: what latency and costs were worth.

    fans = [Refill({"sma": lane}, {"sma": requests}) for lane in …]
    for records in tape:
        for fan in fans:
            fan.advance(records, names)

Each lane is fresh and runs from the tape's first record. Orders are those that were sent, whatever would
have been decided had they been filled differently; risk limits apply anew, so under other terms another
order may be refused. Pure: no clock, no file.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import msgspec

from trading_lib.broker import Terms
from trading_lib.lane import Lane, Record, Request

MAX_SLIPPAGE_BPS = 1000.0  # a price must stay above zero


class Variant(msgspec.Struct, frozen=True):
    """Terms to try: a latency, and a factor on slippage and commission."""

    latency_ms: float
    cost_factor: float


class Curve(msgspec.Struct, frozen=True):
    """A variant's equity, summed over strategies, at some records: `ts` is ns of event time in `epoch`."""

    latency_ms: float
    cost_factor: float
    epoch: list[int]
    ts: list[int]
    equity: list[float]


def variants(latencies_ms: Iterable[float], cost_factors: Iterable[float]) -> list[Variant]:
    """Every pair, ascending, each once."""
    return [Variant(*pair) for pair in product(sorted(set(latencies_ms)), sorted(set(cost_factors)))]


def terms_under(terms: Terms, variant: Variant) -> Terms:
    """A run's terms with another latency and other costs; the rest stays."""
    factor = variant.cost_factor
    return msgspec.structs.replace(
        terms,
        latency_ns=round(variant.latency_ms * 1e6),
        slippage_bps=min(terms.slippage_bps * factor, MAX_SLIPPAGE_BPS),
        commission_bps=terms.commission_bps * factor,
        commission_fixed=terms.commission_fixed * factor,
    )


class Refill:
    """Lanes by strategy under one variant, and the requests each has still to send. Owns the lanes.

    `idle_cash` is the money of strategies that sent none.
    """

    def __init__(
        self,
        variant: Variant,
        lanes: Mapping[str, Lane],
        requests: Mapping[str, Sequence[Request]],
        idle_cash: float = 0.0,
    ) -> None:
        self.lanes = dict(lanes)
        self._idle_cash = idle_cash
        self._queues = {strategy_id: deque(requests.get(strategy_id, ())) for strategy_id in lanes}
        self._curve = Curve(variant.latency_ms, variant.cost_factor, [], [], [])

    def advance(self, records: Sequence[Record], names: Sequence[str]) -> None:
        """The tape's next records, each request at the place of its cause; then a point of the curve."""
        if not records:
            return
        seqs = [record[0] for record in records]
        for strategy_id, lane in self.lanes.items():
            queue, at = self._queues[strategy_id], 0
            while queue and queue[0].cause_seq <= seqs[-1]:
                place = bisect_right(seqs, queue[0].cause_seq)
                lane.advance(records[at:place], names)
                lane.submit(queue.popleft())
                at = place
            lane.advance(records[at:], names)
            lane.reports.clear()
            lane.accounts.clear()
        self._note()

    def _note(self) -> None:
        first = next(iter(self.lanes.values()), None)
        if first is not None and first.ts:  # an epoch that has only begun has no time yet
            self._curve.epoch.append(first.epoch)
            self._curve.ts.append(first.ts)
            self._curve.equity.append(sum((lane.equity() for lane in self.lanes.values()), self._idle_cash))

    @property
    def curve(self) -> Curve:
        """The equity so far."""
        return self._curve
