"""Which requests reach Gradio, and how large they may be.

`Guard` lets through the requests that the page and its clients send: at most MAX_JSON bytes of JSON, MAX_DEPTH
brackets deep, MAX_UPLOAD bytes of a file, MAX_WAITING jobs in the queue, MAX_OF_ONE of a session and MAX_RUNS
trainings. It answers any other with 4xx, one sentence and a line in the log, before Gradio sees it.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...explorer.live_runs import MAX_RUNS
from . import storage
from .gradio_internals import (
    function_at,
    function_named,
    has_component,
    jobs_of,
    reads_results,
    session_of,
    sessions_waiting,
    upload_folder,
    waiting,
)
from .head import Headed
from .jobs import log
from .page import FAILED, Page
from .pictures import PATH
from .readers import Readers

__all__ = ["AT_ONCE", "MAX_OF_ONE", "MAX_UPLOAD", "MAX_WAITING", "USED", "Guard"]

MAX_JSON = 64 * 2**10  # bytes: a thousand drawn points have 20,000
MAX_DEPTH = 16
MAX_UPLOAD = 8 * 2**20  # bytes of a model or a CSV
MAX_WAITING = 100  # jobs that wait, of all visitors
MAX_OF_ONE = 20  # jobs of one session that wait or run; a page that opens has six
AT_ONCE = 2  # server functions of components that run: they know no queue, but the same limits
STALL = 20.0  # seconds that the next part of a body may take: it holds a place
_API = "/gradio_api"
# what the page and gradio_client send; every other route of Gradio's is closed
USED = {
    "GET": re.compile(
        r"/|/(config|theme\.css|favicon\.ico|robots\.txt|manifest\.json|pwa_icon|health)/?"
        r"|/(static|assets|svelte|pwa_icon)/.+"
        rf"|{_API}/(info|openapi\.json|startup-events|theme\.css|app_id|queue/data|queue/status|upload_progress"
        r"|plotly)/?"
        rf"|{_API}/{PATH}"
        rf"|{_API}/(heartbeat/[^/]+|call(/v2)?/[^/]+/[^/]+|custom_component/.+|file=(?!.*://).+|mcp(/http|/schema)?/?)"
    ),
    "POST": re.compile(
        rf"{_API}/({PATH}|queue/join|call(/v2)?/[^/]+|component_server|cancel|reset|upload|mcp(/http)?)/?"
    ),
}
PAGE = ("/", "/config", f"{_API}/info")
SESSION = re.compile(r"[\w-]{1,64}")
STRINGS, BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.S), re.compile(rb"[\[\]{}]")


class Guard:
    """ASGI middleware: see the top of the file."""

    def __init__(self, app: ASGIApp, demo: Page, readers: Readers, head: str = "") -> None:
        self.app, self.demo, self.readers = app, demo, readers
        self.compressed = GZipMiddleware(Headed(app, head), compresslevel=5)  # Gradio packs only scripts and styles
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._calls: list[str] = []  # of server functions that wait or run, their sessions
        self._coming: list[int] = []  # of uploads that have not ended, the bytes that may still come

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begun, turn = False, AsyncExitStack()

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await turn.aclose()  # an answer is read at the reader's pace
            await send(message)

        try:
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            method = "GET" if scope["method"] == "HEAD" else scope["method"]
            if method not in USED or not USED[method].fullmatch(path):
                raise HTTPException(404, f"This page has no {scope['method']} {path[:60]}.")
            async with AsyncExitStack() as held, turn:  # until the request ends
                if method == "POST":
                    receive = await self._checked(path, dict(scope["headers"]), receive, held, turn)
                else:
                    held.enter_context(self.readers.reading(self._read(path, scope["query_string"].decode("latin-1"))))
                await (self.compressed if path in PAGE else self.app)(scope, receive, sent)
        except HTTPException as error:
            log.info("%s: -: 0.00 s, refused (%d)", _named(scope["method"], path), error.status_code)
            await JSONResponse({"detail": error.detail}, error.status_code)(scope, receive, send)
        except ClientDisconnect:
            log.info("%s: -: 0.00 s, the visitor left", _named(scope["method"], path))
        except Exception as error:
            # Gradio waits for the job to end, and then needs what a second Cancel may have dropped meanwhile
            if isinstance(error, KeyError) and path.startswith(f"{_API}/cancel") and not begun:
                return await JSONResponse({"success": True})(scope, receive, send)
            log.exception("a request failed: %s %s", scope["method"], path.split("=")[0])
            if not begun:
                await JSONResponse({"detail": FAILED}, 500)(scope, receive, send)

    async def _checked(
        self, path: str, headers: dict[bytes, bytes], receive: Receive, held: AsyncExitStack, turn: AsyncExitStack
    ) -> Receive:
        """What stands for `receive` once the body is known to be of a kind and a size that the page sends.

        `held` keeps its place, `turn` that of its work.
        """
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        upload = path.startswith(f"{_API}/upload")
        wanted = b"multipart/form-data" if upload else b"application/json"
        if kind != wanted:
            came = kind.decode("latin-1")[:40] or "nothing"
            raise HTTPException(415, f"The body must be {wanted.decode()}, got {came}.")
        most = MAX_UPLOAD + 2**12 if upload else MAX_JSON
        length = headers.get(b"content-length", b"")
        announced = int(length) if length.isdigit() else most
        limited = _limited(receive, most, announced)
        if upload:
            self._coming.append(announced)
            held.callback(self._coming.remove, announced)
            coming = sum(self._coming)  # before anything is awaited: each upload adds those that began before it
            kept = await asyncio.to_thread(storage.kept_bytes, Path(upload_folder()), sum(self.demo.delete_cache))
            if coming + kept > storage.MAX_SENT:
                most = storage.MAX_SENT // 2**20
                raise HTTPException(429, f"The files of all visitors have {most} MB here: please try again in an hour.")
            return limited
        body = await _body(limited)
        session = self._understand(path, body)
        if path.startswith(f"{_API}/component_server"):
            self._few(len(self._calls), self._calls.count(session))
            self._calls.append(session)
            held.callback(self._calls.remove, session)
            await turn.enter_async_context(self._turns)

        async def again() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            message, body = {"type": "http.request", "body": body, "more_body": False}, None
            return message

        return again

    def _understand(self, path: str, body: bytes) -> str | None:
        """The session that it names; HTTPException where this is no JSON, too deep, or names what the page lacks."""
        brackets = BRACKETS.findall(STRINGS.sub(b"", body))
        if (depth := max(accumulate(1 if b in b"[{" else -1 for b in brackets), default=0)) > MAX_DEPTH:
            raise HTTPException(400, f"The JSON may be nested {MAX_DEPTH} deep, got {depth}.")
        try:
            values = json.loads(body)
        except ValueError:
            raise HTTPException(400, "The body is not JSON.") from None
        if not isinstance(values, dict):
            raise HTTPException(400, "The body must be a JSON object.")
        what = path.removeprefix(f"{_API}/").rstrip("/").split("/")
        named = values.get("session_hash")
        unnamed = named is None and what[0] in ("call", "reset", "mcp", "pictures")
        if not (unnamed or isinstance(named, str) and SESSION.fullmatch(named)):
            raise HTTPException(400, "The session_hash must be letters, digits and dashes, 64 at most.")
        if what[0] == "component_server" and not has_component(self.demo, values.get("component_id")):
            raise HTTPException(404, "The page has no such component.")
        if what[0] == "queue":
            function = function_at(self.demo, values.get("fn_index"))
            if function is None:
                raise HTTPException(404, "The page has no function of this fn_index.")
            self._room(named, function.concurrency_id)
        if what[0] == "call":
            function = function_named(self.demo, what[-1])
            if function is None:
                raise HTTPException(404, "The page has no function of this name.")
            self._arguments(what[-1], function.fn, None if what[1] == "v2" else values.get("data"), values)
            self._room(named, function.concurrency_id)
        return named

    @staticmethod
    def _few(jobs: int, own: int) -> None:
        """HTTPException, and not 503, for which Gradio's page has words of its own, where too many jobs wait."""
        if jobs >= MAX_WAITING:
            raise HTTPException(429, f"{MAX_WAITING} jobs wait here already: please try again in a moment.")
        if own >= MAX_OF_ONE:
            raise HTTPException(429, f"You wait for {MAX_OF_ONE} jobs here already: please let one end.")

    def _room(self, session: str | None, kind: str) -> None:
        """HTTPException where too many jobs, or trainings, wait; the session gets time to read."""
        self._few(waiting(self.demo), len(jobs_of(self.demo, session)))
        # of one visitor those but the last were stopped
        if kind == "train" and len(sessions_waiting(self.demo, kind)) >= MAX_RUNS:
            raise HTTPException(429, f"{MAX_RUNS} trainings wait here already: please try again in some minutes.")
        if session:
            self.readers.asked(session)

    @staticmethod
    def _arguments(name: str, function: Callable[..., Any], data: Any, values: dict[str, Any]) -> None:
        """HTTPException where the endpoint has other parameters: Gradio would fail at them."""
        parameters = inspect.signature(function).parameters
        if isinstance(data, list) and len(data) != len(parameters):
            wanted = f"{len(parameters)} values, {', '.join(parameters)}"
            raise HTTPException(422, f"The data of {name} are {wanted}; got {len(data)}.")
        if data is None and (unknown := values.keys() - parameters.keys()):
            raise HTTPException(422, f"{name} has no parameter {min(unknown)[:40]!r}; it has {', '.join(parameters)}.")
        needed = {key for key, parameter in parameters.items() if parameter.default is parameter.empty}
        if data is None and (missing := needed - values.keys()):
            raise HTTPException(422, f"{name} needs {', '.join(sorted(missing))}.")

    def _read(self, path: str, query: str) -> str | None:
        """The session whose results a request reads; HTTPException where there is no such session."""
        if path.startswith(f"{_API}/queue/data"):
            session = parse_qs(query).get("session_hash", [""])[0]
        elif path.startswith(f"{_API}/call/"):
            session = session_of(self.demo, path.rsplit("/", 1)[1])
        else:
            return None
        if not reads_results(self.demo, session):
            raise HTTPException(404, "There is no such session here: reload the page.")
        return session


def _named(method: str, path: str) -> str:
    """A request in the log, without what a visitor wrote in it."""
    return f"{method} {'/'.join(path.split('/')[:3])[:40]}"


def _limited(receive: Receive, most: int, announced: int) -> Receive:
    """`receive` that stands for at most so many bytes, the next of them within STALL; HTTPException beyond."""
    sentence = f"The body may have {most // 2**10} KB here, this one has more."
    if announced > most:
        raise HTTPException(413, sentence)
    came, whole = 0, False

    async def limited() -> Message:
        nonlocal came, whole
        try:
            message = await (receive() if whole else asyncio.wait_for(receive(), STALL))
        except asyncio.TimeoutError:
            raise HTTPException(408, f"Nothing came for {STALL:g} seconds: please send it again.") from None
        whole = not message.get("more_body")
        came += len(message.get("body", b""))
        if came > announced:
            raise HTTPException(413, sentence)
        return message

    return limited


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
