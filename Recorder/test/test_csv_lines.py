"""Lines of CSV: those of the standard library's writer, to the byte."""

import csv
import io

from hypothesis import example, given
from hypothesis import strategies as st

from Recorder.csv_lines import numbers, quoted

CELLS = st.one_of(
    st.floats(),
    st.floats(-1e-3, 1e-3),
    st.floats(1e15, 1e17),
    st.integers(-(2**63), 2**63 - 1),
    st.just(""),
)


def written(*cells: object) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


@given(st.lists(CELLS, min_size=2))
@example([1e-4, 9.999e-5, -1e-5, 1e16, -0.0, 5e-324, float("nan")])
@example([0.0, 100000.0, ""])
def test_numbers_are_as_the_writer_writes_them(cells: list[float | str]) -> None:
    assert numbers(cells) + "\n" == written(*cells)


@given(st.text())
@example('a,"b"')
@example("a\r\nb")
def test_texts_are_as_the_writer_writes_them(text: str) -> None:
    assert f"{quoted(text)},{quoted('x')}\n" == written(text, "x")
