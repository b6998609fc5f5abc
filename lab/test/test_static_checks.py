"""What `sim doctor` says of a strategy file without running it."""

import textwrap
from pathlib import Path

import pytest

from config import ROOT
from lab.findings import Finding, Level, did_you_mean, failed
from lab.scaffold import TEMPLATE
from lab.static_checks import check_source

TICK = "def on_tick(ctx, tick):\n    "


def check(source: str) -> list[Finding]:
    return check_source(textwrap.dedent(source).encode(), "s.py")


def only(source: str) -> Finding:
    found = check(source)
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("strategies/*/strategy.py")), ids=lambda path: path.parent.name
)
def test_nothing_is_wrong_with_a_shipped_strategy(path: Path) -> None:
    assert check_source(path.read_bytes(), "s.py") == []


def test_nothing_is_wrong_with_a_new_strategy() -> None:
    assert check(TEMPLATE.format(name="x")) == []


def test_what_is_no_python_is_an_error_with_its_line() -> None:
    finding = only("def on_tick(ctx, tick):\n    if\n")
    assert (finding.level, finding.where) == (Level.ERROR, "s.py:2")
    assert check_source(b"x = '\0'", "s.py")[0].level is Level.ERROR


def test_a_strategy_without_on_tick_is_an_error() -> None:
    assert "no function on_tick" in only("x = 1").text
    assert [finding.hint for finding in check("def on_tik(ctx, tick): pass")][
        1
    ] == "did you mean on_tick or on_stop?"
    assert check("from rules import on_tick\n") == []
    assert check("class Rule:\n    pass\non_tick = Rule()\n") == []


@pytest.mark.parametrize("arguments", ["(tick)", "(ctx)", "(ctx, tick, more)", "(ctx, tick, *, must)", "()"])
def test_a_callback_with_other_arguments_than_it_is_called_with_is_an_error(arguments: str) -> None:
    finding = only(f"def on_tick{arguments}: pass")
    assert finding.level is Level.ERROR and "is called as on_tick(ctx, tick)" in finding.text


@pytest.mark.parametrize(
    "arguments",
    ["(ctx, tick)", "(a, b)", "(ctx, tick, more=1)", "(*all)", "(ctx, tick, *, more=1)", "(ctx, tick, /)"],
)
def test_a_callback_that_can_be_called_is_fine(arguments: str) -> None:
    assert check(f"def on_tick{arguments}: pass") == []


def test_a_callback_that_nobody_would_await_is_an_error() -> None:
    assert "async" in only("async def on_tick(ctx, tick): pass").text


def test_a_function_that_nothing_calls_is_a_warning() -> None:
    finding = only("def on_tick(ctx, tick): pass\ndef on_fil(ctx, fill): pass")
    assert (finding.level, finding.hint) == (Level.WARNING, "did you mean on_fill?")


@pytest.mark.parametrize(
    ("line", "text", "hint"),
    [
        ("ctx.postion()", "ctx has no postion", "did you mean position?"),
        ("ctx.indicator.SMS(5)", "no indicator SMS", "did you mean SMA"),
        ("tick.prise", "a tick has no prise", "did you mean price?"),
        ("tick.price = 3", "a tick cannot be changed", ""),
        ("ctx.position = 3", "assigning hides it", "another name"),
        ("ctx.place_market_order('buy', 1)", "'buy' is none of BUY, SELL", ""),
        (
            "ctx.place_market_order('BUY')",
            "missing a required argument: 'qty'",
            "ctx.place_market_order(side",
        ),
        ("ctx.place_market_order('BUY', quantity=1)", "no argument quantity", "qty"),
        ("ctx.place_limit_order('BUY', 1, 2.0, tif='DAY')", "'DAY' is none of", ""),
        ("ctx.cancel()", "missing a required argument", "ctx.cancel(client_order_id)"),
    ],
)
def test_what_cannot_work_is_an_error_with_a_hint(line: str, text: str, hint: str) -> None:
    finding = only(TICK + line)
    assert finding.level is Level.ERROR
    assert text in finding.text and hint in finding.hint
    assert finding.where == "s.py:2"


def test_names_of_its_own_on_ctx_are_a_strategys_business() -> None:
    assert (
        check("def init(context): context.rows = {}\ndef on_tick(ctx, tick): ctx.rows[1] = ctx.rows\n") == []
    )
    assert check(TICK + "setattr(ctx, 'x', 1)") == []


def test_calls_with_stars_are_not_judged() -> None:
    assert check(TICK + "ctx.place_market_order(*ctx.get_state('order'))") == []


@pytest.mark.parametrize(
    "source",
    ["import socket", "import urllib.request", "from multiprocessing import Pool", "import subprocess as s"],
)
def test_what_the_sandbox_denies_is_an_error(source: str) -> None:
    finding = only(f"{source}\ndef on_tick(ctx, tick): pass")
    assert finding.level is Level.ERROR and "the sandbox allows no" in finding.text


@pytest.mark.parametrize(
    "line", ["open('x', 'w')", "open('x', mode='ab')", "time.sleep(1)", "os.system('ls')"]
)
def test_a_call_that_is_denied_is_an_error(line: str) -> None:
    assert only(TICK + line).level is Level.ERROR


@pytest.mark.parametrize(
    "line", ["time.time()", "datetime.now()", "random.random()", "np.random.normal()", "open('x')"]
)
def test_what_makes_two_runs_differ_is_a_warning(line: str) -> None:
    assert only(TICK + line).level is Level.WARNING


@pytest.mark.parametrize("line", ["rows.append(1)", "rows[1] = 2", "del rows[1]", "global rows; rows = 1"])
def test_a_global_that_changes_is_a_warning(line: str) -> None:
    found = check("rows = {}\n" + TICK + line)
    assert found and all("an epoch does not reset it" in finding.text for finding in found)


def test_globals_that_do_not_change_and_locals_are_fine() -> None:
    assert check("rows = {}\n" + TICK + "rows.get(1)") == []
    assert check("rows = {}\n" + TICK + "rows = []; rows.append(1)") == []


def test_a_parameter_that_is_not_declared_is_a_warning() -> None:
    source = "PARAMS = {'quantity': 1}\n" + TICK + "ctx.get_param('quantty', 1)"
    finding = only(source)
    assert (finding.level, finding.hint) == (Level.WARNING, "did you mean quantity?")


def test_constants_of_the_wrong_kind_are_errors() -> None:
    assert "SYMBOLS is a list" in only("SYMBOLS = 'AAPL'\n" + TICK + "pass").text
    assert "PARAMS is a dict" in only("PARAMS = ['n']\n" + TICK + "pass").text


def test_a_hint_names_the_nearest_or_all_of_a_few() -> None:
    assert did_you_mean("bye", ["BUY", "SELL"]) == "there is BUY, SELL"
    assert did_you_mean("zzz", [f"name{i}" for i in range(50)]) == ""
    assert not failed([Finding(Level.WARNING, "x", "y")])
