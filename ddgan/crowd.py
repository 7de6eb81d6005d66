"""Many visitors at once, through the public endpoints, and how long each of them waits.

The app runs in a process of its own on loopback; its visitors are tasks of this one, on the same machine, so what is
measured holds both. Every loop ends after a stated number of requests.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from .bench import started
from .machine import record

__all__ = ["crowd"]

POINTS = {"data": "25-gaussians", "denoisers": ["ddgan"], "T": 4, "n": 2000}
IMAGES = {"data": "mnist", "denoisers": ["ddgan"], "T": 4, "n": 9}
TRAINING = {"data": "25-gaussians", "seconds": 120}
WAVES = {1: 20, 10: 5, 50: 2, 100: 2}  # users at once -> requests of each, one after the other
REQUESTS, SESSIONS, STORM = 5_000, 1_000, 20
API = "/gradio_api/call"
PATIENCE = 120.0  # seconds that one request may take


def crowd(share: float, say: Callable[[str], None]) -> dict[str, Any]:
    """All measurements, the long day with a share of its requests. Times are seconds, memory megabytes."""
    begun = time.perf_counter()
    with started() as (process, address):
        report: dict[str, Any] = {**record(), "cold_start_s": round(time.perf_counter() - begun, 1)}

        def note(name: str, value: Any) -> None:
            report[name] = value
            say(f"{name}: {value}")

        asyncio.run(_measure(address, lambda: _memory(process.pid), share, note))
    return {**report, "wall_s": round(time.perf_counter() - begun, 1)}


async def _measure(address: str, memory: Callable[[], float], share: float, note: Callable[[str, Any], None]) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=PATIENCE) as client:
        note("first_request_s", round((await _ask(client, "denoise", POINTS))[0], 2))
        for users, times in WAVES.items():
            note(f"points_{users}", await _wave(client, users, times, POINTS))
        async with _training(client):
            for users, times in WAVES.items():
                note(f"points_{users}_while_training", await _wave(client, users, times, POINTS))
        for users in (1, 10):
            note(f"images_{users}", await _wave(client, users, 3, IMAGES))
        note("slot_free_after_s", await _abandoned(client))
        note("storm", await _storm(client))
        note("orphans", await _orphans(client, memory))
        note("day", await _day(address, client, memory, share))


async def _ask(client: httpx.AsyncClient, endpoint: str, values: dict[str, Any]) -> tuple[float, str]:
    """(seconds, outcome) of one request: ok, or the status or event that it ended with."""
    begun = time.perf_counter()
    try:
        asked = await client.post(f"{API}/v2/{endpoint}", json=values)
        if asked.status_code != 200:
            return time.perf_counter() - begun, str(asked.status_code)
        text = (await client.get(f"{API}/{endpoint}/{asked.json()['event_id']}")).text
    except httpx.HTTPError as error:
        return time.perf_counter() - begun, type(error).__name__
    return time.perf_counter() - begun, "ok" if "event: complete" in text else "error"


async def _wave(client: httpx.AsyncClient, users: int, times: int, values: dict[str, Any]) -> dict[str, Any]:
    """Percentiles of the wait of so many users, each of whom asks again as soon as there is an answer."""

    async def user(i: int) -> list[tuple[float, str]]:
        return [await _ask(client, "denoise", {**values, "seed": 1000 * i + k}) for k in range(times)]

    answers = sum(await asyncio.gather(*(user(i) for i in range(users))), [])
    return {**_percentiles([seconds for seconds, _ in answers]), **_outcomes(answers)}


def _percentiles(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {f"p{p}": round(cuts[p - 1], 3) for p in (50, 95, 99)}


def _outcomes(answers: list[tuple[float, str]]) -> dict[str, Any]:
    return {"requests": len(answers), "errors": dict(Counter(outcome for _, outcome in answers if outcome != "ok"))}


@asynccontextmanager
async def _training(client: httpx.AsyncClient) -> AsyncIterator[None]:
    """Inside, somebody trains and watches."""
    asked = await client.post(f"{API}/v2/train", json=TRAINING)
    async with client.stream("GET", f"{API}/train/{asked.json()['event_id']}") as stream:

        async def read() -> None:
            async for _ in stream.aiter_lines():
                pass

        watching = asyncio.create_task(read())
        await _until(lambda: _health(client, "training"))
        try:
            yield
        finally:
            watching.cancel()


async def _abandoned(client: httpx.AsyncClient) -> float:
    """Seconds from the leaving of somebody who trains to the end of the training."""
    async with _training(client):
        pass
    begun = time.perf_counter()
    await _until(lambda: _health(client, "training", wanted=False))
    return round(time.perf_counter() - begun, 2)


async def _storm(client: httpx.AsyncClient) -> dict[str, Any]:
    """So many train at once, for a second each: how they fared, and what somebody who samples waits meanwhile."""
    trainings = [asyncio.create_task(_ask(client, "train", {**TRAINING, "seconds": 1, "seed": i})) for i in range(STORM)]
    sampling = await _wave(client, 1, 20, POINTS)
    answers = await asyncio.gather(*trainings)
    return {**_outcomes(answers), "longest_s": round(max(answers)[0], 1), "sampling": sampling}


async def _orphans(client: httpx.AsyncClient, memory: Callable[[], float]) -> dict[str, float]:
    """Megabytes kept after so many jobs that nobody reads, then after as many more."""
    kept, before = [], memory()
    for _ in range(2):
        await asyncio.gather(*(client.post(f"{API}/v2/denoise", json={**POINTS, "n": 5000, "T": 8}) for _ in range(STORM)))
        await _until(lambda: _health(client, "waiting", wanted=False))
        await asyncio.sleep(5)
        kept.append(round(memory() - before, 1))
    return {"first_MB": kept[0], "more_MB": round(kept[1] - kept[0], 1)}


async def _day(address: str, client: httpx.AsyncClient, memory: Callable[[], float], share: float) -> dict[str, Any]:
    """Megabytes that memory grows by in a share of REQUESTS by SESSIONS, after a tenth of them has warmed the server."""

    async def session(i: int) -> None:
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE) as visitor:
            await visitor.get("/")
            for k in range(REQUESTS // SESSIONS):
                await _ask(visitor, "denoise", {**POINTS, "n": 500, "T": 2, "seed": 10 * i + k})

    async def some(numbers: range) -> None:
        for first in numbers[::4]:
            await asyncio.gather(*(session(i) for i in range(first, min(first + 4, numbers.stop))))

    sessions = max(8, round(share * SESSIONS))
    await some(range(sessions // 10))
    before, begun = memory(), time.perf_counter()
    await some(range(sessions))
    seconds = time.perf_counter() - begun
    return {"sessions": sessions, "requests": sessions * REQUESTS // SESSIONS, "seconds": round(seconds, 1), "growth_MB": round(memory() - before, 1)}


async def _health(client: httpx.AsyncClient, what: str, *, wanted: bool = True) -> bool:
    return bool((await client.get("/health")).json()[what]) == wanted


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    """Ask twenty times a second, PATIENCE at most; TimeoutError after that."""

    async def wait() -> None:
        while not await true():
            await asyncio.sleep(0.05)

    await asyncio.wait_for(wait(), PATIENCE)


def _memory(pid: int) -> float:
    """Resident megabytes of a process."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1000
