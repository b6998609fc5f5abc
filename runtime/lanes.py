"""Lanes as a configuration describes them: the host's and the ledger's must be made alike."""

from collections.abc import Callable
from pathlib import Path

from config import Config
from runtime.run_folder import run_folder
from trading_lib.broker import Terms
from trading_lib.control import Action, read_actions
from trading_lib.lane import Lane
from trading_lib.lane_books import Instrument
from trading_lib.risk import Limits


class Actions:
    """The operator's actions of a run, by number. A line is in the file before its mark is on the tape."""

    def __init__(self, read: Callable[[], dict[int, Action]]) -> None:
        self._read = read
        self._known: dict[int, Action] = {}

    def __call__(self, number: int) -> Action | None:
        """The action behind a CONTROL record, None for one that is not the lanes' business."""
        if number not in self._known:
            self._known = self._read()
        return self._known.get(number)


def actions_path(config: Config, run_id: str) -> Path:
    """The file of a run's actions."""
    return run_folder(config, run_id) / "control.jsonl"


def make_lane(
    strategy_id: str,
    config: Config,
    run_id: str,
    *,
    account_every: int = 0,
    read: Callable[[], dict[int, Action]] | None = None,
) -> Lane:
    """A fresh lane of one strategy in one run; `read` gives the operator's actions, else the run's file does."""
    path = actions_path(config, run_id)
    execution = config.OrderManager.execution
    return Lane(
        strategy_id,
        terms_of(config),
        limits_of(config),
        cash=execution.initial_cash,
        instruments={
            symbol: Instrument(instrument.multiplier, instrument.session)
            for symbol, instrument in config.instruments.items()
        },
        account_every=account_every,
        action=Actions(read or (lambda: read_actions(path))),
    )


def terms_of(config: Config) -> Terms:
    """What an execution costs and how long an order travels."""
    execution = config.OrderManager.execution
    return Terms(
        latency_ns=round(execution.latency_ms * 1e6),
        latency_jitter_ns=round(execution.latency_jitter_ms * 1e6),
        slippage_bps=execution.slippage_bps,
        commission_bps=execution.commission_bps,
        commission_fixed=execution.commission_fixed,
        fill=execution.fill,
        limit_fill=execution.limit_fill,
        partial_fills=execution.partial_fills,
        seed=config.run.seed,
    )


def limits_of(config: Config) -> Limits:
    """What every strategy must not do."""
    risk = config.OrderManager.risk
    return Limits(
        max_position=risk.max_position,
        max_order_qty=risk.max_order_qty,
        max_orders_per_s=risk.max_orders_per_s,
        max_daily_loss=risk.max_daily_loss,
        collar=risk.collar,
        kill_switch_flatten=risk.kill_switch_flatten,
    )
