"""Draw figures into files for the README. Only this needs kaleido and Chrome or Chromium; the app does not."""

from __future__ import annotations

import hashlib
import io
import re
from importlib.util import find_spec

from PIL import Image
from plotly import graph_objects as go

from ..errors import Refused

__all__ = ["digest", "picture"]

WIDTH = 480  # pixels
MANY = 2000  # marks; an SVG has an element for each, so with more of them a picture of pixels is smaller


def digest(figure: go.Figure | Image.Image) -> str:
    """Hash the figure's JSON or its pixels with SHA-256, as hex. The drawn file contains this text."""
    content = figure.to_json().encode() if isinstance(figure, go.Figure) else figure.tobytes()
    return hashlib.sha256(content).hexdigest()


def picture(figure: go.Figure | Image.Image) -> tuple[str, bytes]:
    """Draw a figure: (suffix, content) of its file, .svg, or .webp for many marks and for images.

    Refused if kaleido or a browser is missing. Images need neither.
    """
    if isinstance(figure, Image.Image):
        return ".webp", _webp(figure, digest(figure))
    if sum(len(trace.x) for trace in figure.data) > MANY:
        return ".webp", _webp(Image.open(io.BytesIO(_drawn(figure, "png", scale=2))), digest(figure))
    svg = _drawn(figure, "svg", scale=1).decode()
    if name := re.search(r'id="defs-(\w+)"', svg):  # every drawing has a new name
        svg = svg.replace(name[1], "figure")
    svg = re.sub(r" trace[0-9a-f]{6}\b", "", svg)  # and so has every trace
    return ".svg", f"{svg}<!-- {digest(figure)} -->\n".encode()


def _drawn(figure: go.Figure, form: str, scale: int) -> bytes:
    wanted = "figures need kaleido: pip install kaleido, and Chrome or Chromium"
    if not find_spec("kaleido"):
        raise Refused(wanted)
    try:
        return figure.to_image(form, width=WIDTH, scale=scale)
    except RuntimeError as error:
        raise Refused(f"{wanted} ({str(error).strip().splitlines()[0]})") from error


def _webp(image: Image.Image, found: str) -> bytes:
    image.save(file := io.BytesIO(), "WEBP", lossless=True, xmp=found.encode())
    return file.getvalue()
