"""The only file that touches private parts of Gradio, each behind a function that says what it is for.

requirements.txt holds Gradio to the minor version that has them; tests/ui/test_gradio_internals.py names each.
"""

from __future__ import annotations

from asyncio import Queue
from collections.abc import Callable, Iterable
from typing import Any

import gradio as gr
from gradio.blocks import BlockFunction
from gradio.components.plot import PlotData
from gradio.context import LocalContext, get_blocks_context
from gradio.exceptions import ServerFailedToStartError
from gradio.server_messages import ProcessCompletedMessage
from gradio.state_holder import SessionState
from gradio.utils import error_payload, get_upload_folder

__all__ = [
    "BlockFunction",
    "PlotData",
    "ServerFailedToStartError",
    "SessionState",
    "abandoned_jobs",
    "current_job",
    "current_visitor",
    "document_endpoint",
    "end_jobs",
    "failed",
    "forget_deep_link",
    "forget_session",
    "function_at",
    "function_named",
    "has_component",
    "jobs_of",
    "reads_results",
    "running",
    "session_of",
    "sessions",
    "sessions_waiting",
    "unread",
    "upload_folder",
    "waiting",
]


# ---------------------------------------------------------------- the page: its components and functions


def has_component(demo: gr.Blocks, index: Any) -> bool:
    """Whether the page has a component of this number."""
    return type(index) is int and index in demo.blocks


def function_at(demo: gr.Blocks, index: Any) -> BlockFunction | None:
    """The function that the page calls by this number."""
    return demo.fns.get(index) if type(index) is int else None


def function_named(demo: gr.Blocks, name: str) -> BlockFunction | None:
    """The public endpoint of this name."""
    return next((fn for fn in demo.fns.values() if fn.api_visibility == "public" and fn.api_name == name), None)


def document_endpoint(endpoint: Any, words: Iterable[str], validator: Callable[..., Any]) -> None:
    """Say in the API's description what each parameter means, and have a call checked before it is queued.

    `endpoint` is what gr.api returned, which has no argument for either.
    """
    function = get_blocks_context().fns[endpoint["id"]]
    for sentence, block in zip(words, function.inputs, strict=True):
        block._api_info |= {"additional_description": sentence}
    if function.inputs:
        function.validator = validator


def forget_deep_link(state: SessionState) -> None:
    """Drop Gradio's copy of a session's outputs, megabytes each: it is for links that this page does not have."""
    state.config_values.clear()


# ---------------------------------------------------------------- the queue: jobs, sessions, results


def waiting(demo: gr.Blocks) -> int:
    """Jobs that wait, of all sessions."""
    return len(demo._queue)


def running(demo: gr.Blocks) -> dict[str, int]:
    """Jobs that run, by their concurrency_id."""
    return {kind: queue.current_concurrency for kind, queue in demo._queue.event_queue_per_concurrency_id.items()}


def sessions_waiting(demo: gr.Blocks, kind: str) -> set[str | None]:
    """The sessions with a job of this concurrency_id that waits."""
    queue = demo._queue.event_queue_per_concurrency_id.get(kind)
    return {event.session_hash for event in queue.queue} if queue else set()


def sessions(demo: gr.Blocks) -> set[str]:
    """All sessions that have jobs or results."""
    return {*demo._queue.pending_messages_per_session, *demo._queue.pending_event_ids_session}


def jobs_of(demo: gr.Blocks, session: str | None) -> list[str]:
    """The jobs of a session that wait or run."""
    return [*demo._queue.pending_event_ids_session.get(session or "", ())]


def session_of(demo: gr.Blocks, job: str) -> str:
    """The session of a job; "" for a job that there is not."""
    return next((session for session, jobs in demo._queue.pending_event_ids_session.items() if job in jobs), "")


def reads_results(demo: gr.Blocks, session: str) -> bool:
    """Whether results are kept for the session."""
    return session in demo._queue.pending_messages_per_session


def unread(demo: gr.Blocks, session: str) -> Queue | None:
    """The results of a session that have not been read."""
    return demo._queue.pending_messages_per_session.get(session)


def forget_session(demo: gr.Blocks, session: str) -> None:
    """Drop what the queue holds of a session; its jobs run on."""
    demo._queue.pending_messages_per_session.pop(session, None)
    demo._queue.pending_event_ids_session.pop(session, None)


def abandoned_jobs(demo: gr.Blocks, session: str) -> set[str]:
    """Take out of a session, and return, the jobs whose results Gradio no longer sends: the next reader would wait."""
    queue = demo._queue
    events = queue.pending_event_ids_session.get(session, set())
    forgotten = not reads_results(demo, session)
    dead = {e for e in events if forgotten or (job := queue.event_ids_to_events.get(e)) and not job.alive}
    events -= dead
    return dead


async def end_jobs(demo: gr.Blocks, jobs: Iterable[str]) -> None:
    """End jobs: they send nothing more from here on, and leave the queue as soon as that is free."""
    queue, jobs = demo._queue, list(jobs)
    for event in filter(None, map(queue.event_ids_to_events.get, jobs)):
        event.alive = False  # before anything is awaited: it has nowhere to send to any more
    for job in jobs:
        await queue.clean_events(event_id=job)


def failed(job: str, sentence: str) -> ProcessCompletedMessage:
    """The end of a job, as Gradio's page and clients know it."""
    return ProcessCompletedMessage(event_id=job, output=error_payload(gr.Error(sentence), True), success=False)


def current_job() -> str | None:
    """The job that the calling thread works for; None outside of jobs."""
    return LocalContext.event_id.get(None)


def current_visitor() -> str:
    """The session that the calling thread works for; "" outside of jobs."""
    return getattr(LocalContext.request.get(None), "session_hash", None) or ""


def upload_folder() -> str:
    """Where Gradio keeps files, those sent and those to be downloaded."""
    return get_upload_folder()
