"""The page: one file a tab, and the stage that they draw on. No torch and no arithmetic here."""

from __future__ import annotations

import os
from pathlib import Path

import gradio as gr

from ..machine import single_thread
from ..session import Session
from . import about, denoise, evidence, images, train, why

__all__ = ["build", "launch"]

_ASSETS = Path(__file__).parents[2] / "assets"
# only the two weights that the bundled font has in full
_FONT = gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif"
_THEME = gr.themes.Default(primary_hue="blue", font=_FONT)  # orange means predicted x_0 here


def build() -> gr.Blocks:
    """The whole interface, not yet launched; nothing is sampled or loaded before the first visitor comes."""
    with gr.Blocks(title="DDGAN Explorer", analytics_enabled=False, delete_cache=(600, 3600)) as demo:
        session = Session()
        about.head()
        with gr.Tabs() as tabs:
            with gr.Tab("Denoise", id="denoise"):
                shown = denoise.build(demo, session)
            with gr.Tab("Images", id="images") as tab:
                images.build(session, tab)
            with gr.Tab("Why", id="why"):
                why.build(demo, session)
            with gr.Tab("Train", id="train"):
                train.build(demo, session, tabs, shown)
            with gr.Tab("Evidence", id="evidence") as tab:
                evidence.build(tab)
            with gr.Tab("About", id="about"):
                about.build()
    return demo.queue(max_size=32, default_concurrency_limit=1, api_open=False)


def launch(demo: gr.Blocks, *, host: str | None = None, port: int | None = None, browser: bool = False) -> None:
    """Serve the page until interrupted."""
    single_thread()
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "86400")
    demo.launch(
        server_name=host,
        server_port=port,
        inbrowser=browser,
        theme=_THEME,
        css=(_ASSETS / "app.css").read_text(encoding="utf-8"),
        max_file_size="8mb",
        show_error=False,
        footer_links=["gradio", "settings"],  # no endpoint is public yet
        strict_cors=True,
        state_session_capacity=200,
    )
