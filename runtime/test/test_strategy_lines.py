"""What each strategy is doing, in lines for a person."""

from typing import Any

from runtime.strategy_lines import strategy_lines


def strategy(name: str = "sma", **changes: Any) -> dict[str, Any]:
    well = {"state": "running", "version": "0123456789abcdef", "reloads": 0, "lag": 0, "lag_ms": 0.0}
    return {"strategy": name, **well, "error": "", "last_error": "", "why": {}, **changes}


def test_a_strategy_that_is_well_is_a_line_with_its_version() -> None:
    assert strategy_lines([strategy()], 3) == ["sma          running  version 01234567"]


def test_reloads_lag_and_why_it_does_not_trade_are_shown_the_most_frequent_reasons_first() -> None:
    why = {"warming up": 76, "signals disagree": 1200, "a": 1, "b": 2}
    assert strategy_lines([strategy(reloads=2, lag=5000, lag_ms=1250.4, why=why)], 3) == [
        "sma          running  version 01234567, 2 reloads  5,000 ticks (1,250 ms) behind"
        "  no trade: signals disagree 1,200, warming up 76"
    ]


def test_who_is_in_trouble_comes_first_with_the_error_below() -> None:
    broken = strategy("broken", state="broken", version="", error="line 3: SyntaxError: '(' was never closed")
    failing = strategy("failing", last_error="line 7: ZeroDivisionError")
    assert strategy_lines([strategy(), broken, failing], 2) == [
        "broken       broken",
        "  line 3: SyntaxError: '(' was never closed",
        "failing      running  version 01234567",
        "  line 7: ZeroDivisionError",
        "… and 1 more",
    ]
