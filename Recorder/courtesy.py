"""In nobody's way, unless nothing at all is left for us there."""

import time
from collections.abc import Callable
from typing import Final

from runtime.scheduling import in_nobodys_way, like_everybody, waited_for_processor

WINDOW_S: Final = 1.0  # looked at as a whole, at least
STARVED: Final = 0.75  # of it without a processor, though there was work
HOPELESS: Final = (
    "other programs leave the Recorder next to no processor, and this system does not let it out of the idle "
    "class: records may be missed"
)


class Courtesy:
    """Where the Recorder stands among who waits for a processor.

    Beside programs that are always busy the idle class has a three-hundredth of a processor. So whoever is
    starved there leaves it until it has caught up, where the system permits that.
    """

    def __init__(
        self, warn: Callable[[str], None], waited: Callable[[], float] = waited_for_processor
    ) -> None:
        self.starved = 0  # times
        self._warn, self._waited_for = warn, waited
        self._hurries = self._warned = False
        self._begin_window()

    def give_way(self) -> None:
        """From now on others go first."""
        self._hurries = False
        in_nobodys_way()
        self._begin_window()

    def _begin_window(self) -> None:
        self._since, self._waited = time.monotonic(), self._waited_for()

    def look(self, *, caught_up: bool) -> None:
        """To be called in every round."""
        window = time.monotonic() - self._since
        if self._hurries:
            if caught_up:
                self.give_way()
        elif window >= WINDOW_S:
            if not caught_up and self._waited_for() - self._waited > STARVED * window:
                self._leave()
            self._begin_window()

    def _leave(self) -> None:
        self.starved += 1
        self._hurries = like_everybody()
        if not self._hurries and not self._warned:
            self._warned = True
            self._warn(HOPELESS)
