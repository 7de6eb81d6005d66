"""Folders and zips of pictures: which files are read, in which order and classes, and how a file becomes pixels.

A folder and a zip are both a list of (name, how to read it), and one set of rules takes either list:

1. Hidden and system files are not looked at: `.ipynb_checkpoints`, `__MACOSX`, `Thumbs.db`, ... A symbolic link is
   followed, and each file is read once.
2. Folders that everything lies in are looked through, down to the first that branches. The few pictures that lie there
   beside folders are left out.
3. Folders named train and test (or val) there are splits.
4. `dataset.json` gives order and classes (the convention of StyleGAN and EDM); without it each folder is a class.

What is left out is counted, and comes back in words. Transparent pixels show WHITE. Files of strangers are read in
memory, and refused, with one sentence, before they can take much of it.
"""

from __future__ import annotations

import io
import json
import math
import os
import posixpath
import re
import stat
import threading
import warnings
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from ..errors import Refused
from ..machine import cores
from .archives import NoSplit

__all__ = ["MAX_BYTES", "MAX_FILES", "MAX_PIXELS", "Pictures", "Watch", "empty", "middle", "read"]

# Pillow reads more: EPS and WMF run programs, ICO and ICNS hide an image whose size is not the one that they state
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA", "JPEG2000", "AVIF")
SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".tga", ".jp2",
    ".avif",
)  # fmt: skip
SYSTEM = {
    "__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "recycler", "system volume information", "lost+found",
    "thumbs.db", "ehthumbs.db", "desktop.ini",
}  # fmt: skip
SPLITS = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "val": "val", "valid": "val",
    "validation": "val",
}  # fmt: skip
WHITE = "white"  # under what is transparent: what the page puts under an uploaded picture

MAX_FILES = 300_000
MAX_READ = 20 * 2**20  # bytes of a zip's list of names, which is read in one piece
MAX_FILE = 48 * 2**20  # bytes of a picture's file
MAX_PIXELS = 2**25  # of a picture as it is decoded: 100 MB
MAX_PHOTO = 3 * 2**24  # of a JPEG that is decoded at 1/2 to 1/8: 50 megapixels, whose coefficients may take 300 MB
MAX_BYTES = 16 * 2**30  # of a set in memory

Reader = Callable[[], bytes]
Files = dict[str, Reader]
Watch = Callable[[int, int], None]


class Pictures(NamedTuple):
    """images uint8 (N, C, H, W); labels int64 (N,) or None; the classes' names; how the files were understood."""

    images: np.ndarray
    labels: np.ndarray | None
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def read(
    path: Path, *, split: str = "train", size: int | None = None, watch: Watch = lambda done, of: None
) -> Pictures:
    """The pictures of a folder or zip, of one split where it has splits; nothing is written to disk.

    `size`: the middle square of each, resized to (size, size). `watch(done, of)` is told of each picture, and (0, of)
    before. NoSplit where there is no `split` test; Refused, in one sentence, for what cannot be read.
    """
    left: Counter[str] = Counter()
    with _opened(path, left) as found:
        files = _readable(path, found, left)
        files, notes = _of_split(path, files, split, left)
        names, labels, classes, understood = _labelled(path, files)
        if left.total():
            understood.append(_said(left))
        images, transparent = _stacked(path, names, files, size, watch)
    if transparent:
        understood.append(f"transparent pixels show white, in {transparent:,} of {len(names):,} pictures")
    return Pictures(images, labels, classes, (*notes, *understood))


# ---------------------------------------------------------------- the list of files


class _Bounded(io.FileIO):
    """A file that is not read in pieces of over MAX_READ bytes."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = os.fstat(self.fileno()).st_size - self.tell()
        if size > MAX_READ:
            raise Refused(f"it wants {size:,} bytes read at once, at most {MAX_READ:,} are")
        return super().read(size)


@contextmanager
def _opened(path: Path, left: Counter[str]) -> Iterator[Iterator[tuple[str, Reader]]]:
    """The files in a folder or zip: names, parts between slashes of either kind, and what reads one into memory."""
    if path.is_dir():
        yield ((name, partial(_from_disk, file)) for name, file in _walked(path, left))
        return
    try:
        archive = zipfile.ZipFile(_Bounded(path))
    except Exception as error:  # zipfile lets through whatever a malformed list of names leads to
        raise Refused(f"{path} is no zip or folder of images, and no official archive ({error})") from error
    with archive:
        yield _listed(archive, left)


def _walked(root: Path, left: Counter[str]) -> Iterator[tuple[str, str]]:
    """(name, real path) of the files under a folder, each once: what lies there, then what symbolic links lead to."""
    folders, links, seen = [("", str(root))], deque[tuple[str, str]](), set[str]()
    while folders or links:
        name, place = folders.pop() if folders else links.popleft()
        real = os.path.realpath(place)
        if real in seen:  # a loop, or a link to what is read anyway
            left["repeated link{s}"] += os.path.isfile(real)
        elif os.path.isdir(real):
            seen.add(real)
            for entry in _entries(real, left, top=not name):
                inside = f"{name}/{entry.name}"
                if _hidden(entry.name):
                    continue
                if entry.is_symlink():
                    links.append((inside, entry.path))
                elif entry.is_dir():
                    folders.append((inside, entry.path))
                elif entry.is_file():
                    seen.add(entry.path)
                    yield inside, entry.path
        elif os.path.isfile(real):
            seen.add(real)
            yield name, real
        else:
            left["broken link{s}"] += not os.path.exists(real)
        if len(seen) > 2 * MAX_FILES:  # folders count too: a link may lead to all of a disk
            raise _too_many(root)


def _entries(folder: str, left: Counter[str], *, top: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        if top:
            raise Refused(f"{folder} cannot be read ({error.strerror})") from error
        left["folder{s} that may not be read"] += 1
        return []


def _from_disk(path: str) -> bytes:
    with open(path, "rb") as file:
        if (size := os.fstat(file.fileno()).st_size) > MAX_FILE:
            raise Refused(f"it has {size:,} bytes, at most {MAX_FILE:,} are read")
        return file.read(size)


def _listed(archive: zipfile.ZipFile, left: Counter[str]) -> Iterator[tuple[str, Reader]]:
    """The members of a zip that are files."""
    lock = threading.Lock()
    for member in archive.infolist():
        name = member.filename
        if not member.flag_bits & 0x800:  # its names should be in the code page of DOS, and macOS writes UTF-8
            try:
                name = name.encode("cp437").decode("utf-8")
            except UnicodeError:
                pass
        if stat.S_ISLNK(member.external_attr >> 16):
            left["link{s} inside the zip"] += 1
        elif not name.endswith(("/", "\\")):
            yield name, partial(_unzipped, archive, member, lock)


def _unzipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo, lock: threading.Lock) -> bytes:
    """A member, in memory, no larger than it claims to be and the claim not larger than MAX_FILE."""
    if member.file_size > MAX_FILE or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        got = f"at most {MAX_FILE:,} bytes, got {member.file_size:,}"
        raise Refused(f"a member must be stored or deflated, of {got}")
    with lock, archive.open(member) as file:
        return file.read(member.file_size)  # a bare read() unpacks all that there is, whatever was claimed


# ---------------------------------------------------------------- the rules over the list


def _hidden(part: str) -> bool:
    return part.startswith(".") or part.lower() in SYSTEM


def _readable(path: Path, found: Iterator[tuple[str, Reader]], left: Counter[str]) -> Files:
    """The visible pictures, and each dataset.json, by name: parts joined by /, fit to be printed."""
    files: Files = {}
    for count, (name, reader) in enumerate(found, 1):
        if count > MAX_FILES:
            raise _too_many(path)
        name = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", name)
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        if not parts or any(map(_hidden, parts)):
            continue
        name, suffix = "/".join(parts), posixpath.splitext(parts[-1])[1].lower()
        if suffix not in SUFFIXES and parts[-1] != "dataset.json":
            left[suffix[:12] or "without a suffix"] += 1
            continue
        left["file{s} of a name that comes again"] += name in files
        files[name] = reader
    if not any(map(_is_picture, files)):
        got = f"; {_said(left)}" if left.total() else ""
        raise Refused(f"{path} must hold images ({' '.join(SUFFIXES)}), got none{got}")
    return files


def _is_picture(name: str) -> bool:
    return not name.endswith("dataset.json")


def _too_many(path: Path) -> Refused:
    return Refused(f"{path} must hold images, at most {MAX_FILES:,} files; it holds more")


def _inner(files: Files, left: Counter[str]) -> tuple[Files, str]:
    """What the first folder that branches holds, and its name; without the few pictures that lie beside its folders."""
    way = ""
    while True:
        if common := posixpath.commonpath([posixpath.dirname(name) for name in files]):
            files = {name[len(common) + 1 :]: reader for name, reader in files.items()}
            way = posixpath.join(way, common)
        beside = [name for name in files if "/" not in name]
        if not beside or "dataset.json" in beside or 2 * len(beside) >= len(files):
            return files, way
        left["picture{s} beside the folders"] += len(beside)
        files = {name: reader for name, reader in files.items() if "/" in name}


def _of_split(path: Path, files: Files, split: str, left: Counter[str]) -> tuple[Files, list[str]]:
    """The files of one split and what to say of it; of a set without splits all are train, and NoSplit refuses test."""
    files, way = _inner(files, left)
    tops = {name: name.partition("/")[0] for name in files if "/" in name}
    kinds = {top: SPLITS.get(top.lower(), "") for top in sorted(set(tops.values()))}
    there = set(kinds.values()) - {""}
    flat = any("/" not in name for name in files)  # pictures, or the dataset.json that describes all
    if flat or not ("train" in there and len(there) > 1 or len(kinds) > 1 and all(kinds.values())):
        if split == "test" and not {SPLITS.get(part.lower()) for part in way.split("/")} & {"test", "val"}:
            raise NoSplit(f"{path} has no test split: wanted folders train and test (or val) inside")
        return files, []
    wanted = "val" if split == "test" and "test" not in there else split
    if wanted not in there:
        raise NoSplit(f"{path} has no split {split}: it holds {', '.join(kinds)}")
    chosen = {name.partition("/")[2]: reader for name, reader in files.items() if kinds[tops[name]] == wanted}
    left["picture{s} beside the splits"] += sum(not kinds[tops[name]] for name in files if _is_picture(name))
    taken, other = ([top for top in kinds if kinds[top] and (kinds[top] == wanted) == same] for same in (True, False))
    others = f", not those in {' and '.join(other)}" if other else ""
    return _inner(chosen, left)[0], [f"split {split}: the pictures in {' and '.join(taken)}{others}"]


Labelled = tuple[list[str], np.ndarray | None, tuple[str, ...], list[str]]


def _labelled(path: Path, files: Files) -> Labelled:
    """The pictures' names in order, labels and classes (of dataset.json, or a class for each folder), what to say."""
    names = sorted(filter(_is_picture, files))
    if "dataset.json" in files:
        return *_described(path, names, files["dataset.json"]), []
    if deeper := [name for name in files if not _is_picture(name)]:
        raise Refused(f"{path} holds {deeper[0]} among other folders: dataset.json must lie beside all it describes")
    folders = [name.rpartition("/")[0] for name in names]
    classes = sorted(set(folders))
    if len(classes) == 1:
        return names, None, (), []
    if "" in classes:
        return names, None, (), ["no classes: most pictures lie beside the folders"]
    inside = {SPLITS.get(part.lower()) for name in classes for part in name.split("/")}
    if "train" in inside and inside & {"test", "val"}:
        wanted = "wanted train and test (or val) at the top"
        raise Refused(f"{path} has splits inside its classes, as in {classes[0]}: {wanted}")
    number = {folder: index for index, folder in enumerate(classes)}
    return names, np.array([number[folder] for folder in folders], np.int64), tuple(classes), []


def _described(path: Path, images: list[str], reader: Reader) -> tuple[list[str], np.ndarray | None, tuple[str, ...]]:
    """What dataset.json says: `labels`, null or a [name, class] for each image, in order; the names of `classes`."""
    what = f"dataset.json in {path}"
    try:
        data = reader()
        if len(data) > 2**16 + 2**8 * len(images):
            raise Refused(f"its {len(data):,} bytes are too many for {len(images):,} images")
        note = json.loads(data)
        pairs, classes = note.get("labels"), tuple(note.get("classes") or ())
        names, labels = ([*each] for each in zip(*pairs, strict=True)) if pairs is not None else (images, None)
        complete = len(names) == len(images) and set(names) == set(images)
    except Exception as error:  # what it is made of may be of any kind
        wanted = "an object whose labels are null or a list of [name, class]"
        raise Refused(f"{what} must be {wanted}: {error}") from error
    if not complete:
        raise Refused(f"{what} must name each of the {len(images):,} images once, got {len(names):,} names")
    if not all(isinstance(name, str) for name in classes):
        raise Refused(f"{what} must give the classes as a list of names")
    if labels is None:
        return names, None, classes
    number = len(classes) or 10_000
    if not all(type(k) is int and 0 <= k < number for k in labels):
        raise Refused(f"{what} must give each image the index of its class, from 0 to {number - 1:,}")
    return names, np.array(labels, np.int64), classes


def _said(left: Counter[str]) -> str:
    """`23 files left out: 20 .heic, 3 broken links`."""
    total, shown = left.total(), sorted((+left).items(), key=lambda item: (-item[1], item[0]))[:6]
    kinds = [f"{n:,} {what if what[0] == '.' else what.replace('{s}', 's' * (n > 1))}" for what, n in shown]
    if rest := total - sum(n for _, n in shown):
        kinds.append(f"{rest:,} of other kinds")
    return f"{total:,} file{'s' * (total > 1)} left out: {', '.join(kinds)}"


# ---------------------------------------------------------------- pixels


def _stacked(path: Path, names: list[str], files: Files, size: int | None, watch: Watch) -> tuple[np.ndarray, int]:
    """uint8 (N, C, H, W), C = 1 where all are grey, else 3; how many were transparent.

    Refused names the first that cannot be read.
    """
    images, transparent = None, 0

    def picture(name: str) -> tuple[np.ndarray, bool]:
        try:
            return _decoded(files[name](), size)
        except Exception as error:  # Pillow's decoders raise of all kinds
            raise Refused(f"{name} in {path} cannot be read as an image: {error}") from error

    watch(0, len(names))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own check for bombs, which is laxer than ours, is a warning
        for place, (pixels, shows_white) in enumerate(_ahead(picture, names)):
            if images is None:
                images = empty(len(names), *pixels.shape)
            if pixels.shape[1:] != images.shape[2:]:
                sizes = " and ".join(f"{W} x {H}" for H, W in (images.shape[2:], pixels.shape[1:]))
                todo = "give a size to crop and resize them to"
                raise Refused(f"{path} holds images of different sizes, {sizes}: {todo}")
            if len(pixels) > images.shape[1]:  # the first in colour: until here all were grey
                grey, images = images, empty(len(names), *pixels.shape)
                images[:place] = grey[:place]
            images[place] = pixels
            transparent += shows_white
            watch(place + 1, len(names))
    assert images is not None  # a set has at least one name
    return images, transparent


def _ahead(task: Callable[[str], tuple[np.ndarray, bool]], names: list[str]) -> Iterator[tuple[np.ndarray, bool]]:
    """task(name) in order, on all cores (Pillow's decoders run side by side), a few ahead of who reads."""
    with ThreadPoolExecutor(cores(), "pictures") as pool:
        waiting: deque[Future[tuple[np.ndarray, bool]]] = deque()
        for name in names:
            waiting.append(pool.submit(task, name))
            if len(waiting) > 2 * cores():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Budget:
    """Room for so many pixels at a time: who wants more than is free waits."""

    def __init__(self, pixels: int) -> None:
        self.pixels = self.free = pixels
        self.changed = threading.Condition()

    @contextmanager
    def spent(self, pixels: int) -> Iterator[None]:
        wanted = min(pixels, self.pixels)
        with self.changed:
            self.changed.wait_for(lambda: self.free >= wanted)
            self.free -= wanted
        try:
            yield
        finally:
            with self.changed:
                self.free += wanted
                self.changed.notify_all()


_DECODING = _Budget(2**26)  # in the hands of decoders, of all threads together


def _decoded(data: bytes, size: int | None) -> tuple[np.ndarray, bool]:
    """uint8 (1 or 3, H, W) of a picture's file, and whether it was transparent. Sizes are checked before decoding."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise Refused(f"it is none of {', '.join(FORMATS)}") from None
    if "transparency" in image.info and [tile[3] for tile in image.tile] == ["RGB;16B"]:
        # Pillow keeps the upper 8 bits of each pixel, and all 16 of the colour that is transparent
        image.info["transparency"] = tuple(value >> 8 for value in image.info["transparency"])
    (W, H), jpeg = image.size, image.format in ("JPEG", "MPO")  # MPO: a JPEG with another behind it
    if jpeg and size and W * H <= MAX_PHOTO:
        image.draft(None, (2 * size, 2 * size))  # decodes at 1/2 to 1/8, which is still twice as large as wanted
    if image.width * image.height > MAX_PIXELS:
        otherwise = f" (of a JPEG {MAX_PHOTO:,}, where a size is given)" if jpeg else ""
        raise Refused(f"it has {W:,} x {H:,} pixels, at most {MAX_PIXELS:,} are decoded{otherwise}")
    if image.mode[0] in "IF":
        raise Refused(f"its pixels are of mode {image.mode}, wanted 8 bits a channel")
    with _DECODING.spent(W * H):
        ImageOps.exif_transpose(image, in_place=True)
        flat, transparent = _on_white(_square(image) if size else image)
        pixels = np.asarray(middle(flat, size) if size else flat)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1), transparent


def _on_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """The image in L or RGB, WHITE behind what is transparent; whether anything was."""
    flat = image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
    if not image.has_transparency_data:
        return flat, False
    alpha = (image if "A" in image.getbands() else image.convert("RGBA")).getchannel("A")
    flat.paste(WHITE, mask=ImageChops.invert(alpha))
    return flat, alpha.getextrema() != (255, 255)


def _square(image: Image.Image) -> Image.Image:
    """The middle square."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image if image.width == image.height else image.crop((left, top, left + side, top + side))


def middle(image: Image.Image, size: int) -> Image.Image:
    """The middle square, resized to (size, size)."""
    square = _square(image)
    return square if square.size == (size, size) else square.resize((size, size), Image.Resampling.LANCZOS)


def empty(*shape: int) -> np.ndarray:
    """Room for uint8 images (N, C, H, W); Refused where that is more than MAX_BYTES."""
    if (total := math.prod(shape)) > MAX_BYTES:
        raise Refused(f"images {shape} take {total:,} bytes of memory, at most {MAX_BYTES:,}: give a smaller size")
    return np.empty(shape, np.uint8)
