"""Where the parts meet: a key of who comes, and the key of whom it looks for."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from configuration.sections import Config


class Meeting(NamedTuple):
    """`section`.`key` is where a part looks for another, `other`.`known` where that one is.

    `host` is the key of `section` that goes with a port; `other` has a `host`, then.
    """

    section: str
    key: str
    other: str
    known: str
    host: str = ""


MEETINGS: Final = (
    Meeting("OrderBook", "md_port", "Gateway", "md_port", "host"),
    Meeting("OrderBook", "news_port", "Gateway", "news_port", "host"),
    Meeting("Strategy", "shared_memory_name", "OrderBook", "shared_memory_name"),
    Meeting("Strategy", "order_manager_port", "OrderManager", "port", "order_manager_host"),
    Meeting("OrderManager", "shared_memory_name", "OrderBook", "shared_memory_name"),
)


def with_meetings(config: Config, tree: Mapping[str, Any]) -> Config:
    """What `tree`, which `config` was made of, does not say of a meeting is as the other part has it."""
    for section, key, other, known, _ in MEETINGS:
        if key not in tree.get(section, ()):
            same = {key: getattr(getattr(config, other), known)}
            changed = msgspec.structs.replace(getattr(config, section), **same)
            config = msgspec.structs.replace(config, **{section: changed})
    return config


def missed_meetings(config: Config) -> Iterator[str]:
    """Which parts would look for each other for ever, if all of them had this configuration.

    A port on another host is not compared: who says so means something that stands between the two.
    """
    for section, key, other, known, host in MEETINGS:
        comer, owner = getattr(config, section), getattr(config, other)
        looked_for, there = getattr(comer, key), getattr(owner, known)
        if looked_for != there and (not host or getattr(comer, host) == owner.host):
            yield (
                f"{section}.{key} ({looked_for}) must be {other}.{known} ({there}): "
                f"{section} and {other} would never meet"
            )
