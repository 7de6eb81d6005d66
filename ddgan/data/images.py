"""Image sets: what is read from disk, kept as uint8, and handed to training in batches of [-1, 1].

An image set is an official archive (archives.py), or a folder or zip of pictures (folders.py).
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import Refused
from . import archives, folders
from .archives import NoSplit
from .folders import Watch, empty, middle

__all__ = [
    "CACHE", "LABELS", "OFFICIAL", "SETS", "ImageSet", "NoSplit", "batches", "decode_pixels", "encode_pixels",
    "find_images", "from_uint8", "held_out", "load_images", "read_images", "set_label", "sheet", "stacked_mnist",
    "to_uint8",
]  # fmt: skip

# known by name: the shape of an image
SETS = {"cifar10": (3, 32, 32), "mnist": (1, 28, 28), "stackedmnist": (3, 28, 28)}
# what people call them
LABELS = {"mnist": "MNIST", "cifar10": "CIFAR-10", "stackedmnist": "StackedMNIST"}
# the fingerprints of the training images
OFFICIAL = {"cifar10": "77961efd7928b438", "mnist": "2ba98d30237c6903", "stackedmnist": "f9d4aa8d5b757130"}
_HOME = os.path.expanduser("~")  # "~" itself where nobody knows of one
CACHE = Path(_HOME, ".cache", "ddgan") if os.path.isabs(_HOME) else None  # where a download goes unless told otherwise


def set_label(name: str) -> str:
    """What an image set is called; any other name is its own."""
    return LABELS.get(name, name)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """images uint8 (N, C, H, W); labels int64 (N,), or None where there are no classes; the classes' names.

    `notes` are sentences on how the files were understood: which split was read, what was left out. Refused for arrays
    of another type or shape, and labels without a name.
    """

    images: np.ndarray
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        of = np.asarray(self.images)
        if of.dtype != np.uint8 or of.ndim != 4 or of.shape[1] > 4:
            raise Refused(f"images must be uint8 (N, C, H, W), C at most 4, got {of.dtype} {of.shape}")
        known = None if self.labels is None else np.asarray(self.labels)
        if known is not None and (known.dtype.kind not in "iu" or known.shape != of.shape[:1]):
            raise Refused(f"labels must be whole numbers ({len(of)},), got {known.dtype} {known.shape}")
        if known is not None and not 0 <= known.min(initial=0) <= known.max(initial=0) < (
            len(self.classes) or math.inf
        ):
            most = f" below the {len(self.classes)} names of classes" * bool(self.classes)
            raise Refused(f"labels must be from 0 on{most}, got {known.min()} to {known.max()}")
        object.__setattr__(self, "images", of)
        object.__setattr__(self, "labels", known)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        kinds = ", ".join(self.classes[:10]) + (", ..." if len(self.classes) > 10 else "")
        labels = f"{self.known:,} classes{': ' * bool(kinds)}{kinds}" if self.known else "no classes"
        return f"{len(self):,} images of {' x '.join(map(str, self.shape))}, {labels}"

    @property
    def shape(self) -> torch.Size:
        """The shape of one image, (C, H, W)."""
        return torch.Size(self.images.shape[1:])

    @property
    def known(self) -> int:
        """How many classes its labels tell apart, 0 where it has none."""
        return 0 if self.labels is None else max(len(self.classes), int(self.labels.max(initial=-1)) + 1)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its classes, their numbers where they have none."""
        return self.classes or tuple(map(str, range(self.known)))

    @property
    def counts(self) -> list[int]:
        """How many images each of its classes has."""
        return [] if self.labels is None else np.bincount(self.labels, minlength=self.known).tolist()

    def part(self, places: np.ndarray) -> ImageSet:
        """The images at these places, in their order, with their labels."""
        return replace(self, images=self.images[places], labels=None if self.labels is None else self.labels[places])

    def fingerprint(self) -> str:
        """What tells sets apart, in whatever order: 16 hex digits of the sha256 of the sum of their images."""
        return hashlib.sha256(self.images.sum(0, dtype=np.uint64).tobytes()).hexdigest()[:16]


def from_uint8(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 (N, C, H, W) -> float32 in [-1, 1]: v / 127.5 - 1."""
    return torch.from_numpy(np.require(images, requirements=["C", "W"])).to(device).float() / 127.5 - 1


def to_uint8(x: Tensor) -> np.ndarray:
    """The nearest uint8 of images in [-1, 1], (N, C, H, W); what lies outside is clipped."""
    return ((x.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def encode_pixels(image: np.ndarray) -> str:
    """A uint8 image (C, H, W) as base64url of its deflated pixels: short enough for a link."""
    raw = zlib.compress(np.ascontiguousarray(image, np.uint8).tobytes(), 9)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_pixels(text: str, shape: Sequence[int]) -> np.ndarray:
    """The uint8 image of `shape` that encode_pixels made; Refused, with a short sentence, for any other text."""
    size = int(np.prod(shape))
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        pixels = zlib.decompressobj().decompress(raw, size + 1)  # a bomb stops here
    except (ValueError, zlib.error):
        raise Refused(f"the pixels {text[:12]!r}… cannot be read") from None
    if len(pixels) != size:
        raise Refused(
            f"an image here has {' x '.join(map(str, shape))} = {size} bytes, "
            f"got {len(pixels)}{'+' * (len(pixels) > size)}"
        )
    return np.frombuffer(pixels, np.uint8).reshape(shape).copy()


def sheet(images: np.ndarray, columns: int, gap: int = 1) -> Image.Image:
    """uint8 images (N, C, H, W) in rows of `columns`, white between them."""
    N, C, H, W = images.shape
    rows = -(-N // columns)
    canvas = np.full((rows * (H + gap) - gap, columns * (W + gap) - gap, 3), 255, np.uint8)
    for i, image in enumerate(images):
        y, x = (i // columns) * (H + gap), (i % columns) * (W + gap)
        canvas[y : y + H, x : x + W] = image.transpose(1, 2, 0)  # one channel is repeated
    return Image.fromarray(canvas)


def batches(
    data: ImageSet, batch: int, *, seed: int, flip: bool
) -> Callable[[int, torch.Generator], tuple[Tensor, Tensor | None]]:
    """(step, noise) -> x_0 (batch, C, H, W) in [-1, 1] and its classes, on the device of `noise`.

    Every epoch has each image once, in an order of its own. With `flip` half of them are mirrored, left to right. The
    order is a function of (seed, epoch), the mirroring one of (seed, step), so a resumed run sees the same batches.
    """
    N = len(data)
    orders: dict[int, np.ndarray] = {}

    def order(epoch: int) -> np.ndarray:
        if epoch not in orders:
            orders.clear()
            orders[epoch] = np.random.default_rng((seed, epoch)).permutation(N)
        return orders[epoch]

    def draw(step: int, noise: torch.Generator) -> tuple[Tensor, Tensor | None]:
        places = np.arange(step * batch, (step + 1) * batch)
        chosen = np.concatenate([order(epoch)[places[places // N == epoch] % N] for epoch in np.unique(places // N)])
        x_0 = from_uint8(data.images[chosen], noise.device)
        if flip:
            mirrored = torch.from_numpy(np.random.default_rng((seed, step, 1)).random(batch) < 0.5).to(noise.device)
            x_0 = torch.where(mirrored[:, None, None, None], x_0.flip(3), x_0)
        label = None if data.labels is None else torch.from_numpy(data.labels[chosen]).to(noise.device)
        return x_0, label

    return draw


def load_images(
    name: str | Path, *, split: str = "train", size: int | None = None, watch: Watch = lambda done, of: None
) -> ImageSet:
    """The images of a path, or of a name in SETS wherever `find_images` finds them; Refused says how to get them."""
    if name not in SETS:
        return read_images(name, size=size, split=split, watch=watch)
    if (path := find_images(name, split)) is None:
        of = name.removeprefix("stacked")
        way = f"`python -m ddgan data {of}` downloads it, or give the path of {archives.SOURCES[of][1][0].file}"
        places = " or ".join(map(str, _places()))
        where = f"in {places}" if places else "here"
        raise Refused(f"{name} ({split}) is not {where}: {way}, or let DDGAN_DATA name the directory where it is")
    # all of NAME-SPLIT.zip is the split
    images = read_images(path, size=size, split="train" if path.suffix == ".zip" else split, watch=watch)
    return stacked_mnist(images, len(images), seed=0) if name == "stackedmnist" else images


def find_images(name: str, split: str = "train") -> Path | None:
    """Where the images of a name lie, in $DDGAN_DATA or CACHE: official files, packed or not, or NAME-SPLIT.zip.

    stackedmnist is made of mnist, and lies where that does.
    """
    if name not in SETS:
        raise Refused(f"a name of images is one of {', '.join(SETS)}, got {name!r}")
    _check(split)
    for place in _places():
        for path in archives.places(place, split)["cifar10" if name == "cifar10" else "mnist"]:
            if path.exists():
                return path
        if (path := place / f"{name.removeprefix('stacked')}-{split}.zip").exists():
            return path
    return None


def _check(split: str) -> None:
    if split not in ("train", "test"):
        raise Refused(f"split must be train or test, got {split!r}")


def _places() -> list[Path]:
    return [Path(os.path.expanduser(place)) for place in (os.environ.get("DDGAN_DATA"), CACHE) if place]


def read_images(
    path: str | Path, *, size: int | None = None, split: str = "train", watch: Watch = lambda done, of: None
) -> ImageSet:
    """The images of an official archive or its folder, or of a zip or folder of pictures; nothing is written to disk.

    `size`: the middle square of each, resized to (size, size). `split`, train or test, chooses where there are both: in
    official archives, and where there are folders train and test (or val). `watch(done, of)` is told each picture.
    NoSplit where there is no such split; Refused, in one sentence, for what cannot be read.
    """
    path = Path(os.path.expanduser(path))
    _check(split)
    if size is not None and not 1 <= size <= 1024:
        raise Refused(f"size must be in 1..1024, got {size}")
    if not os.path.isfile(path) and not os.path.isdir(path):
        raise Refused(f"{path} is no file or folder of images, and none of the names {', '.join(SETS)}")
    if official := archives.read(path, split):
        return ImageSet(_resized(official.images, size), official.labels, official.classes)
    return ImageSet(*folders.read(path, size=size, split=split, watch=watch))


def held_out(data: ImageSet, share: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """(the rest, a share of every class drawn at random): at least one image of a class that has two, never all."""
    noise, chosen = np.random.default_rng(seed), np.zeros(len(data), bool)
    labels = np.zeros(len(data), np.int64) if data.labels is None else data.labels
    for label in np.unique(labels):
        own = noise.permutation(np.flatnonzero(labels == label))
        chosen[own[: min(len(own) - 1, max(1, round(share * len(own))))]] = True
    return data.part(~chosen), data.part(chosen)


def stacked_mnist(mnist: ImageSet, n: int, seed: int) -> ImageSet:
    """n images whose three channels are digits drawn at random, a, b and c: class 100 a + 10 b + c.

    A function of (mnist, n, seed). Its thousand classes are modes to cover (Metz et al., "Unrolled GANs", 2017).
    """
    if mnist.labels is None or mnist.shape[0] != 1:
        raise Refused(f"digits to stack have labels and one channel, got images {tuple(mnist.shape)}")
    chosen = np.random.default_rng(seed).integers(len(mnist), size=(n, 3))
    classes = tuple(f"{number:03}" for number in range(1000))
    return ImageSet(mnist.images[chosen, 0], mnist.labels[chosen] @ np.array([100, 10, 1]), classes)


def _resized(images: np.ndarray, size: int | None) -> np.ndarray:
    """uint8 (N, C, H, W) -> (N, C, size, size)."""
    if size is None or images.shape[2:] == (size, size):
        return images
    resized = empty(*images.shape[:2], size, size)
    for place in np.ndindex(images.shape[:2]):
        resized[place] = middle(Image.fromarray(images[place]), size)
    return resized
