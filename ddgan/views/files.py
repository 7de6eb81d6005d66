"""A request -> a file: pictures of what the stage shows, and the numbers behind it.

    .webp .gif .mp4   every state that the stage shows, a frame each (all T + 1 of them up to T = 128)
    .png              one state
    .npz              all arrays of all steps, as the sampler made them (float32)
    .json             their states and predictions for the first samples, in six digits, and the metrics of all

Pictures are drawn by picture.py. Every file names the link that made it:
in the EXIF description (.webp), the comment (.gif, .mp4), the text chunk "Comment" (.png), or the field `link`.
The same request makes the same bytes (an .npz: the same arrays; a zip archive knows the time).
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

from . import checkpoint
from .image_metrics import nearest
from .images import load_images, sheet, to_uint8
from .picture import Look, decoded, paint
from .request import DENOISERS, Request
from .sampler import Step
from .session import Session
from .turns import while_wanted
from .views import sentence

__all__ = ["KINDS", "MAX_NUMBERS", "each", "finite", "json_samples", "link", "neighbours", "npz", "states", "write"]

KINDS = {  # ending -> what it is
    "webp": "Animated WebP",
    "gif": "Animated GIF",
    "mp4": "MP4 video",
    "png": "PNG of one step",
    "npz": "NumPy arrays",
    "json": "JSON",
}
MAX_NUMBERS = 25_000_000  # in one .npz: 100 MB
MAX_FILM = 2 * 10**9  # bytes of the pictures of an animation, which are all in memory
JSON_SAMPLES, JSON_NUMBERS = 1000, 1_000_000  # at most, in one .json


def write(
    path: Path | str, session: Session, request: Request, *, t: int | None = None, address: str = "", glide: int = 0,
    look: Look = Look(),
) -> None:  # fmt: skip
    """Write what the ending of `path` names: see KINDS.

    t: the state of a .png, 0 (the last) unless given, or the nearest that the stage shows. address: the page's, for the link. glide: frames between two
    states of an animation of points. look: what a picture of points shows. ValueError, in one sentence, for another ending,
    a t or a held sample that there is not, too many numbers, data that has no picture, or a path that cannot be written.
    """
    path = Path(path)
    kind = path.suffix[1:].lower()
    if kind not in KINDS:
        raise ValueError(f"an export ends in .{', .'.join(KINDS)}, got {path.name[-40:]!r}")
    if t is not None and kind != "png":
        raise ValueError(f"t chooses the step of a .png; a .{kind} holds all of them")
    if t is not None and not 0 <= t <= request.start:
        raise ValueError(f"t must be in 0..{request.start}, got {t}")
    if not 0 <= glide <= 60:
        raise ValueError(f"glide must be in 0..60 frames, got {glide}")
    images = session.source(request.data).law is None
    if glide and images:
        raise ValueError("images go from state to state, without frames between them")
    if look.hold is not None and look.hold >= request.n:
        raise ValueError(f"the held sample must be in 0..{request.n - 1}, got {look.hold}")
    if glide and kind in ("png", "npz", "json"):
        raise ValueError(f"glide is of animations; a .{kind} is none")
    from_link = link(request, address)
    if kind == "npz":
        arrays = _arrays(session, request) | {"link": np.array(from_link)}
        return _replace(path, lambda file: np.savez_compressed(file, **arrays))
    if kind == "json":
        text = json.dumps(_numbers(session, request) | {"link": from_link}, allow_nan=False)
        return _replace(path, lambda file: file.write(text.encode()))
    view = decoded(session, request, look)
    i = min(range(len(view["t"])), key=lambda i: abs(view["t"][i] - (t or 0)))  # of very many states not all are shown
    from_link += (f"&t={view['t'][i]}" if view["t"][i] else "") + ("" if images else look.to_query())
    if kind == "png":
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", from_link)
        return _replace(path, lambda file: paint(view, i).save(file, "png", pnginfo=text))
    last = len(view["t"]) - 1
    ease = [3 * w**2 - 2 * w**3 for w in np.arange(1, glide + 1) / (glide + 1)]
    stops = [i + w for i in range(last) for w in (0, *ease)] + [last]
    # few steps deserve a look at each, many are one film of about ten seconds
    stay = 440 if glide else min(900, max(40, 10_000 // len(stops)))
    times = [stay if at == int(at) else 40 for at in stops]
    first = paint(view, stops[0])
    if (size := math.prod(first.size) * 3 * len(stops)) > MAX_FILM:
        raise ValueError(f"a film may take {MAX_FILM // 10**9} GB of memory, this one takes {size / 1e9:.1f} ({len(stops):,} pictures): choose a smaller glide")
    pictures = [first, *(paint(view, at) for at in while_wanted(stops[1:]))]
    save = {"webp": partial(_webp, lossless=images), "gif": _gif, "mp4": _mp4}[kind]
    _replace(path, lambda file: save(file, pictures, times, from_link))


def link(request: Request, address: str = "") -> str:
    """The address of the page that shows the request; without the page's own address, from its `?` on."""
    return f"{address}?{request.to_query()}"


def finite(value: Any) -> Any:
    """The same with None for what is infinite: JSON has no word for it."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def npz(path: Path, request: Request, steps: Sequence[Step]) -> None:
    """Write x (n, *D) and the states of every step of one run of the request.

    states (T+1, n, *D) from x_T to x_0; predicted (T, n, *D), the x_0 of each step; t (T+1,) and
    alpha_bar (T+1,), those of each state.
    """
    arrays = {"x": steps[-1].x_s.numpy(), **states(steps), **_scale(request)}
    _replace(path, lambda file: np.savez_compressed(file, **arrays, link=np.array(link(request))))


def neighbours(path: Path, session: Session, request: Request, k: int = 5) -> dict[str, float]:
    """Write a .png of up to eight images a denoiser, each before the k training images nearest to it.

    Returns by denoiser how far the nearest one is on average, in grey levels (image_metrics.nearest): what was learned by
    heart would be at 0.
    """
    if path.suffix.lower() != ".png":
        raise ValueError(f"neighbours are written to a .png, got {path.name}")
    source, rows, distance = session.source(request.data), [], {}
    if source.law is not None or not source.set:
        raise ValueError(f"neighbours are looked for in a known set of images, {request.data[:40]} is none")
    known = load_images(source.set)
    for name in request.denoisers:
        *_, last = session.run(replace(request, n=min(8, request.n)), name)
        places, distances = nearest(last.x_s, known, k)
        distance[name] = float(distances[:, 0].mean())
        rows.append(np.concatenate([to_uint8(last.x_s)[:, None], known.images[places.numpy()]], 1))
    pictures = sheet(np.concatenate(rows).reshape(-1, *known.shape), columns=1 + k)
    _replace(path, lambda file: pictures.save(file, "png"))
    return distance


def each(request: Request, answer: Callable[[str], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """answer(denoiser) for every denoiser, {"error": sentence} where it refuses; ValueError where all refuse."""
    found, refused = {}, []
    for name in request.denoisers:
        try:
            found[name] = answer(name)
        except ValueError as error:
            refused.append(str(error))
            found[name] = {"error": sentence(str(error))}
    if len(refused) == len(request.denoisers):
        raise ValueError(refused[0])
    return found


def _scale(request: Request) -> dict[str, np.ndarray]:
    """What all runs of a request share: t and alpha_bar of every state, from T down to 0, and the request."""
    t = np.arange(request.start, -1, -1)
    return {"t": t, "alpha_bar": request.steps().alpha_bar.numpy()[t], "request": np.array(request.to_query())}


def states(steps: Sequence[Step]) -> dict[str, np.ndarray]:
    """states (T+1, n, *D) from x_T to x_0 and predicted (T, n, *D), the x_0 of each step."""
    return {
        "states": np.stack([steps[0].x_t.numpy(), *(step.x_s.numpy() for step in steps)]),
        "predicted": np.stack([step.x_0.numpy() for step in steps]),
    }


def _arrays(session: Session, request: Request) -> dict[str, np.ndarray]:
    """Per denoiser NAME: NAME.states, NAME.predicted, NAME.z (T, n, L), or NAME.error; eps (T, n, *D) is everybody's."""
    size = math.prod(session.source(request.data).shape)
    numbers = request.n * request.start * len(request.denoisers) * 3 * size
    if numbers > MAX_NUMBERS:
        raise ValueError(f"an .npz holds at most {MAX_NUMBERS:,} numbers, this is {numbers:,}: ask for fewer points or steps")
    shared = {"denoisers": np.array(request.denoisers), **_scale(request)}

    def walked(name: str) -> dict[str, np.ndarray]:
        steps = list(session.run(request, name))
        shared["eps"] = np.stack([step.eps.numpy() for step in steps])
        return {**states(steps), "z": np.stack([step.z.numpy() for step in steps])}

    found = each(request, walked)
    return shared | {f"{name}.{key}": np.asarray(v) for name, answer in found.items() for key, v in answer.items()}


def _numbers(session: Session, request: Request) -> dict[str, Any]:
    """States and predictions as lists, of the first `samples` samples; metrics (of all samples, of points) are null where infinite."""
    law, samples = session.source(request.data).law, json_samples(session, request)

    def walked(name: str) -> dict[str, Any]:
        steps = list(session.run(request, name))
        return {
            "label": DENOISERS.get(name, (name,))[0],
            "metrics": finite(session.score(request, steps[-1].x_s)) if law else {},
            **{key: _six_digits(value[:, :samples]) for key, value in states(steps).items()},
        }

    scale = {key: value.tolist() for key, value in _scale(request).items()}
    return {**scale, "request": request.to_dict(), "samples": samples, "denoisers": each(request, walked)}


def json_samples(session: Session, request: Request) -> int:
    """How many samples of a request its .json holds, the first ones."""
    per_sample = (2 * request.start + 1) * len(request.denoisers) * math.prod(session.source(request.data).shape)
    return max(1, min(request.n, JSON_SAMPLES, JSON_NUMBERS // per_sample))


def _six_digits(array: np.ndarray) -> list[Any]:
    return np.array([float(f"{v:.6g}") for v in array.ravel().tolist()]).reshape(array.shape).tolist()


# ---------------------------------------------------------------- files


def _webp(file: IO[bytes], pictures: Sequence[Image.Image], times: Sequence[int], comment: str, *, lossless: bool) -> None:
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


def _animation(file: IO[bytes], kind: str, pictures: Sequence[Image.Image], times: Sequence[int], **options: Any) -> None:
    """An endless loop that rests on its last picture."""
    times = [*times[:-1], max(times[-1], 900) * 2]
    pictures[0].save(file, kind, save_all=True, append_images=pictures[1:], duration=times, loop=0, **options)


def _mp4(file: IO[bytes], pictures: Sequence[Image.Image], times: Sequence[int], comment: str) -> None:
    """H.264 at one constant rate, that of the greatest common divisor of the times (ms)."""
    try:
        import av
    except ImportError as error:
        raise ValueError("an .mp4 needs the package av: pip install av, or choose .webp or .gif") from error
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
    """What `write` writes becomes the file at once; ValueError where it cannot be written."""
    write(file := io.BytesIO())
    checkpoint.write(path, file.getvalue())
