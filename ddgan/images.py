"""Image sets: what is read from disk, kept as uint8, and handed to training in batches of [-1, 1].

An image set is an official archive (archives.py), or a folder or zip of images: with a dataset.json, the convention of
StyleGAN and EDM, or with a folder for each class, or without classes. Files of strangers are read in memory, and
refused, with one sentence, before they can take much of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from . import archives

__all__ = [
    "CACHE", "OFFICIAL", "SETS", "ImageSet", "batches", "decode_pixels", "encode_pixels", "find_images", "from_uint8", "load_images",
    "read_images", "sheet", "stacked_mnist", "to_uint8",
]  # fmt: skip

SETS = {"cifar10": (3, 32, 32), "mnist": (1, 28, 28), "stackedmnist": (3, 28, 28)}  # known by name; the shape of an image
# the fingerprints of the training images
OFFICIAL = {"cifar10": "77961efd7928b438", "mnist": "2ba98d30237c6903", "stackedmnist": "f9d4aa8d5b757130"}
CACHE = Path("~/.cache/ddgan").expanduser()  # where a download goes unless told otherwise

# Pillow reads more: EPS and WMF run programs, ICO and ICNS hide an image whose size is not the one that they state
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA", "JPEG2000", "AVIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".tga", ".jp2", ".avif")
MAX_FILES = 300_000
MAX_READ = 20 * 2**20  # bytes in one piece: an image's file, or a zip's list of names
MAX_PIXELS = 2**25  # of one image: 100 MB once it is decoded
MAX_BYTES = 16 * 2**30  # of a set in memory


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

    def fingerprint(self) -> str:
        """What tells sets apart, whatever the order of their images: 16 hex digits of the sha256 of their sum, pixel by pixel."""
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
    """The uint8 image of `shape` that encode_pixels made; ValueError, short, where it is none."""
    size = int(np.prod(shape))
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        pixels = zlib.decompressobj().decompress(raw, size + 1)  # a bomb stops here
    except (binascii.Error, ValueError, zlib.error):
        raise ValueError(f"the pixels {text[:12]!r}… cannot be read") from None
    if len(pixels) != size:
        raise ValueError(f"an image here has {' x '.join(map(str, shape))} = {size} bytes, got {len(pixels)}{'+' * (len(pixels) > size)}")
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


def batches(data: ImageSet, batch: int, *, seed: int, flip: bool) -> Callable[[int, torch.Generator], Tensor]:
    """(step, noise) -> x_0 (batch, C, H, W) in [-1, 1], where noise is: every epoch each image once, in an order of its own.

    With `flip` half of them are mirrored, left to right. The order is a function of (seed, epoch), the mirroring one of
    (seed, step), so a resumed run sees what an unbroken one sees.
    """
    N, orders = len(data), {}

    def order(epoch: int) -> np.ndarray:
        if epoch not in orders:
            orders.clear()
            orders[epoch] = np.random.default_rng((seed, epoch)).permutation(N)
        return orders[epoch]

    def draw(step: int, noise: torch.Generator) -> Tensor:
        places = np.arange(step * batch, (step + 1) * batch)
        chosen = np.concatenate([order(epoch)[places[places // N == epoch] % N] for epoch in np.unique(places // N)])
        x_0 = from_uint8(data.images[chosen], noise.device)
        if flip:
            mirrored = torch.from_numpy(np.random.default_rng((seed, step, 1)).random(batch) < 0.5).to(noise.device)
            x_0 = torch.where(mirrored[:, None, None, None], x_0.flip(3), x_0)
        return x_0

    return draw


def load_images(name: str | Path, *, split: str = "train", size: int | None = None) -> ImageSet:
    """The images of a path, or of a name in SETS wherever `find_images` finds them; ValueError says how to get them."""
    if name not in SETS:
        return read_images(name, size=size, split=split)
    if (path := find_images(name, split)) is None:
        of = name.removeprefix("stacked")
        way = f"`python -m ddgan data {of}` downloads it, or give the path of {archives.SOURCES[of][1][0].file}"
        places = " or ".join(map(str, _places()))
        raise ValueError(f"{name} ({split}) is not in {places}: {way}, or let DDGAN_DATA name the directory where it is")
    images = read_images(path, size=size, split=split)
    return stacked_mnist(images, len(images), seed=0) if name == "stackedmnist" else images


def find_images(name: str, split: str = "train") -> Path | None:
    """Where the images of a name lie, in $DDGAN_DATA or CACHE: official files, packed or not, or NAME-SPLIT.zip.

    stackedmnist is made of mnist, and lies where that does.
    """
    if name not in SETS:
        raise ValueError(f"a name of images is one of {', '.join(SETS)}, got {name!r}")
    for place in _places():
        for path in archives.places(place, split)["cifar10" if name == "cifar10" else "mnist"]:
            if path.exists():
                return path
        if (path := place / f"{name.removeprefix('stacked')}-{split}.zip").exists():
            return path
    return None


def _places() -> list[Path]:
    return [Path(place).expanduser() for place in (os.environ.get("DDGAN_DATA"), CACHE) if place]


def read_images(path: str | Path, *, size: int | None = None, split: str = "train") -> ImageSet:
    """The images of an official archive or its folder, or of a zip or folder of images; nothing is written to disk.

    `size`: the middle square of each, resized to (size, size). `split`, train or test, chooses where there are both: in
    official archives, and in a folder with `train` and `test` inside. ValueError, one sentence, for what is not to be read.
    """
    path = Path(path)
    if split not in ("train", "test"):
        raise ValueError(f"split must be train or test, got {split!r}")
    if size is not None and not 1 <= size <= 1024:
        raise ValueError(f"size must be in 1..1024, got {size}")
    if not os.path.isfile(path) and not os.path.isdir(path):
        raise ValueError(f"{path} is no file or folder of images, and none of the names {', '.join(SETS)}")
    if official := archives.read(path, split):
        return ImageSet(_resized(official.images, size), official.labels, official.classes)
    if (path / "train").is_dir() and (path / "test").is_dir():
        path = path / split
    with _opened(path) as (files, read):
        names, labels, classes = _labelled(path, files, read)
        return ImageSet(_stacked(path, names, read, size), labels, classes)


def stacked_mnist(mnist: ImageSet, n: int, seed: int) -> ImageSet:
    """n images whose three channels are digits drawn at random, a, b and c: class 100 a + 10 b + c.

    A function of (mnist, n, seed). Its thousand classes are modes to cover (Metz et al., "Unrolled GANs", 2017).
    """
    if mnist.labels is None or mnist.shape[0] != 1:
        raise ValueError(f"digits to stack have labels and one channel, got images {tuple(mnist.shape)}")
    chosen = np.random.default_rng(seed).integers(len(mnist), size=(n, 3))
    classes = tuple(f"{number:03}" for number in range(1000))
    return ImageSet(mnist.images[chosen, 0], mnist.labels[chosen] @ np.array([100, 10, 1]), classes)


class _Bounded(io.FileIO):
    """A file that is not read in pieces of over MAX_READ bytes."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = os.fstat(self.fileno()).st_size - self.tell()
        if size > MAX_READ:
            raise ValueError(f"it wants {size:,} bytes read at once, at most {MAX_READ:,} are")
        return super().read(size)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """The names of the files in a folder or zip, and what reads one of them into memory."""

    def from_folder(name: str) -> bytes:
        with _Bounded(path / name) as file:
            return file.read()

    if path.is_dir():
        found = (file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        yield list(islice(found, MAX_FILES + 1)), from_folder
        return
    try:
        archive = zipfile.ZipFile(_Bounded(path))
    except Exception as error:  # zipfile lets through whatever a malformed list of names leads to
        raise ValueError(f"{path} is no zip or folder of images, and no official archive ({error})") from error
    with archive:
        yield archive.namelist(), lambda name: _unzipped(archive, name)


def _unzipped(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member, in memory, no larger than it claims to be and the claim not larger than MAX_READ."""
    info = archive.getinfo(name)
    if info.file_size > MAX_READ or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"a member must be stored or deflated, of at most {MAX_READ:,} bytes, got {info.file_size:,}")
    with archive.open(info) as file:
        return file.read(info.file_size)  # a bare read() unpacks all that there is, whatever was claimed


Labelled = tuple[list[str], np.ndarray | None, tuple[str, ...]]


def _labelled(path: Path, files: list[str], read: Callable[[str], bytes]) -> Labelled:
    """The names of the images in order, their labels and the classes: as dataset.json says, or a class for each folder."""
    images = sorted({name for name in files if name.lower().endswith(SUFFIXES) and not name.rpartition("/")[2].startswith(".")})
    if not images or len(files) > MAX_FILES:
        got = f"{len(images):,} in {len(files):,} files"
        raise ValueError(f"{path} must hold images ({' '.join(SUFFIXES)}), at most {MAX_FILES:,} files; got {got}")
    if "dataset.json" in files:
        return _described(path, images, read)
    folders = [name.rpartition("/")[0] for name in images]
    classes = sorted(set(folders))
    if len(classes) == 1:
        return images, None, ()
    number = {folder: index for index, folder in enumerate(classes)}
    return images, np.array([number[folder] for folder in folders], np.int64), tuple(classes)


def _described(path: Path, images: list[str], read: Callable[[str], bytes]) -> Labelled:
    """What dataset.json says: `labels`, null or a [name, class] for each image, in order; the names of `classes`."""
    what = f"dataset.json in {path}"
    try:
        data = read("dataset.json")
        if len(data) > 2**16 + 2**8 * len(images):
            raise ValueError(f"its {len(data):,} bytes are too many for {len(images):,} images")
        note = json.loads(data)
        pairs, classes = note.get("labels"), tuple(note.get("classes") or ())
        names, labels = ([*each] for each in zip(*pairs, strict=True)) if pairs is not None else (images, None)
        complete = len(names) == len(images) and set(names) == set(images)
    except Exception as error:  # what it is made of may be of any kind
        raise ValueError(f"{what} must be an object whose labels are null or a list of [name, class]: {error}") from error
    if not complete:
        raise ValueError(f"{what} must name each of the {len(images):,} images once, got {len(names):,} names")
    if not all(isinstance(name, str) for name in classes):
        raise ValueError(f"{what} must give the classes as a list of names")
    if labels is None:
        return names, None, classes
    if not all(type(k) is int and 0 <= k < (len(classes) or 10_000) for k in labels):
        raise ValueError(f"{what} must give each image the index of its class, from 0 to {(len(classes) or 10_000) - 1:,}")
    return names, np.array(labels, np.int64), classes


def _stacked(path: Path, names: list[str], read: Callable[[str], bytes], size: int | None) -> np.ndarray:
    """uint8 (N, C, H, W): C = 1 where all are grey, else 3. ValueError names the first image that cannot be read."""
    images = None
    for place, name in enumerate(names):
        try:
            pixels = _decoded(read(name), size)
        except Exception as error:  # Pillow's decoders raise of all kinds
            raise ValueError(f"{name} in {path} cannot be read as an image: {error}") from error
        if images is None:
            images = _empty(len(names), *pixels.shape)
        if pixels.shape[1:] != images.shape[2:]:
            sizes = " and ".join(f"{W} x {H}" for H, W in (images.shape[2:], pixels.shape[1:]))
            raise ValueError(f"{path} holds images of different sizes, {sizes}: give a size to crop and resize them to")
        if len(pixels) > images.shape[1]:  # the first in colour: until here all were grey
            grey, images = images, _empty(len(names), *pixels.shape)
            images[:place] = grey[:place]
        images[place] = pixels
    return images


def _decoded(data: bytes, size: int | None) -> np.ndarray:
    """uint8 (1 or 3, H, W) of an image's file; the size that it states is checked before a pixel is decoded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own check for bombs, which is laxer than ours, is a warning
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError:
            raise ValueError(f"it is none of {', '.join(FORMATS)}") from None
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"it has {image.width:,} x {image.height:,} pixels, at most {MAX_PIXELS:,} are decoded")
    if image.mode[0] in "IF":
        raise ValueError(f"its pixels are of mode {image.mode}, wanted 8 bits a channel")
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    ImageOps.exif_transpose(image, in_place=True)
    pixels = np.asarray(_fitted(image if image.mode == mode else image.convert(mode), size))
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)


def _fitted(image: Image.Image, size: int | None) -> Image.Image:
    """The middle square, resized to (size, size)."""
    if size is None or image.size == (size, size):
        return image
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)


def _resized(images: np.ndarray, size: int | None) -> np.ndarray:
    """uint8 (N, C, H, W) -> (N, C, size, size)."""
    if size is None or images.shape[2:] == (size, size):
        return images
    resized = _empty(*images.shape[:2], size, size)
    for place in np.ndindex(images.shape[:2]):
        resized[place] = _fitted(Image.fromarray(images[place]), size)
    return resized


def _empty(*shape: int) -> np.ndarray:
    """Room for uint8 images (N, C, H, W)."""
    if (total := math.prod(shape)) > MAX_BYTES:
        raise ValueError(f"images {shape} take {total:,} bytes of memory, at most {MAX_BYTES:,}: give a smaller size")
    return np.empty(shape, np.uint8)
