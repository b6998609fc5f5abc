"""Strategies ranked by return, drawdown and Sharpe ratio; and where a person sees it."""

import io
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from runtime.leaderboard import HEADING, leaderboard, leaders, ranked
from runtime.status_view import View


def lane(
    strategy_id: str, equity: float, drawdown: float | None = 0.0, sharpe: float | None = None
) -> dict[str, Any]:
    return {
        "strategy_id": strategy_id,
        "initial": 1000.0,
        "equity": equity,
        "drawdown": drawdown,
        "sharpe": sharpe,
        "commission": 1.0,
        "realized": equity - 999.0,
        "unrealized": 0.0,
        "positions": {},
    }


def test_the_return_counts_first_then_the_drawdown_then_the_sharpe_ratio() -> None:
    lanes = [
        *(lane("e", 1000, 0.1, 1.0), lane("d", 1000, 0.1, 2.0), lane("c", 1000, 0.05), lane("a", 1001, 0.5)),
        *(lane("f", 1000, None), lane("b", 1001, 0.5)),
    ]
    assert [place.strategy_id for place in ranked(lanes)] == ["a", "b", "c", "d", "e", "f"]
    assert [place.rank for place in ranked(lanes)] == [1, 2, 3, 4, 5, 6]


@settings(max_examples=100, deadline=None)
@given(st.permutations([lane(f"s{i}", 1000 + i % 3, (i % 4) / 10, i % 5) for i in range(8)]))
def test_the_order_in_which_lanes_come_does_not_matter(lanes: list[dict[str, Any]]) -> None:
    expected = ranked([lane(f"s{i}", 1000 + i % 3, (i % 4) / 10, i % 5) for i in range(8)])
    assert ranked(lanes) == expected


def test_plain_clients_take_part_only_when_they_trade() -> None:
    manual = lane("manual", 1000) | {"commission": 0.0, "realized": 0.0}
    assert [place.strategy_id for place in ranked([manual, lane("a", 1001)])] == ["a"]
    for traded in ({"commission": 0.1}, {"realized": -1.0}, {"positions": {"IBM": 1.0}}):
        assert len(ranked([manual | traded, lane("a", 1001)])) == 2


def test_one_strategy_alone_is_no_contest() -> None:
    assert leaderboard([lane("a", 1001)]) == []
    assert leaders([lane("a", 1001)], 3) == ""


def test_a_line_says_rank_return_drawdown_sharpe_and_equity() -> None:
    heading, first, second = leaderboard([lane("slow", 999, 0.0123), lane("quick", 1010.5, 0.001, -3.21)])
    assert heading == HEADING
    assert first.split() == ["1", "quick", "+1.050", "%", "0.100", "%", "-3.2", "1,010.50"]
    assert second.split() == ["2", "slow", "-0.100", "%", "1.230", "%", "–", "999.00"]
    assert len(first) == len(second) == len(heading) <= 80
    assert leaders([lane("slow", 999), lane("quick", 1010.5)], 1) == "1 quick 1,010.50 (+1.050 %) … 2"


def test_a_long_board_says_how_many_more_there_are() -> None:
    board = leaderboard([lane(f"s{i:02}", 1000 + i) for i in range(30)], 5)
    assert len(board) == 7
    assert board[-1].strip() == "… and 25 more"


def test_a_class_sees_its_ranks_and_the_whole_board_at_the_end() -> None:
    lanes = [lane(f"s{i:02}", 1000 + i) for i in range(30)]
    part = {"state": "ready", "pid": 1, "cpu_percent": 1.0, "rss_bytes": 1, "restarts": 0}
    parts = {name: dict(part) for name in ("orderbook", "strategy", "gateway")}
    status = {"run_id": "1", "uptime_s": 1.0, "parts": parts | {"order_manager": part | {"lanes": lanes}}}
    file = io.StringIO()
    with View(Console(file=file, width=100, height=30, force_terminal=True, color_system=None)) as view:
        view.show(status)
    live = file.getvalue()
    assert "ranks" in live and "s29" in live and "… and 23 more" in live and "s22" not in live
    plain = io.StringIO()
    with View(Console(file=plain, width=100, force_terminal=False)) as view:
        view.show(status)
        assert "1 s29 1,029.00 (+2.900 %), 2 s28 1,028.00 (+2.800 %), 3 s27 1,027.00" in plain.getvalue()
        view.show(status | {"stopped": True})
    assert sum(f" s{i:02} " in plain.getvalue() for i in range(30)) == 30
