"""docs/MODELS.md names every parameter of every model, with its default."""

import json
import re

import msgspec
import pytest

from config import ROOT
from trading_lib.simulation import TYPES

PAGE = (ROOT / "docs" / "MODELS.md").read_text()


def rows(heading: str) -> dict[str, str]:
    """First and second column of the table below a heading."""
    section = PAGE.split(f"\n{heading}\n")[1].split("\n#")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE))


@pytest.mark.parametrize("kind", sorted(TYPES.keys() - {"vasicek"}))
def test_a_models_table_has_its_parameters_and_their_defaults(kind: str) -> None:
    defaults = msgspec.to_builtins(TYPES[kind]())
    assert defaults.pop("P0") == 100
    table = rows(f"### {kind}")
    assert table.keys() == defaults.keys()
    assert {name: json.loads(text) for name, text in table.items() if name != "regimes"} == {
        name: value for name, value in defaults.items() if name != "regimes"
    }
