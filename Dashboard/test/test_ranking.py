from typing import Any

from Dashboard.money_watch import MoneyWatch


def lane(strategy: str, equity: float, **more: Any) -> dict[str, Any]:
    return {
        "strategy_id": strategy,
        "epoch": 0,
        "initial": 100.0,
        "equity": equity,
        "cash": equity,
        "realized": 0.0,
        "unrealized": 0.0,
        "commission": 1.0,
        "drawdown": 0.1,
        "sharpe": None,
        **more,
    }


def test_strategies_are_ranked_as_the_leaderboard_does() -> None:
    money = MoneyWatch()
    lanes = [
        lane("behind", 90),
        lane("ahead", 110),
        lane("calm", 90, drawdown=0.05),
        lane("manual", 500, commission=0),
    ]
    money.take_lanes(lanes)
    assert money.ranking() == ["ahead", "calm", "behind"]


def test_a_strategy_of_which_only_an_account_is_known_is_not_ranked_yet() -> None:
    money = MoneyWatch()
    money.take_lanes([lane("known", 90), {"strategy_id": "new", "equity": 100.0, "epoch": 0}])
    assert money.ranking() == ["known"]
