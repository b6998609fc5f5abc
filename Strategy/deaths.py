"""How often a strategy's workers may die before it is left alone."""

import time
from typing import Final

DEATHS: Final = 3  # within …
DEATHS_S: Final = 60.0  # … so many seconds: then it is left alone until its file is saved


class Deaths:
    """Remembers when workers died."""

    def __init__(self) -> None:
        self._times: list[float] = []

    def one_more(self) -> bool:
        """One has died; whether that is too many in a short time."""
        now = time.monotonic()
        self._times = [*(then for then in self._times if now - then < DEATHS_S), now]
        return len(self._times) > DEATHS

    def forget(self) -> None:
        """Begin anew: it is another version, or another market."""
        self._times.clear()
