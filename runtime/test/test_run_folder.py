"""A run's folder: whoever comes first makes it, everybody gets the same token, and nobody else can read it."""

import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from config import Config, load_config
from runtime.run_folder import open_run_folder, read_token, run_folder
from testing.harness import system_config, write_config


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(write_config(tmp_path, system_config(tmp_path)))


def test_a_runs_folder_is_below_the_export_dir(config: Config, tmp_path: Path) -> None:
    assert run_folder(config, "run-1") == tmp_path / "runs" / "run-1"


def test_it_is_made_with_a_token_that_only_its_owner_can_read(config: Config) -> None:
    folder = open_run_folder(config, "run-1")
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
    token = read_token(folder)
    assert token is not None
    assert len(bytes.fromhex(token)) == 16


def test_it_holds_the_configuration_the_run_began_with(config: Config) -> None:
    folder = open_run_folder(config, "run-1")
    assert load_config(folder / "config.json") == config
    changed = msgspec.structs.replace(config, symbols=["OTHER"])
    open_run_folder(changed, "run-1")
    assert load_config(folder / "config.json") == config


def test_who_comes_later_finds_the_same_token_and_leaves_nothing_of_its_own(config: Config) -> None:
    folder = open_run_folder(config, "run-1")
    token = read_token(folder)
    assert open_run_folder(config, "run-1") == folder
    assert read_token(folder) == token
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "token"]


def test_of_many_who_come_at_once_all_read_one_token(config: Config) -> None:
    def come(_: int) -> str | None:
        return read_token(open_run_folder(config, "run-1"))

    with ThreadPoolExecutor(16) as crowd:
        tokens: Sequence[str | None] = list(crowd.map(come, range(64)))
    assert len(set(tokens)) == 1
    assert tokens[0]
    assert sorted(path.name for path in run_folder(config, "run-1").iterdir()) == ["config.json", "token"]


def test_every_run_has_a_token_of_its_own(config: Config) -> None:
    assert read_token(open_run_folder(config, "run-1")) != read_token(open_run_folder(config, "run-2"))


def test_a_run_without_a_folder_has_no_token(config: Config) -> None:
    assert read_token(run_folder(config, "never")) is None


def test_a_folder_that_cannot_be_made_is_an_os_error(config: Config, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="runs"):
        open_run_folder(config, "run-1")


def test_the_folder_of_a_run_whose_seed_is_hidden_is_for_its_owner_alone(config: Config) -> None:
    hidden = msgspec.structs.replace(config, run=msgspec.structs.replace(config.run, hide_seed=True))
    assert stat.S_IMODE(open_run_folder(hidden, "run-1").stat().st_mode) == 0o700


def test_the_folder_of_a_run_with_a_dashboard_token_is_for_its_owner_alone(config: Config) -> None:
    dashboard = msgspec.structs.replace(config.Dashboard, token="0123456789abcdef")
    folder = open_run_folder(msgspec.structs.replace(config, Dashboard=dashboard), "run-1")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
