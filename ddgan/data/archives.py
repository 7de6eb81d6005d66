"""The official archives: CIFAR-10 (python and binary, packed or extracted) and MNIST (idx), read into memory only.

A packed archive is opened once its size and md5 are the original's, and nothing of it is written to disk. The python
batches are pickles. They are read for what they hold: each call that a pickle asks for is noted, and none is made.

CIFAR-10: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. MNIST: Y. LeCun, C. Cortes,
C. Burges.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import os
import pickle
import pickletools
import struct
import tarfile
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..errors import Refused

__all__ = ["CIFAR10", "MNIST", "SOURCES", "Archive", "Arrays", "NoSplit", "fetch", "places", "read"]


class NoSplit(Refused):
    """The set is here, but not the split of it that was asked for."""


class Arrays(NamedTuple):
    """images uint8 (N, C, H, W), labels int64 (N,), the classes' names."""

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]


class Archive(NamedTuple):
    """An official archive: its file's name, the folder inside ("" of a single file), its size in bytes, its md5."""

    file: str
    folder: str
    size: int
    md5: str


CIFAR10 = (
    Archive("cifar-10-python.tar.gz", "cifar-10-batches-py", 170_498_071, "c58f30108f718f92721af3b95e74349a"),
    Archive("cifar-10-binary.tar.gz", "cifar-10-batches-bin", 170_052_171, "c32a1d4ab5d03f1284b67883e8d87530"),
)
MNIST = (
    Archive("train-images-idx3-ubyte.gz", "", 9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    Archive("train-labels-idx1-ubyte.gz", "", 28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
    Archive("t10k-images-idx3-ubyte.gz", "", 1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
    Archive("t10k-labels-idx1-ubyte.gz", "", 4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
)
# what `fetch` can get: from where, and which files; MNIST's from torchvision's mirror, as its own server refuses
SOURCES = {
    "cifar10": ("https://www.cs.toronto.edu/~kriz/", CIFAR10[:1]),
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/", MNIST),
}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PIXELS = 3 * 32 * 32
MAX_BATCH = 32 * 2**20  # bytes: an official batch of 10,000 images has 31 million
MAX_OPCODES = 100_000  # of a pickle: an official batch has some 30,000
DIGITS = {"train": "train", "test": "t10k"}  # what names of MNIST's files begin with
MAX_DIGITS = 70_000

_CALLABLE = {
    "numpy ndarray",
    "numpy dtype",
    "numpy.core.multiarray _reconstruct",
    "numpy._core.multiarray _reconstruct",  # numpy 2
    "numpy._core.numeric _frombuffer",  # protocol 5
    "_codecs encode",  # Python 3's bytes in protocol 2
}
_OPCODES = set(
    "PROTO FRAME STOP MARK NONE NEWFALSE NEWTRUE BININT BININT1 BININT2 STRING BINSTRING SHORT_BINSTRING BINBYTES "
    "SHORT_BINBYTES BINBYTES8 BINUNICODE SHORT_BINUNICODE BINUNICODE8 BYTEARRAY8 BINPUT LONG_BINPUT MEMOIZE BINGET "
    "LONG_BINGET EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS GLOBAL "
    "STACK_GLOBAL REDUCE BUILD".split()
)


def read(path: Path, split: str) -> Arrays | None:
    """The images of an official archive, of its folder, or of torchvision's root; None if `path` is none of these.

    Refused, one sentence, where it is damaged, incomplete or not the original.
    """
    if path.name.endswith((".tar.gz", ".tgz")):
        return _cifar10(_unpacked(path, split))
    if path.is_file() and path.name.removesuffix(".gz").endswith("-ubyte"):
        path = path.parent.parent if path.parent.name == path.name else path.parent
    for suffix in ("", ".bin"):
        if (path / f"data_batch_1{suffix}").exists():
            return _cifar10((path / name, _bytes(path / name)) for name in _batches(split, suffix))
    idx = {each: [_idx_path(path, each, kind) for kind in ("images-idx3", "labels-idx1")] for each in DIGITS}
    if any(file.exists() for file in idx[split]):
        return _mnist(*idx[split])
    if any(file.exists() for files in idx.values() for file in files):
        raise NoSplit(f"{path} has no images of the split {split}: wanted {idx[split][0].name}")
    inside = [next((place for place in some if place.exists()), None) for some in places(path, split).values()]
    if all(inside):
        raise Refused(f"{path} holds CIFAR-10 and MNIST: give one of them, {inside[0]} or {inside[1]}")
    return read(next(filter(None, inside)), split) if any(inside) else None


def places(folder: Path, split: str) -> dict[str, list[Path]]:
    """Where in a folder the official CIFAR-10 and MNIST may lie; for each set, the fastest to read comes first."""
    return {
        "cifar10": [folder / name for archive in CIFAR10 for name in (archive.folder, archive.file)],
        "mnist": [_idx_path(folder / inside, split, "images-idx3") for inside in ("mnist", "MNIST/raw", "raw", "")],
    }


def fetch(name: str, folder: Path, watch: Callable[[int, int], None] = lambda done, size: None) -> Path:
    """Download the official files of a set of SOURCES into `folder`, or check those there; the path of the first.

    `watch(done, size)` is told the bytes as they come. A file gets its name once its size and md5 are right.
    """
    place, files = SOURCES[name]
    size, before = sum(file.size for file in files), 0
    for file in files:

        def arrived(done: int, before: int = before) -> None:
            watch(before + done, size)

        _fetch(place, file, folder / file.file, arrived)
        before += file.size
    return folder / files[0].file


def _fetch(place: str, wanted: Archive, target: Path, watch: Callable[[int], None]) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "w+b") as file:
                done = 0
                for chunk in _arriving(place + wanted.file):
                    done += file.write(chunk)
                    watch(done)
                    if done > wanted.size:
                        break
                _check(file, f"what {place}{wanted.file} sent", [wanted])
                os.fsync(file.fileno())
            os.replace(temporary, target)
        else:
            with open(target, "rb") as file:
                _check(file, target, [wanted])
            watch(wanted.size)
    except OSError as error:
        raise Refused(f"{target} cannot be written ({error.strerror})") from error
    finally:
        with suppress(OSError):  # it has its name, or never came to be
            temporary.unlink()


def _arriving(url: str) -> Iterator[bytes]:
    """The bytes behind a URL, as they come."""
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            while chunk := response.read(2**18):
                yield chunk
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise Refused(
            f"{url} cannot be downloaded ({reason}): bring the file from a machine that is online, "
            f"and give its path, or set DDGAN_DATA to its folder"
        ) from error


def _check(file: BinaryIO, name: str | Path, official: Sequence[Archive]) -> Archive:
    """Which of some official archives an open file is, rewound; Refused where its size or md5 is of none."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    likely = [archive for archive in official if archive.size == size]
    if not likely:
        wanted = " or ".join(f"{archive.size:,}" for archive in official)
        raise Refused(f"{name} is not an official archive, or not all of it: wanted {wanted} bytes, got {size:,}")
    md5 = hashlib.md5(usedforsecurity=False)
    while chunk := file.read(2**20):
        md5.update(chunk)
    file.seek(0)
    for archive in likely:
        if archive.md5 == md5.hexdigest():
            return archive
    raise Refused(f"{name} is damaged, or not the original: wanted md5 {likely[0].md5}, got {md5.hexdigest()}")


def _batches(split: str, suffix: str) -> list[str]:
    """The names of a split's batches, in order."""
    return [f"data_batch_{i}{suffix}" for i in range(1, 6)] if split == "train" else [f"test_batch{suffix}"]


def _unpacked(path: Path, split: str) -> Iterator[tuple[Path, bytes]]:
    """The batches of a split from a packed archive, in memory, in order."""
    try:
        with open(path, "rb") as file:
            archive = _check(file, path, CIFAR10)
            wanted = _batches(split, ".bin" if archive.folder.endswith("bin") else "")
            found = {}
            with tarfile.open(fileobj=file, mode="r:gz") as tar:
                for member in tar:
                    folder, _, name = member.name.rpartition("/")
                    if folder == archive.folder and name in wanted and member.isfile() and member.size <= MAX_BATCH:
                        found[name] = tar.extractfile(member).read()  # type: ignore[union-attr]  # it is a file
                    if len(found) == len(wanted):
                        break
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise Refused(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from error
    for name in wanted:
        if name not in found:
            raise Refused(f"{path} holds no {archive.folder}/{name}")
        yield path / name, found[name]


def _cifar10(batches: Iterator[tuple[Path, bytes]]) -> Arrays:
    """All records of the batches, in order."""
    parts = [(_records if path.suffix == ".bin" else _pickled)(data, path) for path, data in batches]
    images, labels = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Arrays(images.reshape(-1, 3, 32, 32), labels, CLASSES)


def _records(data: bytes, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (n, 3072) and int64 (n,) of a binary batch: records of one byte of class and 3072 of pixels."""
    if not data or len(data) % (1 + PIXELS):
        raise Refused(f"{path} is damaged: wanted records of {1 + PIXELS} bytes, got {len(data):,} bytes")
    records = np.frombuffer(data, np.uint8).reshape(-1, 1 + PIXELS)
    return records[:, 1:], _classes(records[:, 0], path)


def _classes(labels: np.ndarray, path: Path) -> np.ndarray:
    """uint8 (n,) in 0..9 -> int64 (n,)."""
    if labels.max() > 9:
        raise Refused(f"{path} is damaged: wanted labels in 0..9, got {labels.max()}")
    return labels.astype(np.int64)


class _Call:
    """A call that a pickle asks for, noted instead of made: its arguments, and the state that it would set."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = ()

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Whatever a pickle may name is `_Call`."""

    def find_class(self, module: str, name: str) -> type[_Call]:
        if f"{module} {name}" not in _CALLABLE:
            raise Refused(f"it asks for {f'{module} {name}'!r}")
        return _Call


def _noted(data: bytes) -> Any:
    """What a pickle holds. It is data here, not a program: nothing is called, and what it may name is listed.

    Enough of the pickle machine for what Python 2 and 3 write of dicts, lists, numbers, strings and numpy arrays.
    """
    for count, (opcode, value, _) in enumerate(pickletools.genops(data)):
        if count > MAX_OPCODES:
            raise Refused(f"it has more than {MAX_OPCODES:,} parts")
        if opcode.name not in _OPCODES:
            raise Refused(f"it uses {opcode.name}")
        if opcode.name == "LONG_BINPUT" and int(value or 0) > MAX_OPCODES:
            raise Refused(f"it numbers a part {value:,}")  # the unpickler would make room for as many
    return _Unpickler(io.BytesIO(data), encoding="bytes").load()


def _pickled(data: bytes, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (n, 3072) and int64 (n,) of a python batch: a pickled dict with `data` and `labels`."""
    try:
        batch = {_raw(key): value for key, value in _noted(data).items()}
        # bytes: 10,000 numbers of 0..255 pass, and nothing that is deeper than a list
        images, labels = _array(batch[b"data"]), np.frombuffer(bytes([*batch[b"labels"]]), np.uint8)
    except Exception as error:  # whatever a malformed pickle makes of the stack
        why = f": {str(error)[:200]}" if isinstance(error, ValueError) else ""
        raise Refused(f"{path} is damaged, or not a batch of CIFAR-10{why}") from error
    if images.shape != (len(labels), PIXELS) or not len(labels):
        raise Refused(f"{path} is damaged: it has {len(labels)} labels, and data of shape {images.shape}")
    return images, _classes(labels, path)


def _array(call: _Call) -> np.ndarray:
    """The array of bytes that numpy would have made, without asking numpy's own, more trusting, unpickler."""
    if call.state:
        _, shape, dtype, fortran, raw = call.state
    else:
        raw, dtype, shape, order = call.arguments
        fortran = order == "F"
    if _raw(dtype.arguments[0]) != b"u1":
        raise Refused("its data is not an array of bytes")
    return np.ascontiguousarray(np.frombuffer(_raw(raw), np.uint8).reshape(shape, order="F" if fortran else "C"))


def _raw(text: str | bytes | _Call) -> bytes:
    """Python 2's strings, which are bytes, however they were written."""
    plain = text.arguments[0] if isinstance(text, _Call) else text  # a call of encode
    return plain.encode("latin-1") if isinstance(plain, str) else plain


def _bytes(path: Path) -> bytes:
    """A batch's file, if it is not too large for one."""
    try:
        if path.stat().st_size > MAX_BATCH:
            raise Refused(f"{path} is larger than the {MAX_BATCH:,} bytes that a CIFAR-10 batch may have")
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"{path} cannot be read ({error.strerror})") from error


def _idx_path(folder: Path, split: str, kind: str) -> Path:
    """A file of MNIST, packed or not, its name with a dash or a dot (Kaggle, 7-Zip); the official one where none is."""
    names = [f"{DIGITS[split]}-{kind.replace('-', mark)}-ubyte" for mark in "-."]
    there = [*names, *(f"{name}/{name}" for name in names), *(f"{name}.gz" for name in names)]  # Kaggle has folders too
    return next((path for name in there if (path := folder / name).is_file()), folder / f"{names[0]}.gz")


def _mnist(images: Path, labels: Path) -> Arrays:
    """The digits of a pair of idx files."""
    digits, classes = _idx(images, (28, 28)), _idx(labels, ())
    if len(digits) != len(classes):
        raise Refused(f"{labels} has {len(classes):,} labels for the {len(digits):,} images of {images.name}")
    return Arrays(digits[:, None], _classes(classes, labels), tuple("0123456789"))


def _idx(path: Path, item: tuple[int, ...]) -> np.ndarray:
    """uint8 (N, *item) of an idx file: magic 8 and the number of dimensions, big-endian sizes, the bytes."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            header = file.read(8 + 4 * len(item))
            n = int.from_bytes(header[4:8], "big")
            wanted = struct.pack(f">4B{len(item)}I", 0, 0, 8, 1 + len(item), *item)
            if header[:4] + header[8:] != wanted or not 1 <= n <= MAX_DIGITS:
                raise Refused(
                    f"{path} is not a file of MNIST, or is damaged: its header is {header.hex(' ', 4) or 'missing'}"
                )
            values = np.empty((n, *item), np.uint8)
            # one byte more than there should be: reading to the end has gzip check its sum
            if file.readinto(values.data) != values.nbytes or file.read(1):
                raise Refused(f"{path} is damaged: wanted exactly {values.nbytes:,} bytes of data")
    except (OSError, EOFError, zlib.error) as error:
        raise Refused(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from error
    return values
