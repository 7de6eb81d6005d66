"""What stands between the network and the page: which requests there are, how large, and what happens to what nobody reads.

`Page` is gr.Blocks that answers every failure in one sentence. `Guard` lets through the requests that the page and its
clients send, at most MAX_JSON bytes of JSON, MAX_DEPTH brackets deep, MAX_UPLOAD bytes of a file, MAX_WAITING jobs in the
queue, MAX_OF_ONE of a session and MAX_RUNS trainings; any other is answered 4xx with one sentence and a line in the log,
before Gradio sees it. It knows who reads, too: a job whose reader has been gone for PATIENCE seconds, has not come within a
little more, ABSENCE at most, or is BACKLOG results behind, is stopped, and what it left is dropped.
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import json
import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import gradio as gr
from gradio.server_messages import ProcessCompletedMessage
from gradio.state_holder import SessionState
from gradio.utils import error_payload, get_upload_folder
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import views
from ..machine import commit, give_memory_back
from ..studio import MAX_RUNS
from ..turns import watch_for
from .jobs import drop, log, wanted

__all__ = ["EXPORTS", "MAX_WAITING", "Guard", "Page", "app_kwargs", "files", "own_files"]

MAX_JSON = 64 * 2**10  # bytes: a thousand drawn points have 20,000
MAX_DEPTH = 16
MAX_UPLOAD = 8 * 2**20  # bytes of a model or a CSV
MAX_FILES = 256 * 2**20  # bytes of all that was sent and is kept, for an hour
MAX_WAITING = 100  # jobs that wait, of all visitors
MAX_OF_ONE = 20  # jobs of one session that wait or run; a page that opens has six
AT_ONCE = 2  # server functions of components that run: they know no queue, but the same limits
PATIENCE = 2.0  # seconds that results wait for a reader ...
CROWD = 0.1  # ... and, before he first comes, as many more for every session here: who shares the server comes later
ABSENCE = 10.0  # seconds after which a session that reads nothing is taken to have left what it waited for, crowd or not
STALL = 20.0  # seconds that the next part of a body may take: it holds a place
BACKLOG = 50  # results that a slow reader may be behind
PREFIX = "ddgan-explorer-"
EXPORTS = "exports"  # the directory, among Gradio's files, of those that we made to be downloaded: they have a limit of their own
_API = "/gradio_api"
# what the page and gradio_client send; every other route of Gradio's is closed
USED = {
    "GET": re.compile(
        r"/|/(config|theme\.css|favicon\.ico|robots\.txt|manifest\.json|pwa_icon|health)/?|/(static|assets|svelte|pwa_icon)/.+"
        rf"|{_API}/(info|openapi\.json|startup-events|theme\.css|app_id|queue/data|queue/status|upload_progress)/?"
        rf"|{_API}/(heartbeat/[^/]+|call(/v2)?/[^/]+/[^/]+|custom_component/.+|file=(?!.*://).+|mcp(/http|/schema)?/?)"
    ),
    "POST": re.compile(rf"{_API}/(queue/join|call(/v2)?/[^/]+|component_server|cancel|reset|upload|mcp(/http)?)/?"),
}
PAGE = ("/", "/config", f"{_API}/info")
SESSION = re.compile(r"[\w-]{1,64}")
STRINGS, BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.S), re.compile(rb"[\[\]{}]")
_FAILED = "This failed here, not through anything you did: please try something else, or again."


class Page(gr.Blocks):
    """gr.Blocks in which a failure is one sentence for the visitor, and a traceback for the host only where it is a bug.

    Every function in `left` is called with a session whose results nobody has read for some time.
    """

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        watch_for(wanted)
        self.left: list[Callable[[str], Any]] = []

    async def preprocess_data(self, *args: Any, **kw: Any) -> list[Any]:
        """The inputs of an event; whatever they fail at was not sent by the page."""
        try:
            return await super().preprocess_data(*args, **kw)
        except Exception as error:
            raise gr.Error("These are not values that the page sends.", print_exception=False) from error

    async def call_function(self, *args: Any, **kw: Any) -> dict[str, Any]:
        """Run the function of an event, or its next step."""
        try:
            return await super().call_function(*args, **kw)
        except gr.Error:
            raise
        except (ValueError, RecursionError) as error:
            raise gr.Error(views.sentence(str(error)[:200]), print_exception=False) from error
        except Exception as error:
            log.exception("a job failed")
            raise gr.Error(_FAILED, print_exception=False) from error

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: SessionState | None) -> list[Any]:
        """The outputs of an event. Gradio's copy of them for deep links, megabytes a session, is not kept: we have no such links."""
        found = await super().postprocess_data(block_fn, predictions, state)
        if state is not None:
            state.config_values.clear()
        return found


def app_kwargs(demo: Page) -> dict[str, Any]:
    """What Gradio's app gets from us, as launch(app_kwargs=...)."""
    begun = time.monotonic()

    async def health(_: Any) -> JSONResponse:
        queues = demo._queue.event_queue_per_concurrency_id
        running = {name: queue.current_concurrency for name, queue in queues.items()}
        return JSONResponse(
            {
                "status": "ok",
                "commit": commit(),
                "seconds": round(time.monotonic() - begun),
                "waiting": len(demo._queue),
                "running": sum(running.values()),
                "training": running.get("train", 0) > 0,
            }
        )

    readers = Readers(demo)
    return {
        "middleware": [Middleware(Guard, demo=demo, readers=readers)],
        "routes": [Route("/health", health)],
        "lifespan": readers.watched,
    }


class Guard:
    """ASGI middleware: see the top of the file."""

    def __init__(self, app: ASGIApp, demo: Page, readers: Readers) -> None:
        self.app, self.demo, self.readers = app, demo, readers
        self.compressed = GZipMiddleware(app, compresslevel=5)  # Gradio does so with scripts and styles alone
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
            log.info("%s %s: -: 0.00 s, refused (%d)", scope["method"], "/".join(path.split("/")[:3])[:40], error.status_code)
            await JSONResponse({"detail": error.detail}, error.status_code)(scope, receive, send)
        except ClientDisconnect:
            log.info("%s %s: -: 0.00 s, the visitor left", scope["method"], "/".join(path.split("/")[:3])[:40])
        except Exception as error:
            # Gradio waits for the job to end, and then takes for granted what a second Cancel may have dropped meanwhile
            if isinstance(error, KeyError) and path.startswith(f"{_API}/cancel") and not begun:
                return await JSONResponse({"success": True})(scope, receive, send)
            log.exception("a request failed: %s %s", scope["method"], path.split("=")[0])
            if not begun:
                await JSONResponse({"detail": _FAILED}, 500)(scope, receive, send)

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
            raise HTTPException(415, f"The body must be {wanted.decode()}, got {kind.decode('latin-1')[:40] or 'nothing'}.")
        most = MAX_UPLOAD + 2**12 if upload else MAX_JSON
        length = headers.get(b"content-length", b"")
        announced = int(length) if length.isdigit() else most
        limited = _limited(receive, most, announced)
        if upload:
            self._coming.append(announced)
            held.callback(self._coming.remove, announced)
            # the sum comes first: of those that begin together, each adds those before it
            if sum(self._coming) + await asyncio.to_thread(_kept, Path(get_upload_folder()), sum(self.demo.delete_cache)) > MAX_FILES:
                raise HTTPException(429, f"The files of all visitors have {MAX_FILES // 2**20} MB here: please try again in an hour.")
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
        """The session that it names; HTTPException where the JSON is none, too deep, or of what the page does not have."""
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
        if not (named is None and what[0] in ("call", "reset", "mcp") or isinstance(named, str) and SESSION.fullmatch(named)):
            raise HTTPException(400, "The session_hash must be letters, digits and dashes, 64 at most.")
        if what[0] == "component_server" and not self._is(values.get("component_id"), self.demo.blocks):
            raise HTTPException(404, "The page has no such component.")
        if what[0] == "queue" and not self._is(values.get("fn_index"), self.demo.fns):
            raise HTTPException(404, "The page has no function of this fn_index.")
        if what[0] == "call":
            name = what[-1]
            function = next((fn for fn in self.demo.fns.values() if fn.api_visibility == "public" and fn.api_name == name), None)
            if function is None:
                raise HTTPException(404, "The page has no function of this name.")
            self._arguments(name, function.fn, None if what[1] == "v2" else values.get("data"), values)
            self._room(named, function.concurrency_id)
        if what[0] == "queue":
            self._room(named, self.demo.fns[values["fn_index"]].concurrency_id)
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
        queue = self.demo._queue
        trainings = queue.event_queue_per_concurrency_id.get("train")
        self._few(len(queue), len(queue.pending_event_ids_session.get(session or "", ())))
        # of one visitor those but the last were stopped
        if kind == "train" and trainings and len({event.session_hash for event in trainings.queue}) >= MAX_RUNS:
            raise HTTPException(429, f"{MAX_RUNS} trainings wait here already: please try again in some minutes.")
        if session:
            self.readers.asked(session)

    @staticmethod
    def _arguments(name: str, function: Callable[..., Any], data: Any, values: dict[str, Any]) -> None:
        """HTTPException where the endpoint has other parameters: Gradio would fail at them."""
        parameters = inspect.signature(function).parameters
        if isinstance(data, list) and len(data) != len(parameters):
            raise HTTPException(422, f"The data of {name} are {len(parameters)} values, {', '.join(parameters)}; got {len(data)}.")
        if data is None and (unknown := values.keys() - parameters.keys()):
            raise HTTPException(422, f"{name} has no parameter {min(unknown)[:40]!r}; it has {', '.join(parameters)}.")
        needed = {key for key, parameter in parameters.items() if parameter.default is parameter.empty}
        if data is None and (missing := needed - values.keys()):
            raise HTTPException(422, f"{name} needs {', '.join(sorted(missing))}.")

    @staticmethod
    def _is(index: Any, known: dict[int, Any]) -> bool:
        return type(index) is int and index in known

    def _read(self, path: str, query: str) -> str | None:
        """The session whose results a request reads; HTTPException where there is no such session."""
        queue = self.demo._queue
        if path.startswith(f"{_API}/queue/data"):
            session = parse_qs(query).get("session_hash", [""])[0]
        elif path.startswith(f"{_API}/call/"):
            job = path.rsplit("/", 1)[1]
            session = next((session for session, jobs in queue.pending_event_ids_session.items() if job in jobs), "")
        else:
            return None
        if session not in queue.pending_messages_per_session:
            raise HTTPException(404, "There is no such session here: reload the page.")
        return session


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


class Readers:
    """Who reads the results of which session, and what becomes of those that nobody reads."""

    def __init__(self, demo: Page) -> None:
        self.demo = demo
        self._open: Counter[str] = Counter()
        self._last: dict[str, float] = {}
        self._gone: set[str] = set()  # those that have read, and asked for nothing since

    def asked(self, session: str) -> None:
        """The session has a new job, and some time to begin to read."""
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
                self._end_what_runs(session)

    def _end_what_runs(self, session: str) -> None:
        """End the jobs of who left midway: Gradio stops to send their results, lets them run, and has the next reader wait for them."""
        queue = self.demo._queue
        events = queue.pending_event_ids_session.get(session, set())
        forgotten = session not in queue.pending_messages_per_session
        dead = {e for e in events if forgotten or (job := queue.event_ids_to_events.get(e)) and not job.alive}
        drop(dead)
        events -= dead

    @asynccontextmanager
    async def watched(self, _: Any) -> AsyncIterator[None]:
        """As long as the server runs: look after the sessions, four times a PATIENCE."""

        async def watch() -> None:
            while True:
                await asyncio.sleep(PATIENCE / 4)
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
        queue, now, dropped = self.demo._queue, time.monotonic(), False
        for session in {*queue.pending_messages_per_session, *queue.pending_event_ids_session}:
            messages, events = queue.pending_messages_per_session.get(session), [*queue.pending_event_ids_session.get(session, ())]
            patience = PATIENCE if session in self._gone else min(ABSENCE, PATIENCE + CROWD * len(self._last))
            if self._open[session] and messages is not None and messages.qsize() > BACKLOG:
                dropped = True
                log.info("a reader is %d results behind: its jobs are stopped", messages.qsize())
                await self._stop(events, messages)
                for event in events:
                    messages.put_nowait(_failed(event, "Your connection was too slow for this: please start it again."))
            elif not self._open[session] and now - self._last.setdefault(session, now) > patience:
                dropped |= messages is not None and not messages.empty()
                # before anything is awaited: what the session asks for meanwhile stays
                queue.pending_messages_per_session.pop(session, None)
                queue.pending_event_ids_session.pop(session, None)
                await self._stop(events, messages)
        for session in [s for s, since in self._last.items() if not self._open[s] and now - since > ABSENCE]:
            del self._last[session]
            self._gone.discard(session)
            for left in self.demo.left:
                left(session)
        return dropped

    async def _stop(self, events: Iterable[str], messages: asyncio.Queue | None) -> None:
        """End jobs and drop what they left unread: at once, whoever still holds it."""
        while messages is not None and not messages.empty():
            messages.get_nowait()
        drop(events)
        queue = self.demo._queue
        for job in filter(None, map(queue.event_ids_to_events.get, events)):
            job.alive = False  # before anything is awaited: it has nowhere to send to any more
        for event in events:
            await queue.clean_events(event_id=event)


def _failed(event: str, sentence: str) -> ProcessCompletedMessage:
    """The end of a job, as Gradio's page and clients know it."""
    return ProcessCompletedMessage(event_id=event, output=error_payload(gr.Error(sentence), True), success=False)


def files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file there, but for those that others delete meanwhile."""
    for where, _, names in os.walk(folder):
        for file in (Path(where, name) for name in names):
            with suppress(OSError):
                yield file, file.stat()


def _kept(folder: Path, age: float) -> int:
    """Bytes of the files that visitors sent; in a folder of ours, what is older is deleted: Gradio forgets uploads that broke off."""
    kept = 0
    for file, stat in files(folder):
        if folder / EXPORTS in file.parents:
            continue
        if folder.name.startswith(PREFIX) and time.time() - stat.st_ctime > age:  # as Gradio tells the age
            with suppress(OSError):
                file.unlink()
                continue
        kept += stat.st_size
    return kept


def own_files() -> None:
    """Give Gradio a directory of this process for its files, gone when it ends, and remove those of processes that are gone.

    One that somebody else named in the environment is left as it is.
    """
    if not Path(os.environ.get("GRADIO_TEMP_DIR", PREFIX)).name.startswith(PREFIX):
        return
    here = Path(tempfile.gettempdir())
    for old in here.glob(f"{PREFIX}*"):
        pid = old.name.removeprefix(PREFIX)
        if pid.isdigit() and (int(pid) == os.getpid() or not _runs(int(pid))):
            shutil.rmtree(old, ignore_errors=True)
    own = here / f"{PREFIX}{os.getpid()}"
    os.environ["GRADIO_TEMP_DIR"] = str(own)
    atexit.register(shutil.rmtree, own, ignore_errors=True)


def _runs(pid: int) -> bool:
    """Whether there is a process of this number; where the system cannot be asked without harm, yes."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
