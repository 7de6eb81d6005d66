"""A request -> a file: pictures of what the stage shows, and the numbers behind it.

    .webp .gif .mp4   every state that the stage shows, a frame each (all T + 1 of them up to T = 128)
    .png              one state
    .npz              all arrays of all steps, as the sampler made them (float32)
    .json             their states and predictions for the first samples, in six digits, and the metrics of all

Points of a table are standardised; numbers come with `axes`, `centre` and `unit`, (n,) each, and centre + unit x is x
in the table's own units. Pictures are drawn by picture.py. Every file names the link that made it: in the EXIF
description (.webp), the comment (.gif, .mp4), the text chunk "Comment" (.png), or the field `link`. The same request
makes the same bytes (an .npz: the same arrays; a zip archive knows the time).
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, PngImagePlugin

from .. import files
from ..data.images import load_images, sheet, to_uint8
from ..errors import Refused
from ..explorer.field import FieldQuestion
from ..explorer.methods import METHODS
from ..explorer.priority import while_wanted
from ..explorer.request import Request, link
from ..explorer.scene import Scene, scene
from ..explorer.session import Session
from ..metrics.images import nearest
from .answers import classes, each, finite, levels, own_levels, states
from .field import field
from .picture import Look, paint, seen
from .stage import staged

__all__ = ["KINDS", "MAX_NUMBERS", "json_samples", "neighbours", "npz", "preview", "write"]

KINDS = {"webp": "WebP", "gif": "GIF", "mp4": "MP4", "png": "PNG of this step", "npz": "NumPy", "json": "JSON"}
MAX_NUMBERS = 25_000_000  # in one .npz: 100 MB
MAX_PREVIEW = 13_500  # bytes: 18,000 characters in base64, for who encodes it once more
MAX_FILM = 2 * 10**9  # bytes of the pictures of an animation, which are all in memory
JSON_SAMPLES, JSON_NUMBERS = 1000, 1_000_000  # at most, in one .json


def write(
    path: Path | str, session: Session, request: Request, *, t: int | None = None, address: str = "", glide: int = 0,
    look: Look = Look(),
) -> None:  # fmt: skip
    """Write what the ending of `path` names: see KINDS.

    t: the state of a .png, by default 0, the last; the nearest one that the stage shows is taken. address: the page's,
    for the link. glide: frames between two states of an animation of points. look: what a picture of points shows.
    Refused, in one sentence, for another ending, a t or a held sample that does not exist, too many numbers, data
    without a picture, or a path that cannot be written.
    """
    path = Path(path)
    kind = path.suffix[1:].lower()
    if kind not in KINDS:
        raise Refused(f"an export ends in .{', .'.join(KINDS)}, got {path.name[-40:]!r}")
    if t is not None and kind != "png":
        raise Refused(f"t chooses the step of a .png; a .{kind} holds all of them")
    if t is not None and not 0 <= t <= request.start:
        raise Refused(f"t must be in 0..{request.start}, got {t}")
    if not 0 <= glide <= 60:
        raise Refused(f"glide must be in 0..60 frames, got {glide}")
    images = session.source(request.data).law is None
    if glide and images:
        raise Refused("images go from state to state, without frames between them")
    if look.hold is not None and look.hold >= request.n:
        raise Refused(f"the held sample must be in 0..{request.n - 1}, got {look.hold}")
    if glide and kind in ("png", "npz", "json"):
        raise Refused(f"glide is for animations, and a .{kind} is not one")
    from_link = link(request, address)
    if kind == "npz":
        _afford(session, request)
        arrays: dict[str, Any] = _arrays(scene(session, request)) | {"link": np.array(from_link)}
        return _replace(path, lambda file: np.savez_compressed(file, **arrays))
    if kind == "json":
        numbers = _numbers(scene(session, request, scored=(0,)), json_samples(session, request))
        text = json.dumps(numbers | {"link": from_link}, allow_nan=False)
        return _replace(path, lambda file: file.write(text.encode()))
    view = _view(session, request, look)
    i = _nearest(view, t or 0)
    from_link += (f"&t={view['t'][i]}" if view["t"][i] else "") + ("" if images else look.to_query())
    if kind == "png":
        info = PngImagePlugin.PngInfo()
        info.add_text("Comment", from_link)
        return _replace(path, lambda file: paint(view, i).save(file, "png", pnginfo=info))
    last = len(view["t"]) - 1
    ease = [3 * w**2 - 2 * w**3 for w in np.arange(1, glide + 1) / (glide + 1)]
    stops = [i + w for i in range(last) for w in (0, *ease)] + [last]
    # few steps deserve a look at each, many are one film of about ten seconds
    stay = 440 if glide else min(900, max(40, 10_000 // len(stops)))
    times = [stay if at == int(at) else 40 for at in stops]
    first = paint(view, stops[0])
    if (size := math.prod(first.size) * 3 * len(stops)) > MAX_FILM:
        raise Refused(
            f"a film may take {MAX_FILM // 10**9} GB of memory, this one takes {size / 1e9:.1f} "
            f"({len(stops):,} pictures): choose a smaller glide"
        )
    pictures = [first, *(paint(view, at) for at in while_wanted(stops[1:]))]
    film: dict[str, Callable[..., None]] = {"webp": partial(_webp, lossless=images), "gif": _gif, "mp4": _mp4}
    _replace(path, lambda file: film[kind](file, pictures, times, from_link))


def _view(session: Session, request: Request, look: Look = Look()) -> dict[str, Any]:
    """What is painted of a request; Refused as of `seen`."""
    if session.source(request.data).law is None:
        return seen(scene(session, request))
    return seen(staged(session, request), look, lambda t: field(session, FieldQuestion(request, t)))


def _nearest(view: dict[str, Any], t: int) -> int:
    """The index of the state nearest to t: of very many states not all are shown."""
    return min(range(len(view["t"])), key=lambda i: abs(view["t"][i] - t))


def preview(session: Session, request: Request, t: int) -> bytes:
    """A small .webp of the state nearest to t that is shown, at most MAX_PREVIEW bytes; Refused as of `seen`."""
    view = _view(session, request)
    painted = paint(view, _nearest(view, t))
    for width in (800, 640, 560, 480, 400, 320, 240):
        small, file = painted.copy(), io.BytesIO()
        small.thumbnail((width, width), Image.Resampling.LANCZOS)
        small.save(file, "webp")
        if len(file.getvalue()) <= MAX_PREVIEW:
            break
    return file.getvalue()


def npz(path: Path, scene: Scene) -> None:
    """Write x (n, *D) and the states of every step of the first denoiser of a scene.

    states (T+1, n, *D) from x_T to x_0; predicted (T, n, *D), the x_0 of each step; t (T+1,) and
    alpha_bar (T+1,), those of each state; the units of a table's columns; and classes (n,), the names of those that a
    model was told.
    """
    panel = scene.panel(scene.request.denoisers[0])
    arrays: dict[str, Any] = {"x": panel.sample.numpy(), **states(panel), **classes(panel), **_scale(scene)}
    arrays |= {key: np.array(v) for key, v in own_levels(scene, panel).items()}
    _replace(path, lambda file: np.savez_compressed(file, **arrays, link=np.array(link(scene.request))))


def neighbours(path: Path, session: Session, request: Request, k: int = 5) -> dict[str, float]:
    """Write a .png of up to eight images per denoiser, each in front of the k training images nearest to it.

    Returns, by denoiser, the mean distance of the nearest one, in grey levels (metrics.images.nearest). Images that a
    model learned by heart would have 0.
    """
    if path.suffix.lower() != ".png":
        raise Refused(f"neighbours are written to a .png, got {path.name}")
    source, rows, distance = session.source(request.data), [], {}
    if source.law is not None or not source.set:
        raise Refused(f"neighbours are looked for in a known set of images, {request.data[:40]} is none")
    known = load_images(source.set)
    for name in request.denoisers:
        *_, last = session.run(replace(request, n=min(8, request.n)), name)
        places, distances = nearest(last.x_s, known, k)
        distance[name] = float(distances[:, 0].mean())
        rows.append(np.concatenate([to_uint8(last.x_s)[:, None], known.images[places.numpy()]], 1))
    pictures = sheet(np.concatenate(rows).reshape(-1, *known.shape), columns=1 + k)
    _replace(path, lambda file: pictures.save(file, "png"))
    return distance


def _scale(scene: Scene) -> dict[str, np.ndarray]:
    """What all runs of a request share: t and alpha_bar of every state, from T down to 0,
    the request, and a table's units.
    """
    axes = scene.source.axes
    units = dict(zip(("axes", "centre", "unit"), map(np.array, zip(*axes, strict=True)), strict=True)) if axes else {}
    shared = {key: np.array(v) for key, v in levels(scene).items()}
    return {**shared, "request": np.array(scene.request.to_query()), **units}


def _arrays(scene: Scene) -> dict[str, np.ndarray]:
    """Per denoiser NAME: NAME.states, NAME.predicted, NAME.z (T, n, L),
    NAME.classes (n,) where it was told any, or NAME.error;
    eps (T, n, *D) is everybody's; a budget of evaluations leaves some fewer steps, which use its first rows and have
    NAME.t and NAME.alpha_bar of their own.
    """
    shared = {"denoisers": np.array(scene.request.denoisers), **_scale(scene)}

    def walked(name: str) -> dict[str, Any]:
        panel = scene.panel(name)
        if "eps" not in shared or scene.request.walked(name) == scene.request:  # or those of the denoiser before it
            shared["eps"] = np.stack([step.eps.numpy() for step in panel.steps])
        return {
            **states(panel),
            **classes(panel),
            **own_levels(scene, panel),
            "z": np.stack([step.z.numpy() for step in panel.steps]),
        }

    found = each(scene.request, walked)
    return shared | {f"{name}.{key}": np.asarray(v) for name, answer in found.items() for key, v in answer.items()}


def _afford(session: Session, request: Request) -> None:
    """Refused where an .npz of the request would hold more than MAX_NUMBERS."""
    numbers = request.n * request.start * len(request.denoisers) * 3 * math.prod(session.source(request.data).shape)
    if numbers > MAX_NUMBERS:
        raise Refused(
            f"an .npz holds at most {MAX_NUMBERS:,} numbers, this is {numbers:,}: ask for fewer points or steps"
        )


def _numbers(scene: Scene, samples: int) -> dict[str, Any]:
    """States and predictions as lists, of the first `samples` samples.

    Metrics (of all samples, of points) are null where infinite.
    """

    def walked(name: str) -> dict[str, Any]:
        panel = scene.panel(name)
        return {
            "label": METHODS[name].label if name in METHODS else name,
            "metrics": finite(panel.scores.get(0, {})),
            **{key: _six_digits(value[:, :samples]) for key, value in states(panel).items()},
            **{key: names[:samples] for key, names in classes(panel).items()},
            **own_levels(scene, panel),
        }

    scale = {key: value.tolist() for key, value in _scale(scene).items()}
    request = scene.request
    return {**scale, "request": request.to_dict(), "samples": samples, "denoisers": each(request, walked)}


def json_samples(session: Session, request: Request) -> int:
    """How many samples of a request its .json holds, the first ones."""
    per_sample = (2 * request.start + 1) * len(request.denoisers) * math.prod(session.source(request.data).shape)
    return max(1, min(request.n, JSON_SAMPLES, JSON_NUMBERS // per_sample))


def _six_digits(array: np.ndarray) -> list[Any]:
    return np.array([float(f"{v:.6g}") for v in array.ravel().tolist()]).reshape(array.shape).tolist()


# ---------------------------------------------------------------- files


def _webp(
    file: IO[bytes], pictures: Sequence[Image.Image], times: Sequence[int], comment: str, *, lossless: bool
) -> None:
    exif = Image.Exif()
    exif[0x010E] = comment  # ImageDescription
    _animation(file, "webp", pictures, times, quality=70, method=1, lossless=lossless, exif=exif)


def _gif(file: IO[bytes], pictures: Sequence[Image.Image], times: Sequence[int], comment: str) -> None:
    # one palette, of the first and the last picture: frames of their own palettes are slow and flicker
    both = Image.new("RGB", (pictures[0].width, 2 * pictures[0].height))
    both.paste(pictures[0])
    both.paste(pictures[-1], (0, pictures[0].height))
    palette = both.quantize(256, Image.Quantize.MEDIANCUT)
    flat = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    _animation(file, "gif", flat, times, comment=comment.encode())


def _animation(
    file: IO[bytes], kind: str, pictures: Sequence[Image.Image], times: Sequence[int], **options: Any
) -> None:
    """An endless loop that rests on its last picture."""
    times = [*times[:-1], max(times[-1], 900) * 2]
    pictures[0].save(file, kind, save_all=True, append_images=pictures[1:], duration=times, loop=0, **options)


def _mp4(file: IO[bytes], pictures: Sequence[Image.Image], times: Sequence[int], comment: str) -> None:
    """H.264 at one constant rate, that of the greatest common divisor of the times (ms)."""
    try:
        import av
    except ImportError as error:
        raise Refused("an .mp4 needs the package av: pip install av, or choose .webp or .gif") from error
    from fractions import Fraction

    unit = math.gcd(*times)
    with av.open(file, "w", format="mp4") as video:
        video.metadata["comment"] = comment
        stream = video.add_stream("libx264", rate=Fraction(1000, unit))
        stream.width, stream.height, stream.pix_fmt = *pictures[0].size, "yuv420p"
        stream.codec_context.thread_count = 1  # the same bytes on every machine
        stream.options = {"crf": "18", "preset": "medium"}
        for picture, time in while_wanted(zip(pictures, times, strict=True)):
            for _ in range(time // unit):
                video.mux(stream.encode(av.VideoFrame.from_image(picture)))
        video.mux(stream.encode())


def _replace(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """What `write` writes becomes the file at once; Refused where it cannot be written."""
    write(file := io.BytesIO())
    files.write(path, file.getvalue())
