"""Many visitors at once use the public endpoints; how long does each of them wait?

The app runs in its own process on loopback. Its visitors are tasks of this process on the same machine, so the times
include both. Every loop ends after a stated number of requests.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from ...machine import record
from .page import started

__all__ = ["LIMITS", "REQUEST_TIMEOUT", "WAVES", "Visitor", "crowd", "endpoints", "percentiles", "training", "wave"]

ASK_POINTS = {"data": "25-gaussians", "denoisers": ["ddgan"], "T": 4, "n": 2000}
ASK_IMAGES = {"data": "mnist", "denoisers": ["ddgan"], "T": 4, "n": 9}
TRAINING = {"data": "25-gaussians", "seconds": 120}
WAVES = {1: 20, 10: 5, 50: 2, 100: 2}  # users at once: requests of each, in sequence
REQUESTS, SESSIONS, STORM = 5_000, 1_000, 20
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=2)  # the server's is 5
API = "/gradio_api"
REQUEST_TIMEOUT = 120.0  # seconds that one request may take


def crowd(share: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Run all measurements, the long day with a share of its requests. Times are in seconds, memory in megabytes."""
    begun = time.perf_counter()
    with started() as (process, address):
        report: dict[str, Any] = {**record(), "cold_start_s": round(time.perf_counter() - begun, 1)}

        def note(name: str, value: Any) -> None:
            report[name] = value
            say(f"{name}: {value}")

        asyncio.run(_measure(address, lambda: _memory(process.pid), share, note))
    return {**report, "wall_s": round(time.perf_counter() - begun, 1)}


async def _measure(address: str, memory: Callable[[], float], share: float, note: Callable[[str, Any], None]) -> None:
    async with httpx.AsyncClient(base_url=address, limits=LIMITS, timeout=REQUEST_TIMEOUT) as client:
        visitors = [Visitor(client, known := await endpoints(client)) for _ in range(max(WAVES))]
        note("first_request_s", round((await visitors[0].ask("denoise", ASK_POINTS))[0], 2))
        await wave(visitors, 1, {**ASK_POINTS, "n": 1})  # as if each had opened the page: the server knows the session
        for users, times in WAVES.items():
            note(f"points_{users}", await wave(visitors[:users], times, ASK_POINTS))
        async with training(Visitor(client, known)):
            for users, times in WAVES.items():
                note(f"points_{users}_while_training", await wave(visitors[:users], times, ASK_POINTS))
        for users in (1, 10):
            note(f"images_{users}", await wave(visitors[:users], 3, ASK_IMAGES))
        note("slot_free_after_s", await _abandoned(Visitor(client, known)))
        note("storm", await _storm(visitors))
        note("orphans", await _orphans(visitors, memory))
        note("day", await _day(address, known, memory, share))


class Visitor:
    """A session like one of the page or of gradio_client. `known` holds the endpoints: see `endpoints`."""

    def __init__(self, client: httpx.AsyncClient, known: dict[str, tuple[int, dict[str, Any]]]) -> None:
        self.client, self.known, self.session = client, known, secrets.token_hex(6)

    async def post(self, endpoint: str, values: dict[str, Any]) -> httpx.Response:
        """Send a request and do not wait for its answer."""
        index, defaults = self.known[endpoint]
        body = {"session_hash": self.session, "fn_index": index, "data": list({**defaults, **values}.values())}
        return await self.client.post(f"{API}/queue/join", json=body)

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the messages of the server to this session."""
        async with self.client.stream("GET", f"{API}/queue/data", params={"session_hash": self.session}) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])

    async def ask(self, endpoint: str, values: dict[str, Any]) -> tuple[float, str]:
        """Make one request: (seconds, outcome). The outcome is ok, error, or the status of the refusal."""
        begun = time.perf_counter()
        try:
            asked = await self.post(endpoint, values)
            if asked.status_code != 200:
                return time.perf_counter() - begun, str(asked.status_code)
            outcome = await asyncio.wait_for(self._outcome(), REQUEST_TIMEOUT)
        except (httpx.HTTPError, asyncio.TimeoutError) as error:
            outcome = type(error).__name__
        return time.perf_counter() - begun, outcome

    async def _outcome(self) -> str:
        """Read to the end of the stream. Leaving it earlier would cancel this session's next request."""
        outcome = "lost"
        async for message in self.messages():
            if message["msg"] == "process_completed":
                outcome = "ok" if message["success"] else "error"
        return outcome


async def endpoints(client: httpx.AsyncClient) -> dict[str, tuple[int, dict[str, Any]]]:
    """List all public endpoints: {name: (number of the function, its parameters with their defaults)}."""
    numbers = {
        function["api_name"]: function["id"] for function in (await client.get("/config")).json()["dependencies"]
    }
    info = (await client.get(f"{API}/info")).json()["named_endpoints"]
    return {
        name[1:]: (numbers[name[1:]], {p["parameter_name"]: p["parameter_default"] for p in endpoint["parameters"]})
        for name, endpoint in info.items()
    }


async def wave(visitors: list[Visitor], times: int, values: dict[str, Any]) -> dict[str, Any]:
    """Measure percentiles of the wait. Each visitor asks again as soon as an answer has arrived."""

    async def asks(i: int, visitor: Visitor) -> list[tuple[float, str]]:
        return [await visitor.ask("denoise", {**values, "seed": 1000 * i + k}) for k in range(times)]

    answers = sum(await asyncio.gather(*(asks(*numbered) for numbered in enumerate(visitors))), [])
    return {**percentiles([seconds for seconds, _ in answers]), **_outcomes(answers)}


def percentiles(seconds: list[float]) -> dict[str, float]:
    """p50, p95 and p99."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {f"p{p}": round(cuts[p - 1], 3) for p in (50, 95, 99)}


def _outcomes(answers: list[tuple[float, str]]) -> dict[str, Any]:
    return {"requests": len(answers), "errors": dict(Counter(outcome for _, outcome in answers if outcome != "ok"))}


@asynccontextmanager
async def training(visitor: Visitor) -> AsyncIterator[None]:
    """Let a visitor train and watch inside the block."""

    async def watch() -> None:
        async for _ in visitor.messages():
            pass

    await visitor.post("train", TRAINING)
    watching = asyncio.create_task(watch())
    await _until(lambda: _health(visitor.client, "training"))
    try:
        yield
    finally:
        watching.cancel()


async def _abandoned(visitor: Visitor) -> float:
    """Measure the seconds from the moment a training visitor leaves to the end of the training."""
    async with training(visitor):
        pass
    begun = time.perf_counter()
    await _until(lambda: _health(visitor.client, "training", wanted=False))
    return round(time.perf_counter() - begun, 2)


async def _storm(visitors: list[Visitor]) -> dict[str, Any]:
    """STORM visitors train at once for a second each: report their outcomes, and the wait of another who samples."""
    training, other = visitors[:STORM], visitors[STORM]
    asked = [asyncio.create_task(v.ask("train", {**TRAINING, "seconds": 1, "seed": i})) for i, v in enumerate(training)]
    sampling = await wave([other], 20, ASK_POINTS)
    answers = await asyncio.gather(*asked)
    return {**_outcomes(answers), "longest_s": round(max(answers)[0], 1), "sampling": sampling}


async def _orphans(visitors: list[Visitor], memory: Callable[[], float]) -> list[float]:
    """Measure the megabytes kept after STORM jobs that nobody reads, five times in a row."""
    kept, before = [], memory()
    for _ in range(5):
        await asyncio.gather(
            *(visitor.post("denoise", {**ASK_POINTS, "n": 5000, "T": 8}) for visitor in visitors[:STORM])
        )
        await _until(lambda: _health(visitors[0].client, "waiting", wanted=False))
        await asyncio.sleep(12)  # longer than an unread answer is kept
        kept.append(round(memory() - before, 1))
    return kept


async def _day(address: str, known: dict[str, Any], memory: Callable[[], float], share: float) -> dict[str, Any]:
    """Measure the growth of memory over a share of REQUESTS in SESSIONS, after a tenth of them warmed the server up."""

    async def session(i: int) -> None:
        async with httpx.AsyncClient(base_url=address, timeout=REQUEST_TIMEOUT) as client:
            visitor = Visitor(client, known)
            for k in range(REQUESTS // SESSIONS):
                await visitor.ask("denoise", {**ASK_POINTS, "n": 500, "T": 2, "seed": 10 * i + k})

    async def some(numbers: range) -> None:
        for first in numbers[::4]:
            await asyncio.gather(*(session(i) for i in range(first, min(first + 4, numbers.stop))))

    sessions = max(8, round(share * SESSIONS))
    await some(range(max(200, sessions // 10) if share == 1 else 4))  # the server keeps the state of 200
    before, begun = memory(), time.perf_counter()
    await some(range(sessions))
    seconds = round(time.perf_counter() - begun, 1)
    return {
        "sessions": sessions,
        "requests": sessions * REQUESTS // SESSIONS,
        "seconds": seconds,
        "growth_MB": round(memory() - before, 1),
    }


async def _health(client: httpx.AsyncClient, what: str, *, wanted: bool = True) -> bool:
    return bool((await client.get("/health")).json()[what]) == wanted


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    """Ask twenty times a second until it is true. TimeoutError after REQUEST_TIMEOUT."""

    async def wait() -> None:
        while not await true():
            await asyncio.sleep(0.05)

    await asyncio.wait_for(wait(), REQUEST_TIMEOUT)


def _memory(pid: int) -> float:
    """Return the resident megabytes of a process."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1000
