"""The row Download: a click makes the file of what the stage shows, the one that the library makes."""

import io
import json

import numpy as np
import pytest
from PIL import Image

try:
    import av
except ImportError:  # without it the page says so: tests/views/test_files.py
    av = None

from ddgan.explorer.request import Request, link
from ddgan.explorer.session import Session
from ddgan.views import files
from ddgan.views.picture import Look

STAGE = "#stage .stage"
ASKED = Request("rings", ("exact", "mean"), T=3, seed=7, n=500)
LOOK = Look(("samples", "x0", "paths"), hold=9)
BUTTONS = {"webp": "WebP", "gif": "GIF", "mp4": "MP4", "png": "PNG of this step", "npz": "NumPy", "json": "JSON"}


def download(page, kind):
    with page.expect_download(timeout=60_000) as made:
        page.get_by_role("button", name=BUTTONS[kind], exact=True).click()
    assert made.value.suggested_filename.endswith(f".{kind}")
    with open(made.value.path(), "rb") as file:
        return file.read()


@pytest.mark.parametrize("width", [1280, 390])
def test_every_button_saves_what_the_stage_shows(visit, address, tmp_path, width):
    page = visit("?" + ASKED.to_query() + LOOK.to_query(), width=width)
    page.evaluate(f"document.querySelector('{STAGE}').stage.goto(1)")
    page.wait_for_function(f"document.querySelector('{STAGE}').dataset.t === '2'")
    there = link(ASKED, address.rstrip("/") + "/")
    for kind in BUTTONS if av else sorted({*BUTTONS} - {"mp4"}):
        saved = download(page, kind)
        path = tmp_path / f"x.{kind}"
        files.write(path, Session(), ASKED, t=2 if kind == "png" else None, address=there.split("?")[0], look=LOOK)
        if kind not in ("npz", "mp4"):  # x264 may choose other bytes for the same frames
            assert saved == path.read_bytes(), f"{kind}: the page and the library make the same bytes"
        if kind in ("webp", "gif"):
            with Image.open(io.BytesIO(saved)) as image:
                assert image.n_frames == ASKED.T + 1
        if kind == "mp4":
            with av.open(io.BytesIO(saved)) as video:
                frames = [frame.to_ndarray(format="rgb24").astype(float) for frame in video.decode(video=0)]
                assert len(frames) == ASKED.T + 1
                assert video.metadata["comment"] == there + LOOK.to_query()
            with av.open(str(path)) as video:
                ours = [frame.to_ndarray(format="rgb24").astype(float) for frame in video.decode(video=0)]
            assert np.abs(np.stack(frames) - np.stack(ours)).mean() < 0.5, "the same film, to half a grey level"
        if kind == "json":
            assert json.loads(saved)["link"] == there
    with np.load(io.BytesIO(download(page, "npz"))) as file:
        assert str(file["link"]) == there
        for name in ASKED.denoisers:
            *_, last = Session().run(ASKED, name)
            assert np.array_equal(file[f"{name}.states"][-1], last.x_s.numpy())
    page.get_by_text("Its link is inside").wait_for()
    scroll, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert scroll <= inner, "the page must not scroll sideways"


def test_a_request_that_has_no_file_is_a_sentence(visit):
    page = visit("?n=500")
    page.evaluate(f"document.querySelector('{STAGE}').dataset.id = 'data=<b>nothing</b>'")
    page.get_by_role("button", name="JSON", exact=True).click()
    page.wait_for_function("document.querySelector('.exports-note.failed')?.textContent.includes('<b>nothing</b>')")
    page.evaluate(f"document.querySelector('{STAGE}').stage.goto(2)")  # draws, and writes its own name down again
    page.wait_for_function(f"!document.querySelector('{STAGE}').dataset.id.includes('nothing')")
    download(page, "png")
    assert page.locator(".exports-note.failed").count() == 0
