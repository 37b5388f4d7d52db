"""How a gateway is stopped: SIGTERM lets the calls under way end first, SIGINT or a second SIGTERM cuts them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


class Stop:
    """The wish to stop. `asked`: admit nobody more; `at_once`: wait for nobody either."""

    def __init__(self) -> None:
        self.asked, self.at_once = asyncio.Event(), asyncio.Event()

    def listen(self) -> None:
        """Hear the signals from now on."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._gently)
        loop.add_signal_handler(signal.SIGINT, self._now)

    async def while_patient(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this work, or leave it where nobody shall be waited for any more. Raises what it raises."""
        working, hurried = asyncio.ensure_future(work), asyncio.ensure_future(self.at_once.wait())
        await asyncio.wait({working, hurried}, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if working.done():
            working.result()
        working.cancel()

    def _gently(self) -> None:
        (self.at_once if self.asked.is_set() else self.asked).set()

    def _now(self) -> None:
        self.asked.set()
        self.at_once.set()
