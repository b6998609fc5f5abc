"""Strategy files are loaded once before a run begins, and what cannot be is said with file and line."""

from pathlib import Path

import pytest

from config import StrategyEntry, StrategySection, load_config
from lab import loadable
from lab.loadable import check_loadable
from trading_lib.strategy_file import StrategyError

GOOD = "def on_tick(ctx, tick): pass\n"


def section_of(folder: Path, *sources: str, sandbox: bool = True) -> StrategySection:
    """A strategy for each source, `0.py` and so on."""
    entries = []
    for number, source in enumerate(sources):
        path = folder / f"{number}.py"
        path.write_text(source)
        entries.append(StrategyEntry(id=str(number), path=str(path)))
    return StrategySection(strategies=tuple(entries), sandbox=sandbox)


def fault_of(section: StrategySection) -> str:
    with pytest.raises(StrategyError) as refused:
        check_loadable(section)
    return str(refused.value)


def test_what_is_shipped_can_be_loaded() -> None:
    check_loadable(load_config().Strategy)


@pytest.mark.parametrize("sandbox", [True, False])
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def on_tick(ctx, tick) pass", "0.py: line 1: SyntaxError: "),
        ("x = 1", "0.py: a strategy has a function on_tick(ctx, tick)"),
        ("import os\n\nunknown", "0.py: line 3: NameError: name 'unknown' is not defined"),
        ("import os\nos._exit(0)", "0.py: the process ended while it was being loaded"),
        ("print('loaded')\n1 / 0", "0.py: line 2: ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_said_with_its_line(
    tmp_path: Path, source: str, said: str, sandbox: bool
) -> None:
    assert said in fault_of(section_of(tmp_path, source, sandbox=sandbox))


def test_each_file_that_cannot_be_loaded_has_a_line_and_the_others_none(tmp_path: Path) -> None:
    lines = fault_of(section_of(tmp_path, "x = 1", GOOD, "y = ")).splitlines()
    assert [Path(line.partition(":")[0]).name for line in lines] == ["0.py", "2.py"]


def test_what_the_sandbox_denies_is_denied_as_in_a_run_and_only_there(tmp_path: Path) -> None:
    made = tmp_path / "made"
    careful = f"try: open({str(made)!r}, 'w')\nexcept PermissionError: pass\n{GOOD}"
    check_loadable(section_of(tmp_path, careful))
    assert not made.exists()
    check_loadable(section_of(tmp_path, careful, sandbox=False))
    assert made.exists()


def test_a_file_that_never_comes_back_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loadable, "LIMIT_S", 0.2)
    (tmp_path / "endless.py").write_text("while True: pass\n")
    order = loadable.Order((), locked_in=False, memory_mb=1024)
    said = loadable.fault_of(tmp_path / "endless.py", order)
    assert said == f"{tmp_path / 'endless.py'}: still loading after 0.2 s"
