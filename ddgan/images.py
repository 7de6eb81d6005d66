"""Image sets: what is read from disk, kept as uint8, and handed to training in batches of [-1, 1].

An image set is an archive or a folder of images with an optional dataset.json, the convention of StyleGAN and EDM.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

__all__ = ["SETS", "ImageSet", "batches", "from_uint8", "read_images", "sheet", "to_uint8"]

SETS = {"cifar10": (3, 32, 32), "mnist": (1, 28, 28), "stackedmnist": (3, 28, 28)}  # known by name; the shape of an image


@dataclass(frozen=True, eq=False)
class ImageSet:
    """images uint8 (N, C, H, W); labels int64 (N,), or None where there are no classes; the classes' names."""

    images: np.ndarray
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> torch.Size:
        """The shape of one image, (C, H, W)."""
        return torch.Size(self.images.shape[1:])


def from_uint8(images: np.ndarray) -> Tensor:
    """uint8 (N, C, H, W) -> float32 in [-1, 1]: v / 127.5 - 1."""
    return torch.from_numpy(np.ascontiguousarray(images)).float() / 127.5 - 1


def to_uint8(x: Tensor) -> np.ndarray:
    """The nearest uint8 of images in [-1, 1], (N, C, H, W); what lies outside is clipped."""
    return ((x.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def sheet(images: np.ndarray, columns: int, gap: int = 1) -> Image.Image:
    """uint8 images (N, C, H, W) in rows of `columns`, white between them."""
    N, C, H, W = images.shape
    rows = -(-N // columns)
    canvas = np.full((rows * (H + gap) - gap, columns * (W + gap) - gap, 3), 255, np.uint8)
    for i, image in enumerate(images):
        y, x = (i // columns) * (H + gap), (i % columns) * (W + gap)
        canvas[y : y + H, x : x + W] = image.transpose(1, 2, 0)  # one channel is repeated
    return Image.fromarray(canvas)


def batches(data: ImageSet, batch: int, *, seed: int, flip: bool) -> Callable[[int, torch.Generator], Tensor]:
    """(step, noise) -> x_0 (batch, C, H, W) in [-1, 1]: every epoch each image once, in an order of its own.

    The order is a function of (seed, epoch) and `flip`, half of the images mirrored left to right, one of (seed, step),
    so a resumed run sees what an unbroken one sees.
    """
    N, orders = len(data), {}

    def order(epoch: int) -> np.ndarray:
        if epoch not in orders:
            orders.clear()
            orders[epoch] = np.random.default_rng((seed, epoch)).permutation(N)
        return orders[epoch]

    def draw(step: int, _: torch.Generator) -> Tensor:
        places = np.arange(step * batch, (step + 1) * batch)
        chosen = np.concatenate([order(epoch)[places[places // N == epoch] % N] for epoch in np.unique(places // N)])
        x = from_uint8(data.images[chosen])
        if flip:
            mirrored = np.random.default_rng((seed, step, 1)).random(batch) < 0.5
            x[mirrored] = x[mirrored].flip(-1)
        return x

    return draw


def read_images(path: str | Path) -> ImageSet:
    """The images of a zip with a dataset.json."""
    with zipfile.ZipFile(path) as archive:
        note = json.loads(archive.read("dataset.json"))
        names, labels = zip(*note["labels"], strict=True)
        images = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names])
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return ImageSet(np.ascontiguousarray(images), np.array(labels), tuple(note["classes"]))
