"""A source played once or over and over, each pass an epoch.

provider = Passes(NewsProvider(source, seed=42), loop=True)
"""

from Gateway.providers.provider import Batch, Provider, Wrapper, concatenate, empty_batch, mark
from trading_lib.models import Kind


class Passes(Wrapper):
    """Each pass begins with an EPOCH record at the time of its first record.

    At the end of a pass: with `loop` the source is restarted and the next pass begins; without, one END
    record at the time of the last record, and no more. A source without any record gives none.
    """

    def __init__(self, source: Provider, loop: bool) -> None:
        super().__init__(source)
        self._loop = loop
        self._begin()

    def _begin(self) -> None:
        self._in_pass = False
        self._ended = False
        self._last_time = 0

    def restart(self, seed: int | None = None) -> None:
        """See Provider."""
        super().restart(seed)
        self._begin()

    def _more(self, limit: int) -> Batch:
        if self._ended:
            return empty_batch()
        batch = self._source.read(limit)
        if not batch.size and self._in_pass:
            if not self._loop:
                self._ended = True
                return mark(Kind.END, self._last_time)
            self._source.restart()
            self._in_pass = False
            batch = self._source.read(limit)
        if not batch.size:
            self._ended = True
            return batch
        self._last_time = int(batch.times[-1])
        if self._in_pass:
            return batch
        self._in_pass = True
        return concatenate([mark(Kind.EPOCH, int(batch.times[0])), batch])
