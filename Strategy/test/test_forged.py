"""What a strategy may say in its worker's name: it hurts itself alone, whatever it is."""

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from runtime.part import EXIT_OK
from Strategy.messages import (
    Declared,
    Failed,
    FromWorker,
    Leave,
    Left,
    Lines,
    Loaded,
    Locked,
    Lost,
    Message,
    Started,
    Status,
    Traced,
)
from Strategy.test.stage import BUY_ALL, stage

FORGE = """
import os, struct
def forge(*said):
    data = b"".join(struct.pack("=IB", len(one), 0) + one for one in said)
    for fd in range(3, 64):
        try: os.write(fd, data)
        except OSError: pass
"""
FORGED: dict[str, list[Message]] = {
    "locked in twice": [Locked(True, ())],
    "failed twice": [Failed("it"), Failed("x" * 50_000)],
    "started": [Started(5), Declared({"x" * 50_000: [[[[[[[[[1]]]]]]]]]}), Loaded(), Loaded(), Started(6)],
    "counts without end": [Status(ticks=10**4000, counters={"x": 10**4000}), Lines(77, ["x" * 50_000])] * 2,
    "left far away": [Left(1 << 80)],
    "lost before the beginning": [Lost(-5, "it")],
    "a command": [Leave(drain=True)],
}


def test_every_message_of_a_worker_is_forged_here() -> None:
    kinds = {type(message) for forged in FORGED.values() for message in forged}
    assert kinds == {*get_args(FromWorker), Leave} - {Traced}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_forged_message_hurts_its_strategy_alone_until_it_is_mended(
    tmp_path: Path, forged: list[Message]
) -> None:
    said = ", ".join(repr(msgspec.json.encode(message)) for message in forged)
    with stage(tmp_path, f"{FORGE}\ndef on_tick(ctx, tick): forge({said})") as s, s.market() as m:
        s.until_ready()
        m.put(1.0)
        s.save(f"{FORGE}\nprint('at import')\nforge({said})\ndef on_tick(ctx, tick): pass")
        s.until(lambda: "mine: at import" in s.log)
        s.save(BUY_ALL)
        sent = 2.0

        def trades() -> bool:
            nonlocal sent
            m.put(sent)
            sent += 1
            return bool(s.quantities)

        s.until(trades)
        assert s.stop() == EXIT_OK
