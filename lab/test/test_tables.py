"""Tables of plain text."""

from lab.tables import text_table


def test_columns_are_aligned_the_first_to_the_left_and_the_others_to_the_right() -> None:
    assert text_table(("run", "fills"), [("a", "1,000"), ("longer", "7")]).splitlines() == [
        "run     fills",
        "──────  ─────",
        "a       1,000",
        "longer      7",
    ]


def test_a_cell_is_one_line_that_no_terminal_obeys() -> None:
    table = text_table(("run", "fills"), [("two\nlines\tand \x1b[2J", "0")])
    assert table.splitlines()[2:] == [r"two\nlines\tand \x1b[2J      0"]
