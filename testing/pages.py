"""The pages of the documentation, as their tests read them."""

import re
from pathlib import Path
from typing import Final, NamedTuple

from testing.harness import ROOT

PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


class Block(NamedTuple):
    """A fenced block; `line` is that of its fence, `argument` what follows the marker's colon."""

    page: Path
    line: int
    language: str
    code: str
    marker: str
    argument: str

    @property
    def where(self) -> str:
        """For a person."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def options(self) -> list[str]:
        """Of a `test` marker."""
        return [text.strip() for text in self.argument.split(";")] if self.marker == "test" else []

    @property
    def until(self) -> str | None:
        """The text after which to press Ctrl-C."""
        return next((text.removeprefix("until ") for text in self.options if text.startswith("until ")), None)

    @property
    def runs(self) -> bool:
        """Whether it is a program to run here."""
        return self.language in ("python", "sh") and self.marker in ("", "test")


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    pattern = re.compile(
        r"^(?:<!-- *(?P<marker>[a-z -]+?) *(?:: *(?P<argument>.*?))? *-->\n)?"
        r"```(?P<language>\S*)\n(?P<code>.*?)^```$",
        re.MULTILINE | re.DOTALL,
    )
    text = page.read_text()
    return [
        Block(
            page,
            text.count("\n", 0, found.start("language")) + 1,
            found["language"],
            found["code"],
            found["marker"] or "",
            found["argument"] or "",
        )
        for found in pattern.finditer(text)
    ]


def prose_of(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def inline_code(page: Path) -> set[str]:
    """What stands in backticks on a page."""
    return set(re.findall(r"`([^`\n]+)`", prose_of(page)))


def rows_of(page: Path, after: str = "") -> list[list[str]]:
    """The rows of the first table after a text, without its heading."""
    text = page.read_text().partition(after)[2] if after else page.read_text()
    table = re.search(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert table is not None, f"{page.name}: no table after {after!r}"
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in table[0].splitlines()[2:]]


ALL_BLOCKS: Final = [block for page in PAGES for block in blocks_of(page)]
