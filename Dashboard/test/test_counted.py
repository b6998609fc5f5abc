"""Drops, gaps and rejections by name: all of them, bounded, and explained."""

import re

from Dashboard.counted import LONGEST, MOST_REASONS, NUMBERS, OTHER, REASONS, Counted, counted
from Dashboard.test.statuses import status
from testing.harness import ROOT


def found(**parts: object) -> dict[tuple[str, str, str], Counted]:
    return {(one.part, one.what, one.reason): one for one in counted(status(**parts)["parts"])}  # type: ignore[arg-type]


def test_every_table_of_every_part_is_counted_by_reason() -> None:
    rows = found(
        gateway={"rows_rejected": {"line 3: no price": 2}}, order_manager={"refused": {"no market": 1}}
    )
    assert rows["orderbook", "rejected", "bad price"].count == 2
    assert rows["order_manager", "denials", "collar"].count == 4
    assert rows["gateway", "rows_rejected", "line 3: no price"].count == 2
    assert rows["order_manager", "refused", "no market"].count == 1
    assert rows["orderbook", "gaps", ""].count == 1 and rows["orderbook", "late", ""].count == 0


def test_what_is_no_trouble_is_not_called_so() -> None:
    rows = found()
    assert not rows["order_manager", "counters", "connected"].trouble
    assert not rows["strategy", "missed", ""].trouble  # there was none
    assert rows["gateway", "counters", "disconnected: too slow"].trouble
    assert rows["orderbook", "gaps", ""].trouble


def test_reasons_without_end_are_summed_up_without_one_lost() -> None:
    reasons = {f"reason {i} {'x' * 500}": i + 1 for i in range(1000)}
    rows = [
        one for one in counted(status(order_manager={"refused": reasons})["parts"]) if one.what == "refused"
    ]
    assert len(rows) <= MOST_REASONS + 1 and sum(one.count for one in rows) == sum(reasons.values())
    assert rows[-1].reason == OTHER and all(len(one.reason) <= LONGEST for one in rows)


def test_every_reason_that_the_docs_explain_is_explained_here() -> None:
    protocol = (ROOT / "docs" / "PROTOCOL.md").read_text().partition("## Rejections")[2]
    rules = (ROOT / "docs" / "FILLS.md").read_text().partition("## Risk")[2]
    reasons = set(re.findall(r"^\| `([^`]+)` \|", protocol.partition("\n## ")[0], re.MULTILINE))
    denials = set(re.findall(r"^\| ([a-z_ ]+) \| ", rules, re.MULTILINE)) - {"rule"}
    assert len(reasons) > 15 and len(denials) > 5
    assert reasons | denials <= set(REASONS)


def test_every_number_says_what_it_is() -> None:
    assert all(one.meaning for one in counted(status()["parts"]) if not one.reason)
    assert all(meaning for numbers in NUMBERS.values() for meaning in numbers.values())
