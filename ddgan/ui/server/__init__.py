"""Between Gradio and the network: who is served, what is refused, and where files go."""

from __future__ import annotations

import gzip
import time
from functools import cache
from typing import Any

from plotly.offline import get_plotlyjs
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...machine import commit
from .gradio_internals import ServerFailedToStartError, running, waiting
from .guard import MAX_UPLOAD, MAX_WAITING, Guard
from .jobs import log
from .page import Page
from .pictures import Pictures, version
from .readers import Readers
from .storage import own_files

__all__ = [
    "MAX_UPLOAD",
    "MAX_WAITING",
    "Page",
    "Pictures",
    "ServerFailedToStartError",
    "app_kwargs",
    "log",
    "own_files",
    "version",
]


def app_kwargs(demo: Page, head: str = "") -> dict[str, Any]:
    """What Gradio's app gets from us, as launch(app_kwargs=...); `head` is markup for the head of the page."""
    begun = time.monotonic()

    async def health(_: Any) -> JSONResponse:
        jobs = running(demo)
        return JSONResponse(
            {
                "status": "ok",
                "commit": commit(),
                "seconds": round(time.monotonic() - begun),
                "waiting": waiting(demo) + demo.pictures.waiting,
                "running": sum(jobs.values()) + demo.pictures.running,
                "training": jobs.get("train", 0) > 0,
            }
        )

    def plotly(_: Any) -> Response:
        """What draws in 3-D; a page names its version, so that a browser may keep it."""
        keep = {"Content-Encoding": "gzip", "Cache-Control": "public, max-age=31536000, immutable"}
        return Response(_plotlyjs(), media_type="text/javascript", headers=keep)

    readers = Readers(demo)
    return {
        "middleware": [Middleware(Guard, demo=demo, readers=readers, head=head)],
        "routes": [
            Route("/health", health),
            Route("/gradio_api/plotly", plotly),
            Route("/gradio_api/pictures/{version}/{kind}", demo.pictures.answer, methods=["GET", "POST"]),
        ],
        "lifespan": readers.watched,
    }


@cache
def _plotlyjs() -> bytes:
    return gzip.compress(get_plotlyjs().encode(), 6)
