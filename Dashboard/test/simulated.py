"""A page without a browser: its elements and handlers as the server has them, visited by a simulated user.

visit(lambda: Editor(desk, may_save=True, first="one"), work)  # work: what the user does and sees
"""

import asyncio
from collections.abc import Awaitable, Callable

from nicegui.testing import User, user_simulation

from testing.harness import PATIENCE_S


def visit(page: Callable[[], object], work: Callable[[User], Awaitable[None]]) -> None:
    """Open a page that consists of what `page` makes, and do something there."""

    def root() -> None:
        page()

    async def main() -> None:
        async with user_simulation(root) as user:
            await user.open("/")
            await work(user)

    asyncio.run(main())


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds, while everything else has its turn."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)
