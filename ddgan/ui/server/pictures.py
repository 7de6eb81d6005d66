"""Pictures of points as resources: GET gradio_api/pictures/VERSION/KIND?QUERY, binary, kept here and by every browser.

The version is that of the code and the weights: under it an answer never changes. Two threads compute. A request for an
answer that is being computed waits for it. An answer that nobody waits for is not computed. A query that is too long
for an address comes as POST, {"query": ...}.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import metadata
from pathlib import Path

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from ...errors import Cancelled, Refused
from ...explorer.kept import Kept
from ...explorer.session import Session
from ...views.answers import sentence
from ...views.encoding import packed
from ...views.pictures import KINDS, private, request_in
from ...views.recorded import RUN
from .jobs import job, log, while_wanted_by

__all__ = ["AT_ONCE", "KEPT", "MAX_OF_ONE", "MAX_WAITING", "PATH", "Pictures", "version"]

AT_ONCE = 2  # threads that compute
KEPT = 64 * 2**20  # bytes of answers that are kept
MAX_WAITING = 400  # pictures that wait, of all visitors: some ten seconds of work
MAX_OF_ONE = 20  # pictures of one visitor that wait or are computed
NOW, AFTER, IDLE = range(3)  # who goes first
PATH = r"pictures/[\w.]{1,40}/[a-z]{1,20}"
VISITOR = re.compile(r"[\w-]{1,64}")
FOREVER = "public, max-age=31536000, immutable"
_ROOT = Path(__file__).parents[3]


@cache
def version() -> str:
    """A digest of what an answer depends on besides its query: the code, the weights, the recorded run, libraries."""
    digest = hashlib.sha256(" ".join(map(metadata.version, ("torch", "numpy", "plotly"))).encode())
    for path in sorted([*_ROOT.glob("ddgan/**/*.py"), *_ROOT.glob("weights/*/card.json"), RUN]):
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:12]


Key = tuple[str, Hashable]  # the name of a kind, and what is asked for


class _Flight:
    """An answer that is waited for: by how many, whether it is being computed, and in the end what it is."""

    def __init__(self, key: Key, rank: int) -> None:
        self.key, self.rank = key, rank
        self.waiting, self.begun = 0, False
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()


class Pictures:
    """The answers to GET: see the top of the file."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.kept: Kept[bytes] = Kept(KEPT)
        self.of_one: Counter[str] = Counter()
        self.running = 0
        self._flights: dict[Key, _Flight] = {}  # in the order of their coming
        self._pool = ThreadPoolExecutor(AT_ONCE, "pictures")

    @property
    def waiting(self) -> int:
        """How many pictures wait for their turn."""
        return len(self._waiting())

    def _waiting(self) -> list[_Flight]:
        return [flight for flight in self._flights.values() if not flight.begun]

    async def answer(self, http: HttpRequest) -> Response:
        """The answer to a request of the page: 200, 304, 4xx with one sentence, 429 with the seconds to wait."""
        name = http.path_params["kind"]
        if (kind := KINDS.get(name)) is None:
            return _refused(f"There is no picture called {name}; there are {', '.join(KINDS)}.", 404)
        query = http.url.query
        if http.method == "POST" and not isinstance(query := (await http.json()).get("query"), str):
            return _refused("The body must have a query, a text.", 400)
        try:
            asked = kind.parse(query)
        except Refused as error:
            log.info("%s: -: 0.00 s, refused", name)
            return _refused(error, 400)
        key = (name, asked)
        current, own = http.path_params["version"] == version(), private(asked)
        keep = {"Cache-Control": FOREVER if current and not own else "no-store"}
        if not own:
            keep["ETag"] = f'"{hashlib.sha256(repr((version(), key)).encode()).hexdigest()[:24]}"'
            if keep["ETag"] in http.headers.get("if-none-match", ""):
                return Response(status_code=304, headers=keep)
        found = None if own else self.kept.get(key)
        if found is None:
            rank = IDLE if "x-idle" in http.headers else AFTER if kind.after else NOW
            if refusal := self._full(_visitor(http), rank):
                return refusal
            try:
                found = await self._computed(http, key, rank)
            except Refused as error:
                return _refused(error, 400)
            if found is None:  # the visitor left
                return Response(status_code=499)
            if not own:
                self.kept.put(key, found)
        return Response(found, media_type="application/octet-stream", headers=keep)

    def _full(self, visitor: str, rank: int) -> Response | None:
        """What is said where too many wait already: 204 for a picture that is for later."""
        if rank == IDLE and self._flights:
            return Response(status_code=204, headers={"Cache-Control": "no-store"})
        if self.waiting >= MAX_WAITING:
            return _refused(f"{MAX_WAITING} pictures wait here already: please try again in a moment.", 429)
        if self.of_one[visitor] >= MAX_OF_ONE:
            return _refused(f"You wait for {MAX_OF_ONE} pictures here already: please let one end.", 429)
        return None

    async def _computed(self, http: HttpRequest, key: Key, rank: int) -> bytes | None:
        """The answer once it is computed, for whoever waits; None where the visitor leaves before."""
        visitor, left = _visitor(http), asyncio.ensure_future(_left(http))
        self.of_one[visitor] += 1
        try:
            while True:
                flight = self._join(key, rank)
                try:
                    await asyncio.wait({flight.done, left}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    flight.waiting -= 1
                    if not flight.waiting and not flight.begun:
                        self._flights.pop(key, None)
                if not flight.done.done():
                    return None
                try:
                    return flight.done.result()
                except Cancelled:  # all others had left: it begins anew
                    continue
        finally:
            left.cancel()
            self.of_one[visitor] -= 1
            if not self.of_one[visitor]:
                del self.of_one[visitor]

    def _join(self, key: Key, rank: int) -> _Flight:
        flight = self._flights.setdefault(key, _Flight(key, rank))
        flight.rank = min(flight.rank, rank)
        flight.waiting += 1
        asyncio.get_running_loop().call_soon(self._start)
        return flight

    def _start(self) -> None:
        """Compute what waits, as long as a thread is free."""
        while self.running < AT_ONCE and (waiting := self._waiting()):
            flight = min(waiting, key=lambda flight: flight.rank)  # of one rank the first
            flight.begun = True
            self.running += 1
            asyncio.ensure_future(self._run(flight))

    async def _run(self, flight: _Flight) -> None:
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._pool, self._show, flight)
            flight.done.set_result(found)
        except Exception as error:
            flight.done.set_exception(error)
            flight.done.exception()  # whoever waited may have left: it was told to the log
        finally:
            self.running -= 1
            self._flights.pop(flight.key, None)
            self._start()

    def _show(self, flight: _Flight) -> bytes:
        name, asked = flight.key
        with while_wanted_by(lambda: flight.waiting > 0), job(name, request_in(asked) or str(asked)):
            return packed(KINDS[name].show(self.session, asked))


async def _left(http: HttpRequest) -> None:
    """Until the visitor has left."""
    while (await http.receive())["type"] != "http.disconnect":
        pass


def _visitor(http: HttpRequest) -> str:
    """Who asks, as far as they say: the page gives itself a name. All others at an address are one."""
    said = http.headers.get("x-visitor", "")
    return said if VISITOR.fullmatch(said) else f"at {http.client.host if http.client else ''}"


def _refused(why: str | Refused, status: int) -> Response:
    """A sentence; of a refusal also its bare words, for whoever puts them in a sentence of their own."""
    headers = {"Cache-Control": "no-store", **({"Retry-After": "1"} if status == 429 else {})}
    said = {"detail": sentence(why), "words": str(why)} if isinstance(why, Refused) else {"detail": why}
    return JSONResponse(said, status, headers)
