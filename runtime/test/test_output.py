"""The output: whoever reads it or not, who writes does not wait."""

import fcntl
import os
from collections.abc import Iterator
from typing import NamedTuple, TextIO

import pytest

from runtime.output import LIMIT, Output
from testing.harness import wait_until


class Pipe(NamedTuple):
    """A real pipe of the smallest size there is."""

    reading: int
    writing: TextIO

    def read_to_end(self) -> str:
        """Everything, once the writing end is closed."""
        with os.fdopen(os.dup(self.reading)) as file:
            return file.read()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reading, writing = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(writing, "w") as file:
        yield Pipe(reading, file)
    os.close(reading)


def test_what_is_read_arrives_whole_and_in_order(pipe: Pipe) -> None:
    output = Output(pipe.writing)
    lines = [f"line {n} – …\n" for n in range(100)]
    for line in lines:
        assert output.write(line) == len(line)
    output.close()
    pipe.writing.close()
    assert pipe.read_to_end() == "".join(lines)
    assert output.dropped == 0


def test_a_full_pipe_holds_nobody_up_and_what_was_dropped_is_counted_and_said(pipe: Pipe) -> None:
    output = Output(pipe.writing)
    lines = [f"{n:0999}\n" for n in range(4 * LIMIT // 1000)]
    for line in lines:
        output.write(line)
    shown = len(lines) - output.dropped
    assert 0 < shown < len(lines)
    text = ""
    while "nobody read" not in text:
        text += os.read(pipe.reading, 1 << 16).decode()
    output.close()
    assert text == "".join(lines[:shown]) + f"… {output.dropped} lines not shown: nobody read them\n"


def test_a_full_pipe_does_not_hold_up_the_end(pipe: Pipe) -> None:
    output = Output(pipe.writing)
    output.write("x" * 100_000)
    output.close()
    assert output.closed


def test_a_process_without_an_output_writes_to_nobody() -> None:
    with Output(None) as output:
        assert output.write("hello\n") == 6
        assert not output.isatty()


def test_a_reader_that_has_gone_is_an_error_of_the_next_write(pipe: Pipe) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream, Output(stream) as output:

        def refused() -> bool:
            try:
                output.write("hello\n")
            except BrokenPipeError:
                return True
            return False

        wait_until(refused, "the broken pipe")
