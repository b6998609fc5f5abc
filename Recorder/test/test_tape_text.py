"""The recorded tape as lines: the kernels write what plain Python writes, byte for byte."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from Recorder.tape_file import Records
from Recorder.tape_text import WORTH_COMPILING, TapeText, plain_lines
from shared_memory_utils import RECORD_DTYPE
from testing.harness import ROOT
from trading_lib.jit import compiled
from trading_lib.models import Kind
from trading_lib.wire import MAX_SYMBOL

NAMES = ("A", "BTC-USD", "X" * MAX_SYMBOL)
needs_kernels = pytest.mark.skipif(
    not compiled(), reason="no kernels: ALGOSIM_PURE_PYTHON is set, or no Numba"
)

prices = st.one_of(
    st.builds(lambda mantissa, places: mantissa / 10**places, st.integers(1, 10**16), st.integers(0, 12)),
    st.floats(),
    st.sampled_from(
        [0.0, -0.0, 1e-5, 0.0001, 1e15, 1e16, 1e22, 123456789012345.6, 0.1 + 0.2, math.inf, math.nan]
    ),
)
rows = st.tuples(
    st.one_of(st.integers(0, 10**6), st.integers(-1, 2**62)),
    st.one_of(st.integers(1_735_828_200_000_000_000, 1_735_828_300_000_000_000), st.integers(-1, 2**62)),
    prices,
    st.integers(0, len(NAMES) - 1),
    st.sampled_from([Kind.TICK, Kind.TICK, Kind.TICK, Kind.TIME, Kind.EPOCH, Kind.END, Kind.GAP]),
)


def tape(found: list[tuple[int, int, float, int, Kind]]) -> Records:
    records = np.zeros(len(found), RECORD_DTYPE)
    for name, column in zip(("seq", "ts", "value", "slot", "kind"), zip(*found, strict=True), strict=True):
        records[name] = column
    return np.frombuffer(records.tobytes(), RECORD_DTYPE)  # read-only, as they come from a file


@needs_kernels
@settings(deadline=None, max_examples=300)
@given(st.lists(rows, min_size=1, max_size=30))
@example([(1, 1, 100.0, 0, Kind.TIME)])
@example([(1, 1, 100.0, 0, Kind.TICK), (2, 1, 55.0, 1, Kind.NEWS), (3, 1, 100.5, 0, Kind.TICK)])
@example([(1, 1, 100.0, 2, Kind.TICK), (2, 1, -0.0, 0, Kind.TICK), (3, 1, 0.00012, 1, Kind.TICK)])
def test_kernels_write_what_plain_python_writes(found: list[tuple[int, int, float, int, Kind]]) -> None:
    records = tape(found)
    expected = plain_lines(records, NAMES)
    data, ends = TapeText()._compiled(records, NAMES)
    assert data == b"".join(expected)
    assert ends.tolist() == np.cumsum([len(line) for line in expected]).tolist()


@settings(deadline=None, max_examples=50)
@given(st.lists(rows.filter(lambda row: math.isfinite(row[2])), min_size=1, max_size=30), st.integers(1, 2))
def test_each_line_ends_where_it_is_said_to_and_is_json(
    found: list[tuple[int, int, float, int, Kind]], times: int
) -> None:
    many = found * (times * WORTH_COMPILING // len(found) + 1)
    data, ends = TapeText().lines(tape(many), NAMES)
    begins = [0, *ends[:-1].tolist()]
    for (seq, ts, value, slot, kind), begin, end in zip(many, begins, ends.tolist(), strict=True):
        line = json.loads(data[begin:end])
        assert (line["tape_seq"], line["ts"], line["type"]) == (seq, str(ts), kind.name.lower())
        if kind is Kind.TICK:
            assert (line["symbol"], line["price"]) == (NAMES[slot], value)


def test_a_symbol_that_comes_later_has_its_name() -> None:
    text = TapeText()
    many = [(number, 1, 100.5, 0, Kind.TICK) for number in range(WORTH_COMPILING)]
    text.lines(tape(many), NAMES[:1])
    data, _ = text.lines(tape([(seq, ts, value, 1, kind) for seq, ts, value, _, kind in many]), NAMES[:2])
    assert data.count(b'"symbol":"BTC-USD"') == WORTH_COMPILING


WARMED = """
import sys
from pathlib import Path
from Recorder import tape_text
from Recorder.tape_file import TapeCursor, TapeFile
from shared_memory_utils import RECORD_DTYPE
tape_text.jit.warmed = lambda name: False
tape_text.TapeText.warm(lambda _: None)
from Recorder.tape_text_kernels import write_lines
print(len(write_lines.signatures))
folder = Path(sys.argv[1])
TapeFile(folder, "run", 1 << 20, 1).write(bytes(RECORD_DTYPE.itemsize * 1000))
tape_text.TapeText().lines(TapeCursor(folder).take(1000), ["A"])
print(len(write_lines.signatures))
"""


@needs_kernels
def test_what_is_compiled_beforehand_is_what_a_recorded_tape_needs(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WARMED, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]
