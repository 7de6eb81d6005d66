"""Arrays as the page is sent them: pictures of densities, rounded coordinates; and answers as text or as bytes."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.images import sheet, to_uint8
from ..diffusion.mixture import Law
from ..diffusion.schedule import Schedule
from ..explorer.plane import LIMIT, centres, scale, width

__all__ = ["DENSITY_CELLS", "contact", "density", "encoded", "packed", "pictured", "quantised", "unpacked", "upright"]

DENSITY_CELLS = {1: 256, 2: 96}  # cells of a density along an axis, by the dimension of the data


def encoded(answer: Any) -> str:
    """Strict JSON of what the page draws; an array is its bytes in base64, a picture those of a PNG."""
    return json.dumps(answer, allow_nan=False, default=_base64)


def packed(answer: Any) -> bytes:
    """What the page draws as bytes: a JSON header, then the arrays as they are.

    Four bytes, little-endian: the length of the header. The header is strict JSON, in which {"$": [type, start, count]}
    stands for an array of so many numbers at this byte after the header. All arrays begin at a multiple of eight bytes.
    """
    parts: list[bytes] = []
    end = 0

    def placed(value: Any) -> dict[str, Any]:
        nonlocal end
        if not isinstance(value, np.ndarray):
            raise TypeError(f"the page is sent no {type(value).__name__}")
        data = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False).tobytes()
        start, padding = end, -len(data) % 8
        parts.extend((data, bytes(padding)))
        end += len(data) + padding
        return {"$": [value.dtype.name, start, value.size]}

    header = json.dumps(answer, allow_nan=False, default=placed).encode()
    header += b" " * (-(4 + len(header)) % 8)
    return b"".join((len(header).to_bytes(4, "little"), header, *parts))


def unpacked(data: bytes) -> Any:
    """What `packed` was given; an array comes back flat."""
    length = int.from_bytes(data[:4], "little")
    arrays = memoryview(data)[4 + length :]

    def found(part: dict[str, Any]) -> Any:
        if part.keys() != {"$"}:
            return part
        kind, start, count = part["$"]
        return np.frombuffer(arrays, np.dtype(kind).newbyteorder("<"), count, start)

    return json.loads(data[4 : 4 + length], object_hook=found)


def _base64(value: Any) -> str:
    if isinstance(value, Image.Image):
        value.save(file := io.BytesIO(), "png", compress_level=1)  # noise does not compress
        return base64.b64encode(file.getvalue()).decode()
    if isinstance(value, np.ndarray):
        return base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    raise TypeError(f"the page is sent no {type(value).__name__}")


def contact(images: Tensor, columns: int) -> Image.Image:
    """Images (N, C, H, W) in [-1, 1] as one sheet without gaps."""
    picture = sheet(to_uint8(images), columns, gap=0)
    return picture.convert("L") if images.shape[1] == 1 else picture


def quantised(states: Sequence[Tensor], limit: float) -> np.ndarray:
    """Points (n, D) of F states as int16 (F, n, D): coordinates in units of `plane.scale` of the view's limit."""
    return (torch.stack([*states]) / scale(limit)).round().clamp(-32767, 32767).to(torch.int16).numpy()


def density(law: Law, schedule: Schedule, shown: Sequence[int]) -> np.ndarray:
    """The density of q(x_t) over the view, one picture a state, uint8: (F, G, G) top row first, or (F, G) in 1-D.

    In 2-D the square root of the density over its own maximum, so that a picture shows thin and wide modes alike.
    """
    return np.stack([pictured(law.marginal(schedule.level(t)), width(law)) for t in shown])


def pictured(law: Law, limit: float) -> np.ndarray:
    """One picture of `density`: that of a law itself, in a view of this limit."""
    dim = law.shape[0]
    if dim == 1:
        p = law.widened((limit - LIMIT) / DENSITY_CELLS[1]).on_grid(centres(DENSITY_CELLS[1], limit))
        return (255 * p / p.max()).round().to(torch.uint8).numpy()
    widened = law.widened(limit / DENSITY_CELLS[2])  # so that a mode thinner than a pixel is seen
    p = upright(widened.on_grid(centres(DENSITY_CELLS[2], limit)))
    return (255 * (p / p.max()).sqrt()).round().to(torch.uint8).numpy()


def upright(lattice: Tensor) -> Tensor:
    """[x, y] with rising axes -> rows of a picture, the top one first; a line stays a line."""
    return lattice.T.flip(0) if lattice.ndim == 2 else lattice
