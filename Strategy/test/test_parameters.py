"""What operators change of a strategy's parameters, one change after another."""

import logging
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Strategy.parameters import MAX_BYTES, SHOWN_BYTES, Parameters, presentable

LOG = logging.getLogger("test")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture
def parameters(tmp_path: Path) -> Parameters:
    return begun(tmp_path)


def begun(folder: Path) -> Parameters:
    made = Parameters({"window": 5, "quantity": 10}, LOG)
    made.begin(folder / "strategies" / "mine.params.json")
    return made


def test_without_a_change_they_are_those_of_the_configuration(parameters: Parameters) -> None:
    assert not parameters.try_next()
    assert parameters.now == {"window": 5, "quantity": 10}
    assert parameters.wanted is None
    parameters.accept()
    assert parameters.handled == 0


def test_what_is_tried_counts_once_it_is_accepted(parameters: Parameters) -> None:
    parameters.ask(3, {"window": 8})
    assert parameters.try_next() and parameters.trying == "window=8"
    assert parameters.wanted == {"window": 8, "quantity": 10}
    assert not parameters.accepted
    parameters.accept()
    assert parameters.accepted == parameters.now == {"window": 8, "quantity": 10}
    assert parameters.handled == 3


def test_what_is_refused_changes_nothing_and_is_not_tried_again(
    parameters: Parameters, tmp_path: Path
) -> None:
    parameters.ask(1, {"window": 0})
    parameters.try_next()
    parameters.refuse()
    assert (parameters.now["window"], parameters.handled) == (5, 1)
    again = begun(tmp_path)
    again.ask(1, {"window": 0})
    assert not again.try_next()


def test_back_to_the_configuration_is_no_version_of_its_own(parameters: Parameters) -> None:
    for number, window in ((1, 8), (2, 5)):
        parameters.ask(number, {"window": window})
        assert parameters.try_next()
        parameters.accept()
    assert parameters.accepted is None


def test_a_change_that_changes_nothing_is_not_tried(parameters: Parameters) -> None:
    parameters.ask(1, {"window": 5})
    assert not parameters.try_next()
    assert parameters.handled == 1


def test_several_that_wait_are_tried_as_one_and_the_later_one_counts(parameters: Parameters) -> None:
    parameters.ask(1, {"window": 8, "quantity": 1})
    parameters.ask(2, {"window": 9})
    assert parameters.try_next()
    parameters.ask(3, {"quantity": 2})
    assert parameters.wanted == {"window": 9, "quantity": 1}
    parameters.postpone()
    assert parameters.try_next() and parameters.trying == "window=9, quantity=2"
    parameters.accept()
    assert parameters.handled == 3


def test_a_strategy_that_is_started_again_comes_up_with_what_was_accepted(
    parameters: Parameters, tmp_path: Path
) -> None:
    parameters.ask(4, {"window": 8})
    parameters.try_next()
    parameters.accept()
    parameters.ask(5, {"quantity": 1})  # the Strategy is killed before that is tried
    again = begun(tmp_path)
    assert (again.now, again.handled) == ({"window": 8, "quantity": 10}, 4)
    again.ask(4, {"window": 8})
    assert not again.try_next()
    again.ask(5, {"quantity": 1})
    assert again.try_next()


def test_another_run_begins_with_the_configuration(parameters: Parameters, tmp_path: Path) -> None:
    parameters.ask(1, {"window": 8})
    parameters.try_next()
    parameters.accept()
    parameters.begin(tmp_path / "other" / "mine.params.json")
    assert (parameters.accepted, parameters.handled) == (None, 0)


def test_a_damaged_file_is_said_and_the_configuration_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "mine.params.json").write_text('{"handled": 3')
    assert begun(tmp_path).accepted is None
    assert "those of the configuration" in caplog.text


def test_what_cannot_be_kept_is_said_and_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "strategies").write_text("in the way")
    made = Parameters({}, LOG)
    made.begin(tmp_path / "strategies" / "mine.params.json")
    made.ask(1, {"n": 1})
    made.try_next()
    made.accept()
    assert made.now == {"n": 1}
    assert "will try anew" in caplog.text


def test_more_than_so_many_bytes_are_refused(
    parameters: Parameters, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):
        parameters.ask(number + 1, {f"p{number}": "x" * 4000})
    assert parameters.try_next()
    assert len(parameters.trying) < MAX_BYTES
    assert "action 17 is refused" in caplog.text


def test_a_name_that_neither_file_nor_configuration_knows_is_found(parameters: Parameters) -> None:
    parameters.ask(1, {"window": 8, "windw": 9})
    parameters.try_next()
    assert parameters.unknown({"slow": 3}) == "windw"
    assert parameters.unknown({"windw": 3}) == ""
    assert parameters.unknown({}) == "", "a file without PARAMS may know any"


@given(st.dictionaries(st.text(max_size=10) | st.integers(), JSON | st.just(LOG) | st.binary(), max_size=30))
def test_whatever_a_file_declares_can_be_shown_within_bounds(declared: dict[object, object]) -> None:
    assert len(msgspec.json.encode(presentable(declared))) <= SHOWN_BYTES + 2


def test_a_name_that_cannot_be_written_is_not_shown() -> None:
    assert presentable({"\udcff": 1, "window": 2}) == {"window": 2}
