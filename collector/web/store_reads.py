"""Store reads beside the event loop: a slow database delays the requests that need it, and no others."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from collector.store import Store
from collector.store.errors import StoreUnavailable

T = TypeVar("T")


class StoreReads:
    """Runs reads in a few threads of their own; every wait has a limit, and so has the queue in front of them."""

    def __init__(self, store: Store, threads: int = 8, limit_s: float = 20.0, ping_limit_s: float = 2.0) -> None:
        self._store, self._limit_s, self._ping_limit_s = store, limit_s, ping_limit_s
        self._waiting, self._most_waiting = 0, threads * 8
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="store-read")
        self._ping_thread = ThreadPoolExecutor(1, thread_name_prefix="store-ping")
        self._ping: asyncio.Future[None] | None = None

    async def read(self, work: Callable[[Store], T]) -> T:
        """What `work` reads. Raises StoreUnavailable, also where it takes too long or too many wait."""
        if self._waiting >= self._most_waiting:
            raise StoreUnavailable("too many requests wait for the database", 5)
        self._waiting += 1
        try:
            future = asyncio.get_running_loop().run_in_executor(self._threads, work, self._store)
            return await asyncio.wait_for(future, self._limit_s)
        except TimeoutError as error:
            raise StoreUnavailable(f"the database did not answer within {self._limit_s:g} s", 10) from error
        finally:
            self._waiting -= 1

    async def ping(self) -> None:
        """Raises StoreUnavailable. One ping at a time: while one hangs, the others wait for the same, briefly."""
        if self._ping is None or self._ping.done():
            self._ping = asyncio.get_running_loop().run_in_executor(self._ping_thread, self._store.ping)
        try:
            await asyncio.wait_for(asyncio.shield(self._ping), self._ping_limit_s)
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer within {self._ping_limit_s:g} s") from error

    def close(self) -> None:
        """Waits for nobody."""
        for threads in (self._threads, self._ping_thread):
            threads.shutdown(wait=False, cancel_futures=True)
