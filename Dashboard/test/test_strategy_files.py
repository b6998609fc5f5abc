import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Dashboard.strategy_files import FILE, MAX_SOURCE, Changed, Refused, StrategyFiles

HOSTILE = (
    *("", ".", "..", "../outside", "/etc", "/etc/passwd", "momentum/..", "momentum/../../outside", "a/b"),
    *(
        "momentum\0",
        "momentum\n",
        "~",
        ".hidden",
        "..\\outside",
        "%2e%2e",
        "-rf",
        "x" * 65,
        "mömentum",
        "\ud800",
    ),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("momentum", "zigzag"):
        (tmp_path / "strategies" / name).mkdir(parents=True)
        (tmp_path / "strategies" / name / FILE).write_text(f"# {name}\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / FILE).write_text("# out of bounds\n")
    return tmp_path / "strategies"


def drafts(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != FILE]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_is_saved_is_what_is_read(root: Path) -> None:
    files = StrategyFiles(root)
    before = files.read("momentum")
    digest = files.save("momentum", "# größer\n", before.digest)
    assert files.read("momentum") == ("# größer\n", digest) and digest != before.digest
    assert drafts(root / "momentum") == []
    assert files.names() == ["momentum", "zigzag"]


def test_a_line_ends_in_a_newline_alone(root: Path) -> None:
    (root / "momentum" / FILE).write_bytes(b"a\r\nb\rc\n")
    files = StrategyFiles(root)
    text = files.read("momentum")
    assert text.source == "a\nb\nc\n"
    files.save("momentum", text.source, text.digest)
    assert (root / "momentum" / FILE).read_bytes() == b"a\nb\nc\n"


def test_a_file_keeps_its_mode(root: Path) -> None:
    files = StrategyFiles(root)
    (root / "momentum" / FILE).chmod(0o640)
    files.save("momentum", "#", files.read("momentum").digest)
    assert (root / "momentum" / FILE).stat().st_mode & 0o777 == 0o640


def test_a_file_that_changed_meanwhile_is_not_overwritten(root: Path) -> None:
    files = StrategyFiles(root)
    digest = files.read("momentum").digest
    (root / "momentum" / FILE).write_text("# by another editor\n")
    with pytest.raises(Changed, match="meanwhile"):
        files.save("momentum", "# mine\n", digest)
    assert files.read("momentum").source == "# by another editor\n"


@pytest.mark.parametrize("name", HOSTILE)
def test_no_hostile_name_reads_writes_or_makes_anything(root: Path, name: str) -> None:
    files, before = StrategyFiles(root), everything(root.parent)
    for work in (
        lambda: files.read(name),
        lambda: files.save(name, "# evil\n", files.read("momentum").digest),
        lambda: files.create(name),
    ):
        with pytest.raises(Refused):
            work()
    assert everything(root.parent) == before


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from(["..", ".", "/", "outside", "momentum", FILE, "\0"])).map("".join)
)
def test_no_name_at_all_leads_out_of_the_folder(name: str) -> None:
    files = StrategyFiles(Path(__file__).parents[2] / "strategies" / "momentum")  # of which ../ has files
    with pytest.raises(Refused):
        files.read(name)


def test_links_are_not_followed(root: Path) -> None:
    files, outside = StrategyFiles(root), root.parent / "outside"
    (root / "linked").symlink_to(outside)
    (root / "half").mkdir()
    (root / "half" / FILE).symlink_to(outside / FILE)
    digest = StrategyFiles(root.parent).read("outside").digest
    for name in ("linked", "half"):
        with pytest.raises(Refused):
            files.read(name)
        with pytest.raises(Refused):
            files.save(name, "# evil\n", digest)
    assert (outside / FILE).read_text() == "# out of bounds\n"
    assert files.names() == ["momentum", "zigzag"]


def test_what_is_no_text_is_refused(root: Path) -> None:
    files = StrategyFiles(root)
    (root / "momentum" / FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(Refused, match="UTF-8"):
        files.read("momentum")
    (root / "momentum" / FILE).write_bytes(b"#" * (MAX_SOURCE + 1))
    with pytest.raises(Refused, match="KiB"):
        files.read("momentum")
    digest = files.read("zigzag").digest
    for source in ("\ud800", "#" * (MAX_SOURCE + 1)):
        with pytest.raises(Refused):
            files.save("zigzag", source, digest)
    (root / "momentum" / FILE).unlink()
    os.mkfifo(root / "momentum" / FILE)
    with pytest.raises(Refused):
        files.read("momentum")


def test_a_folder_that_cannot_be_written_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    files = StrategyFiles(root)
    digest = files.read("momentum").digest
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Refused, match="No space left"):
        files.save("momentum", "# more\n", digest)
    assert files.read("momentum").digest == digest and drafts(root / "momentum") == []


def test_a_new_strategy_comes_from_the_template_and_is_not_made_twice(root: Path) -> None:
    files = StrategyFiles(root)
    assert "on_tick" in files.read(files.create("fresh")).source
    with pytest.raises(Refused, match="there already"):
        files.create("fresh")


def test_a_configured_file_is_found_by_its_folder(root: Path) -> None:
    files = StrategyFiles(root)
    assert files.name_of(root / "momentum" / FILE) == "momentum"
    assert files.name_of(root / "momentum" / ".." / "zigzag" / FILE) == "zigzag"
    for other in (root.parent / "outside" / FILE, root / "momentum" / "rules.py", root / FILE):
        assert files.name_of(other) is None
