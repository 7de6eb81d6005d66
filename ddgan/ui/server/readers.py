"""Who reads the results of which session, and what becomes of results that nobody reads.

A job is stopped when its reader has been gone for READER_PATIENCE seconds, has not come within ABSENCE seconds,
or is BACKLOG results behind. What it left is dropped.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from ...machine import give_memory_back
from .gradio_internals import abandoned_jobs, end_jobs, failed, forget_session, jobs_of, sessions, unread
from .jobs import drop, log
from .page import Page

__all__ = ["ABSENCE", "BACKLOG", "READER_PATIENCE", "Readers"]

READER_PATIENCE = 2.0  # seconds that results wait for a reader who has left
# seconds that they wait for one who is still to come: a slow phone that opens the page asks for results 2 s after
# it has asked for the jobs, and ten where it draws large figures or the server is busy
ABSENCE = 20.0
BACKLOG = 50  # results that a slow reader may be behind


class Readers:
    """Who reads the results of which session, and what becomes of those that nobody reads."""

    def __init__(self, demo: Page) -> None:
        self.demo = demo
        self._open: Counter[str] = Counter()
        self._last: dict[str, float] = {}
        self._gone: set[str] = set()  # those that have read, and asked for nothing since

    def asked(self, session: str) -> None:
        """The session has a new job, and some time to begin reading."""
        self._last[session] = time.monotonic()
        self._gone.discard(session)

    @contextmanager
    def reading(self, session: str | None) -> Iterator[None]:
        """The results of the session are read inside."""
        if session is None:
            yield
            return
        self._open[session] += 1
        try:
            yield
        finally:
            self._open[session] -= 1
            self._last[session] = time.monotonic()
            if not self._open[session]:
                del self._open[session]
                self._gone.add(session)
                # of a reader who left midway, Gradio stops sending the results but lets the jobs run
                drop(abandoned_jobs(self.demo, session))

    @asynccontextmanager
    async def watched(self, _: Any) -> AsyncIterator[None]:
        """As long as the server runs: look after the sessions, four times a READER_PATIENCE."""

        async def watch() -> None:
            while True:
                await asyncio.sleep(READER_PATIENCE / 4)
                try:
                    if await self.tidy():
                        await asyncio.to_thread(give_memory_back)
                except Exception:
                    log.exception("the sessions could not be looked after")

        task = asyncio.create_task(watch())
        yield
        task.cancel()

    async def tidy(self) -> bool:
        """Stop the jobs that nobody reads and drop their results, if there are any; tell a reader who is far behind."""
        now, dropped = time.monotonic(), False
        for session in sessions(self.demo):
            messages, jobs = unread(self.demo, session), jobs_of(self.demo, session)
            patience = READER_PATIENCE if session in self._gone else ABSENCE
            if self._open[session] and messages is not None and messages.qsize() > BACKLOG:
                dropped = True
                log.info("a reader is %d results behind: its jobs are stopped", messages.qsize())
                await self._stop(jobs, messages)
                for job in jobs:
                    messages.put_nowait(failed(job, "Your connection was too slow for this: please start it again."))
            elif not self._open[session] and now - self._last.setdefault(session, now) > patience:
                dropped |= messages is not None and not messages.empty()
                # before anything is awaited: what the session asks for meanwhile stays
                forget_session(self.demo, session)
                await self._stop(jobs, messages)
        for session in [s for s, since in self._last.items() if not self._open[s] and now - since > ABSENCE]:
            del self._last[session]
            self._gone.discard(session)
            for left in self.demo.left:
                left(session)
        return dropped

    async def _stop(self, jobs: Iterable[str], messages: asyncio.Queue | None) -> None:
        """End jobs and drop what they left unread: at once, whoever still holds it."""
        while messages is not None and not messages.empty():
            messages.get_nowait()
        drop(jobs)
        await end_jobs(self.demo, jobs)
