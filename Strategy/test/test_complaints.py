"""A strategy that fails at every tick is heard, and does not drown the others."""

from Strategy.complaints import AT_ONCE, EVERY_S, Complaints


class Heard:
    """Complaints on a clock of ours, and what came of them."""

    def __init__(self) -> None:
        self.now = 100.0
        self.lines: list[str] = []
        self.complaints = Complaints(self.lines.append, lambda: self.now)

    def fail(self, *numbers: int) -> None:
        for number in numbers:
            self.complaints.add(f"at record {number}")


def test_the_first_few_are_said_at_once() -> None:
    heard = Heard()
    heard.fail(*range(20))
    assert heard.lines == [f"at record {number}" for number in range(AT_ONCE)]


def test_then_one_line_a_second_says_the_last_and_how_many() -> None:
    heard = Heard()
    heard.fail(*range(20))
    heard.lines.clear()
    for second in range(1, 4):
        heard.now = 100 + second * EVERY_S * 1.01
        heard.complaints.tend(1000 * second)
        heard.fail(second * 1000, second * 1000 + 1)
        heard.complaints.tend(1000 * second)
    assert heard.lines == [
        "at record 19 (1,000 so far)",
        "at record 1001 (2,000 so far)",
        "at record 2001 (3,000 so far)",
    ]
    heard.complaints.flush(4000)
    heard.complaints.flush(4000)
    assert heard.lines[3:] == ["at record 3001 (4,000 so far)"]


def test_after_a_quiet_second_it_begins_again() -> None:
    heard = Heard()
    heard.fail(*range(AT_ONCE))
    heard.now += EVERY_S * 1.01
    heard.complaints.tend(AT_ONCE)
    heard.lines.clear()
    heard.fail(*range(AT_ONCE))
    assert len(heard.lines) == AT_ONCE
