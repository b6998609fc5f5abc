"""What an operator has made of the market so far: the actions that bring a Gateway there which begins anew."""

from collections.abc import Iterable, Iterator, Mapping

from shared_memory_utils import TapeWriter
from trading_lib.control import MarketAction, Model, Pause, Reset, Resume, Schedule, Speed
from trading_lib.models import Kind


def done(asked: Mapping[int, MarketAction], tape: TapeWriter) -> Iterator[MarketAction]:
    """Those of a run's actions whose marks are on its tape, or were where the ring has been written over since."""
    marked = {int(value) for value in tape.values_of(Kind.CONTROL)}
    gone = min(marked, default=max(asked, default=0) + 1) if tape.tail > tape.capacity else 0
    for number, action in asked.items():
        if number in marked or number < gone:
            yield action


class Steered:
    """Folds the actions that were done, in their order."""

    def __init__(self, actions: Iterable[MarketAction] = ()) -> None:
        self._schedule: Schedule | None = None
        self._seed: int | None = None
        self._model: dict[str, float] = {}
        self._speed: Speed | None = None
        self._paused = False
        for action in actions:
            self.add(action)

    def add(self, action: MarketAction) -> None:
        """One more was done."""
        match action:
            case Pause() | Resume():
                self._paused = isinstance(action, Pause)
            case Speed():
                self._speed = action
            case Model():
                self._model |= action.changes
            case Reset():  # it begins anew, with the parameters it was made with
                self._seed = self._seed if action.seed is None else action.seed
                self._model = {}
            case Schedule():
                self._schedule = action
                self._model = {}

    def actions(self) -> list[MarketAction]:
        """What a Gateway as configured is to be told; nothing if it is as it should be."""
        found: list[MarketAction | None] = [
            self._schedule,
            None if self._seed is None else Reset(seed=self._seed),
            Model(changes=self._model) if self._model else None,
            self._speed,
            Pause() if self._paused else None,
        ]
        return [action for action in found if action is not None]
