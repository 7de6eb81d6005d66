"""The page: one file a tab, and the stage that they draw on. No torch and no arithmetic here."""

from __future__ import annotations

import logging
import os
import signal
import threading
from importlib.util import find_spec
from pathlib import Path

import gradio as gr

from ..explorer.live_runs import LiveRuns
from ..explorer.priority import once_idle
from ..explorer.session import Session
from ..machine import keep_pages, one_arena, ready_to_train, use_cores
from ..views import looks
from . import about, api, denoise, evidence, images, server, train, why_tab
from .canvas import pictures_at

__all__ = ["build", "launch"]

_ASSETS = Path(__file__).parents[2] / "assets"
# only the two weights that the bundled font has in full
_FONT = gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif"
_THEME = gr.themes.Default(primary_hue="blue", font=_FONT).set(  # orange means predicted x_0 here
    button_primary_background_fill="*primary_600",  # in the light theme, as in the dark one: white is legible on it
    button_primary_background_fill_hover="*primary_700",
    button_primary_border_color="*primary_600",
    body_text_color_subdued="*neutral_500",
)


def build() -> server.Page:
    """The whole interface, not yet launched; nothing is sampled or loaded before the first visitor comes.

    (On ZeroGPU the image models are loaded at once: see explorer/session.py.)
    """
    server.own_files()
    session = Session()
    about_it = {"title": "DDGAN Explorer", "analytics_enabled": False, "delete_cache": (600, 3600)}
    with server.Page(**about_it, pictures=server.Pictures(session)) as demo:
        live = LiveRuns(session)
        about.head()
        with gr.Tabs(overflow_behavior="wrap") as tabs:  # all in the row, which scrolls: assets/tabs.js
            with gr.Tab("Denoise", id="denoise"):
                _heading("Denoise: the same noise, one panel for each denoiser")
                shown = denoise.build(demo, session)
            with gr.Tab("Images", id="images") as tab:
                _heading("Images: the same noise, one column for each model")
                images.build(session, tab)
            with gr.Tab("Why", id="why"):
                _heading("Why: one step on a line")
                why_tab.build(demo, session)
            with gr.Tab("Train", id="train"):
                _heading("Train: a DDGAN learns while you watch")
                train.build(demo, live, tabs, shown)
            with gr.Tab("Evidence", id="evidence") as tab:
                evidence.build(tab)
            with gr.Tab("About", id="about"):
                about.build()
        api.build(live)
    # who waits hears of it once a second: after every job, as is Gradio's way, a crowd's readers would hear of
    # nothing else
    return demo.queue(status_update_rate=1, max_size=server.MAX_WAITING, default_concurrency_limit=1, api_open=False)


def _heading(words: str) -> None:
    """The first heading of a tab, for those who hear the page: its name, and what is there to see."""
    gr.HTML(f"<h2>{words}</h2>", js_on_load=None, apply_default_css=False, elem_classes="tab-heading")


def _head() -> str:
    """Begins to fetch what the stage shows first, and the font, before the rest of the page; and rules for its root.

    The server puts it into the HTML. Where a page is rendered by Node, Gradio does so, hence also `head=`.
    A font that came after the text would make other lines of it, and move what is below.
    """
    first = f"fetch('{pictures_at()}/points?' + location.search.slice(1)).catch(() => {{}})"
    fetched = f"<script>window.begun ??= {first};</script>"
    fonts = "".join(
        f'<link rel="preload" as="font" type="font/woff2" crossorigin="anonymous" '
        f'href="static/fonts/SourceSansPro/SourceSansPro-{weight}.woff2">'
        for weight in ("Regular", "Bold")
    )
    return f"{fonts}{fetched}<style>{(_ASSETS / 'root.css').read_text(encoding='utf-8')}</style>"


def _prepare() -> None:
    """What takes seconds when it is first asked for."""
    ready_to_train()
    evidence.page()


def launch(demo: server.Page, *, host: str | None = None, port: int | None = None, browser: bool = False) -> None:
    """Serve the page until interrupted or terminated; OSError, in one sentence, where nobody can listen there."""
    use_cores()
    one_arena()
    keep_pages()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
    server.log.setLevel(logging.INFO)
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "86400")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the files go, and the port is free
    try:
        demo.launch(
            server_name=host,
            server_port=port,
            inbrowser=browser,
            quiet=True,
            prevent_thread_lock=True,
            theme=_THEME,
            css=looks.css()
            + "".join((_ASSETS / name).read_text(encoding="utf-8") for name in ("app.css", "landscape.css")),
            max_file_size=server.MAX_UPLOAD,
            head=_head(),
            show_error=False,
            footer_links=["api", "gradio", "settings"],
            mcp_server=find_spec("mcp") is not None,
            strict_cors=True,
            enable_monitoring=False,
            state_session_capacity=200,
            app_kwargs=server.app_kwargs(demo, _head()),
        )
        everywhere = " and, at this port, on every address of this machine" if host == "0.0.0.0" else ""
        print(f"DDGAN Explorer is at {demo.local_url}{everywhere}", flush=True)
        once_idle(3.0, _prepare)
        demo.block_thread()
    except KeyboardInterrupt:  # while it was starting: block_thread would have caught it
        demo.close(verbose=False)
    except (OSError, OverflowError, server.ServerFailedToStartError) as error:  # overflow: no port has such a number
        where = f"{host or 'this machine'}, port {port or '7860 to 7959'}"
        raise OSError(f"{where} is already in use or not allowed: choose another one with --port") from error
