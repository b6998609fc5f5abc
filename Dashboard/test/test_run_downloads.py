"""Files of runs: known names of known runs, and nothing that may not be known."""

import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.responses import Response, StreamingResponse

from Dashboard.run_downloads import (
    KINDS,
    REPORT,
    SAY_THE_SEED,
    NotThere,
    download,
    files_of,
    report,
    run_folder,
)

CONFIG = {"run": {"seed": 4711, "hide_seed": False}, "Dashboard": {"token": "0123456789abcdef", "port": 1}}
HOSTILE = (
    "..",
    ".",
    "",
    "/",
    "/etc",
    "../secret",
    "run/../../secret",
    "run\0",
    "run/",
    "RUN",
    "~",
    "run/strategies",
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder, with a secret beside the folder of runs."""
    folder = tmp_path / "runs" / "run"
    folder.mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "trades.csv").write_text("secret")
    (folder / "token").write_text("secret")
    (folder / "journal.bin").write_text("secret")
    settle(folder, CONFIG)
    for name in ("trades.csv", "events.jsonl", "control.jsonl", REPORT, "tape.bin"):
        (folder / name).write_text(f"this is {name}")
    return folder


def settle(folder: Path, config: dict[str, Any]) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    manifest = {"run_id": "run", "config": config, "seeds": {"run": config["run"]["seed"]}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def body(response: Response) -> bytes:
    if not isinstance(response, StreamingResponse):
        return bytes(response.body)

    async def read() -> bytes:
        return b"".join([bytes(piece) async for piece in response.body_iterator if isinstance(piece, bytes)])

    return asyncio.run(read())


def test_known_files_of_a_run_are_had_as_they_are(run: Path) -> None:
    assert [file.name for file in files_of(run)] == [name for name in KINDS if (run / name).exists()]
    response = download(run, "trades.csv")
    assert response.headers["content-disposition"] == 'attachment; filename="run-trades.csv"'
    assert response.headers["content-length"] == "18"
    assert body(response) == b"this is trades.csv"


@pytest.mark.parametrize(
    "name", ["token", "journal.bin", "../secret/trades.csv", "strategies", "", "status.sock", "TRADES.CSV"]
)
def test_no_other_file_is(run: Path, name: str) -> None:
    with pytest.raises(NotThere):
        download(run, name)


def test_a_file_that_is_not_there_or_is_none_is_not_had(run: Path) -> None:
    (run / "equity.csv").mkdir()
    (run / "prices.csv").symlink_to(run / "token")
    for name in ("equity.csv", "prices.csv", "matched_trades.csv"):
        with pytest.raises(NotThere):
            download(run, name)
    assert not {"equity.csv", "prices.csv"} & {file.name for file in files_of(run)}


@given(st.text() | st.sampled_from(HOSTILE))
@example("run")
@settings(max_examples=200, deadline=None)
def test_a_run_is_found_by_its_very_name_and_by_nothing_else(name: str) -> None:
    with TemporaryDirectory() as place:
        runs = Path(place) / "runs"
        (runs / "run").mkdir(parents=True)
        (runs / "file").touch()
        (runs / "link").symlink_to(place)
        if name == "run":
            assert run_folder(runs, name) == runs / "run"
        else:
            with pytest.raises(NotThere):
                run_folder(runs, name)


def test_a_link_or_a_file_is_no_run_and_where_no_runs_are_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for runs, name in ((tmp_path, "file"), (tmp_path, "link"), (tmp_path / "nowhere", "run")):
        with pytest.raises(NotThere):
            run_folder(runs, name)


@pytest.mark.parametrize("name", ["config.json", "manifest.json"])
def test_the_token_of_the_dashboard_stays_where_it_is(run: Path, name: str) -> None:
    found = json.loads(body(download(run, name)))
    config = found.get("config", found)
    assert config["Dashboard"] == {"token": None, "port": 1}
    assert config["run"]["seed"] == 4711


def test_a_hidden_seed_is_in_nothing_that_is_had(run: Path) -> None:
    settle(run, {**CONFIG, "run": {"seed": 4711, "hide_seed": True}})
    names = {file.name for file in files_of(run)}
    assert names == {"trades.csv", "tape.bin", "config.json", "manifest.json"}
    assert all(b"4711" not in body(download(run, name)) for name in names)
    for name in SAY_THE_SEED:
        with pytest.raises(NotThere):
            download(run, name)
    with pytest.raises(NotThere):
        report(run)


@pytest.mark.parametrize("text", ["{", "[]", '"text"', "[" * 100_000])
def test_settings_that_cannot_be_read_hide_the_seed(run: Path, text: str) -> None:
    (run / "config.json").write_text(text)
    assert not SAY_THE_SEED & {file.name for file in files_of(run)}
    with pytest.raises(NotThere):
        download(run, "config.json")
    assert b"4711" not in body(download(run, "manifest.json"))


def test_a_file_that_grows_is_had_as_long_as_it_was(run: Path) -> None:
    response = download(run, "trades.csv")
    with (run / "trades.csv").open("a") as file:
        file.write("and more")
    assert body(response) == b"this is trades.csv"


def test_a_report_has_no_rights(run: Path) -> None:
    response = report(run)
    assert body(response) == b"this is report.html"
    policy = response.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert "allow-same-origin" not in policy


def test_a_folder_with_a_strange_name_has_files_with_a_plain_one(tmp_path: Path) -> None:
    folder = tmp_path / 'a "run"\r\nSet-Cookie: é'
    folder.mkdir()
    (folder / "trades.csv").touch()
    response = download(folder, "trades.csv")
    assert body(response) == b""
    assert response.headers["content-disposition"] == (
        'attachment; filename="a__run___Set-Cookie___-trades.csv"'
    )
