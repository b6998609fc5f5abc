"""Tables of plain text: aligned columns, the same on a terminal, in a pipe and in a file."""

from collections.abc import Iterable, Sequence

from logger import harmless


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines, without a last newline: the first column to the left, the others to the right.

    What would break a line, or a terminal obey, is shown as an escape: names of folders may hold anything.
    """
    cells = [[_one_line(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(row_cells))
        for row_cells in (list(zip(row, widths, strict=True)) for row in cells)
    ]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def _one_line(cell: str) -> str:
    return cell if cell.isprintable() else harmless(cell).replace("\n", "\\n").replace("\t", "\\t")
