"""Image sets: official formats, written here as the originals are, and folders and zips; good, damaged and hostile."""

import gzip
import hashlib
import io
import json
import os
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddgan.cli import main
from ddgan.data import archives, folders, images
from ddgan.data.images import (
    ImageSet,
    NoSplit,
    batches,
    find_images,
    from_uint8,
    load_images,
    read_images,
    stacked_mnist,
    to_uint8,
)
from ddgan.errors import Refused

RANDOM = np.random.default_rng(0)


# --- writers: the official formats, byte for byte as they were written


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 and its numpy wrote: all strings as bytes, in protocol 2."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_bytes(self, value):
        if isinstance(value, str):
            value = value.encode("latin-1")
        short = len(value) < 256
        self.write(b"U" + bytes([len(value)]) + value if short else b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_bytes


def python_2(batch):
    file = io.BytesIO()
    Python2Pickler(file, 2).dump(batch)
    return file.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def python_batch(name, pixels, labels):
    return {
        b"batch_label": name.encode(),
        b"labels": [int(k) for k in labels],
        b"data": pixels,
        b"filenames": [b"%d.png" % i for i in range(len(labels))],
    }


def cifar10(n=4):
    """The batches of a small CIFAR-10: name -> (uint8 (n, 3072), uint8 (n,))."""
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    return {
        name: (RANDOM.integers(256, size=(n, 3072), dtype=np.uint8), RANDOM.integers(10, size=n, dtype=np.uint8))
        for name in names
    }


def python_files(batches, dump=python_2):
    files = {name: dump(python_batch(name, *batch)) for name, batch in batches.items()}
    return {
        **files,
        "batches.meta": dump({b"label_names": [name.encode() for name in archives.CLASSES]}),
        "readme.html": b"<html>",
    }


def binary_files(batches):
    return {f"{name}.bin": np.column_stack([labels, pixels]).tobytes() for name, (pixels, labels) in batches.items()}


def idx(values):
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def folder_of(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def tar_of(path, files, prefix=""):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{prefix}{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def zip_of(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def picture(pixels, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def pictures(n, *shape):
    return RANDOM.integers(256, size=(n, *shape), dtype=np.uint8)


@pytest.fixture
def official(monkeypatch):
    """Makes a small archive pass for the original,
    its size and md5 become the wanted ones, and be what `fetch` gets.
    """

    def bless(path):
        data = path.read_bytes()
        blessed = [
            a._replace(size=len(data), md5=hashlib.md5(data).hexdigest()) if a.file == path.name else a
            for a in archives.CIFAR10
        ]
        monkeypatch.setattr(archives, "CIFAR10", tuple(blessed))
        monkeypatch.setitem(archives.SOURCES, "cifar10", (f"{path.parent.as_uri()}/", blessed[:1]))
        return path

    return bless


@pytest.fixture
def python_archive(tmp_path, official):
    batches = cifar10()
    return official(tar_of(tmp_path / "cifar-10-python.tar.gz", python_files(batches), "cifar-10-batches-py/")), batches


@pytest.fixture
def digits():
    return ImageSet(pictures(50, 1, 28, 28), RANDOM.integers(10, size=50), tuple("0123456789"))


# --- the official archives


def expected(batches, split):
    chosen = [batch for name, batch in batches.items() if name.startswith("data" if split == "train" else "test")]
    pixels, labels = (np.concatenate(each) for each in zip(*chosen, strict=True))
    return pixels.reshape(-1, 3, 32, 32), labels


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("kind", ["python", "binary"])
@pytest.mark.parametrize("packed", [True, False])
def test_cifar10_is_what_its_archive_holds_in_its_order(tmp_path, official, kind, packed, split):
    batches = cifar10()
    files = python_files(batches) if kind == "python" else binary_files(batches)
    folder = "cifar-10-batches-py" if kind == "python" else "cifar-10-batches-bin"
    if packed:
        path = official(tar_of(tmp_path / f"cifar-10-{kind}.tar.gz", files, f"{folder}/"))
    else:
        path = folder_of(tmp_path / folder, files)
    data = read_images(path, split=split)
    pixels, labels = expected(batches, split)
    assert np.array_equal(data.images, pixels) and np.array_equal(data.labels, labels)
    assert data.labels.dtype == np.int64 and data.classes == archives.CLASSES
    assert {file.name for file in tmp_path.iterdir()} == {path.name}  # nothing was extracted


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_batches_that_python_3_wrote_are_read_too(tmp_path, protocol):
    batches = cifar10()
    path = folder_of(tmp_path, python_files(batches, lambda batch: pickle.dumps(batch, protocol)))
    assert np.array_equal(read_images(path).images, expected(batches, "train")[0])


def test_batches_in_fortran_order_are_read_too(tmp_path):
    batches = cifar10()
    in_columns = {name: (np.asfortranarray(pixels), labels) for name, (pixels, labels) in batches.items()}
    data = read_images(folder_of(tmp_path, python_files(in_columns)))
    assert np.array_equal(data.images, expected(batches, "train")[0]) and data.images.flags.c_contiguous


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("split, prefix", [("train", "train"), ("test", "t10k")])
def test_mnist_is_what_its_idx_files_hold(tmp_path, digits, packed, split, prefix):
    files = {
        f"{prefix}-images-idx3-ubyte": idx(digits.images[:, 0]),
        f"{prefix}-labels-idx1-ubyte": idx(digits.labels.astype(np.uint8)),
    }
    files = {f"{name}.gz": gzip.compress(data) for name, data in files.items()} if packed else files
    for path in (folder_of(tmp_path, files), tmp_path / next(iter(files))):
        data = read_images(path, split=split)
        assert np.array_equal(data.images, digits.images) and np.array_equal(data.labels, digits.labels)
        assert data.classes == tuple("0123456789")


@pytest.mark.parametrize("name", ["{}.idx{}-ubyte", "{}-idx{}-ubyte", "{0}-idx{1}-ubyte/{0}-idx{1}-ubyte"])
@pytest.mark.parametrize("inside", ["", "raw", "MNIST/raw", "mnist"])
def test_mnist_is_found_under_all_its_usual_names(tmp_path, digits, name, inside):
    """Kaggle's and 7-Zip's, in a folder of torchvision's or not."""
    files = {
        name.format("train-images", 3): idx(digits.images[:, 0]),
        name.format("train-labels", 1): idx(digits.labels.astype(np.uint8)),
    }
    folder_of(tmp_path / inside, files)
    data = read_images(tmp_path)
    assert np.array_equal(data.images, digits.images) and np.array_equal(data.labels, digits.labels)
    with pytest.raises(NoSplit, match="has no images of the split test: wanted t10k-images-idx3-ubyte"):
        read_images(tmp_path / inside, split="test")


def test_torchvisions_root_is_read_and_one_of_two_sets_is_asked_for(tmp_path, digits):
    batches = cifar10()
    folder_of(tmp_path / "cifar-10-batches-py", python_files(batches))
    assert np.array_equal(read_images(tmp_path).images, expected(batches, "train")[0])
    assert np.array_equal(read_images(tmp_path, split="test").images, expected(batches, "test")[0])
    folder_of(tmp_path / "MNIST" / "raw", {"train-images-idx3-ubyte": idx(digits.images[:, 0])})
    with pytest.raises(
        Refused,
        match="holds CIFAR-10 and MNIST: give one of them, .*cifar-10-batches-py or .*train-images-idx3-ubyte",
    ):
        read_images(tmp_path)


def test_stacked_mnist_is_three_digits_and_their_number(digits):
    stacked = stacked_mnist(digits, 200, seed=1)
    assert stacked.images.shape == (200, 3, 28, 28) and stacked.labels.min() >= 0 and len(stacked.classes) == 1000
    for image, label in zip(stacked.images[:20], stacked.labels[:20], strict=True):
        for channel, digit in zip(image, stacked.classes[label], strict=True):
            assert any(np.array_equal(channel, own) for own in digits.images[digits.labels == int(digit), 0])
    again, other = stacked_mnist(digits, 200, seed=1), stacked_mnist(digits, 200, seed=2)
    assert np.array_equal(stacked.images, again.images) and np.array_equal(stacked.labels, again.labels)
    assert not np.array_equal(stacked.labels, other.labels)
    with pytest.raises(Refused, match="one channel"):
        stacked_mnist(stacked, 3, seed=0)


# --- folders and zips


@pytest.mark.parametrize("pack", [folder_of, zip_of])
def test_each_folder_of_images_is_a_class(tmp_path, pack):
    x = pictures(3, 8, 6, 3)
    files = {
        "dog/2.png": picture(x[2]),
        "cat/1.bmp": picture(x[1], "BMP"),
        "cat/0.webp": picture(x[0], "WEBP", lossless=True),
    }
    data = read_images(pack(tmp_path / "pets", {**files, "cat/notes.txt": b"-", "cat/._0.png": b"-"}))
    assert np.array_equal(data.images, x.transpose(0, 3, 1, 2)) and data.images.flags.c_contiguous
    assert data.labels.tolist() == [0, 0, 1] and data.classes == ("cat", "dog")


@pytest.mark.parametrize("pack", [folder_of, zip_of])
def test_images_side_by_side_have_no_classes(tmp_path, pack):
    x = pictures(2, 5, 5, 3)
    data = read_images(pack(tmp_path / "flat", {"in/b.png": picture(x[1]), "in/a.png": picture(x[0])}))
    assert np.array_equal(data.images, x.transpose(0, 3, 1, 2)) and data.labels is None and data.classes == ()


@pytest.mark.parametrize("pack", [folder_of, zip_of])
@pytest.mark.parametrize(
    "note, labels, classes",
    [
        ({"labels": [["0/b.png", 1], ["0/a.png", 0]], "classes": ["cat", "dog"]}, [1, 0], ("cat", "dog")),
        ({"labels": [["0/b.png", 7], ["0/a.png", 7]]}, [7, 7], ()),
        ({"labels": None}, None, ()),
        ({}, None, ()),
    ],
)
def test_dataset_json_gives_order_labels_and_classes(tmp_path, pack, note, labels, classes):
    x = pictures(2, 5, 5, 3)
    data = read_images(
        pack(
            tmp_path / "set",
            {"0/a.png": picture(x[0]), "0/b.png": picture(x[1]), "dataset.json": json.dumps(note).encode()},
        )
    )
    in_order = x if labels is None else x[::-1]
    assert np.array_equal(data.images, in_order.transpose(0, 3, 1, 2)) and data.classes == classes
    assert (data.labels is None and labels is None) or data.labels.tolist() == labels


def test_a_folder_with_train_and_test_inside_has_both_splits(tmp_path):
    x = pictures(3, 4, 4)
    folder_of(tmp_path, {"train/a.png": picture(x[0]), "train/b.png": picture(x[1]), "test/a.png": picture(x[2])})
    assert np.array_equal(read_images(tmp_path).images[:, 0], x[:2])
    assert np.array_equal(read_images(tmp_path, split="test").images[:, 0], x[2:])


def test_grey_stays_one_channel_only_where_all_are(tmp_path):
    grey, colour = pictures(2, 4, 4), pictures(1, 4, 4, 3)
    files = {"a.png": picture(grey[0]), "b.png": picture(grey[1])}
    assert np.array_equal(read_images(folder_of(tmp_path, files)).images, grey[:, None])
    data = read_images(folder_of(tmp_path, {"c.png": picture(colour[0])}))
    assert np.array_equal(data.images[:2], np.repeat(grey[:, None], 3, axis=1))
    assert np.array_equal(data.images[2], colour[0].transpose(2, 0, 1))


@pytest.mark.parametrize("mode, channels", [("1", 1), ("LA", 1), ("P", 3), ("RGBA", 3), ("CMYK", 3)])
def test_every_mode_of_8_bits_is_read(tmp_path, mode, channels):
    Image.fromarray(pictures(1, 4, 4, 3)[0]).convert(mode).save(tmp_path / "a.tiff")
    assert read_images(tmp_path).shape == (channels, 4, 4)


def test_size_takes_the_middle_square(tmp_path):
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200  # what the crop is to see
    files = {"a.png": picture(wide), "b.png": picture(wide.transpose(1, 0, 2)), "c.png": picture(wide[:, 8:16])}
    data = read_images(folder_of(tmp_path, files), size=4)
    assert data.images.shape == (3, 3, 4, 4) and (data.images == 200).all()


def test_size_holds_for_official_archives_too(python_archive):
    path, _ = python_archive
    whole, half = read_images(path), read_images(path, size=16)
    assert half.images.shape == (20, 3, 16, 16) and np.array_equal(half.labels, whole.labels)
    plane = Image.fromarray(whole.images[3, 1]).resize((16, 16), Image.Resampling.LANCZOS)
    assert np.array_equal(half.images[3, 1], np.asarray(plane))


def test_a_photo_lies_as_the_camera_was_held(tmp_path):
    x = np.zeros((2, 4, 3), np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn to the right
    Image.fromarray(x).save(tmp_path / "a.png", exif=turned)
    assert read_images(tmp_path).shape == (3, 4, 2)


# --- names


def test_a_name_is_looked_for_in_ddgan_data_then_in_the_cache(tmp_path, monkeypatch, digits):
    own, cache = tmp_path / "own", tmp_path / "cache"
    own.mkdir(), cache.mkdir()
    monkeypatch.setenv("DDGAN_DATA", str(own))
    monkeypatch.setattr(images, "CACHE", cache)
    assert find_images("cifar10") is None and find_images("stackedmnist") is None
    later = zip_of(cache / "cifar10-train.zip", {"a.png": picture(pictures(1, 32, 32, 3)[0])})
    assert find_images("cifar10") == later and find_images("cifar10", "test") is None
    packed = tar_of(own / "cifar-10-python.tar.gz", {})
    assert find_images("cifar10") == find_images("cifar10", "test") == packed
    unpacked = folder_of(own / "cifar-10-batches-py", python_files(cifar10()))
    assert find_images("cifar10") == unpacked and load_images("cifar10", split="test").images.shape == (4, 3, 32, 32)
    files = {
        "train-images-idx3-ubyte.gz": idx(digits.images[:, 0]),
        "train-labels-idx1-ubyte.gz": idx(digits.labels.astype(np.uint8)),
    }
    folder_of(own / "MNIST" / "raw", {name: gzip.compress(data) for name, data in files.items()})
    assert np.array_equal(load_images("mnist").images, digits.images)
    assert np.array_equal(load_images("stackedmnist", size=32).labels, stacked_mnist(digits, 50, seed=0).labels)
    assert load_images("stackedmnist", size=32).shape == (3, 32, 32)


@pytest.mark.parametrize(
    "name, way",
    [
        ("cifar10", "python -m ddgan data cifar10"),
        ("mnist", "python -m ddgan data mnist"),
        ("stackedmnist", "data mnist.*train-images-idx3"),
    ],
)
def test_where_there_is_none_one_sentence_says_how_to_get_it(tmp_path, monkeypatch, name, way):
    monkeypatch.setenv("DDGAN_DATA", str(tmp_path / "none"))
    monkeypatch.setattr(images, "CACHE", tmp_path)
    with pytest.raises(Refused, match=way) as error:
        load_images(name)
    assert str(tmp_path / "none") in str(error.value) and "\n" not in str(error.value)


# --- hostile and damaged files: one sentence, little memory, nothing executed, nothing written


class Evil:
    """Unpickled freely, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def packed(files, prefix="cifar-10-batches-py/"):
    def make(folder, official):
        return official(tar_of(folder / "cifar-10-python.tar.gz", files, prefix))

    return make


def damaged_archive(change):
    """An archive that was the original before `change` came over its bytes."""

    def make(folder, official):
        path = packed(python_files(cifar10()))(folder, official)
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def broken_original(data):
    """An archive whose size and md5 are right, and the rest is not."""

    def make(folder, official):
        (folder / "cifar-10-python.tar.gz").write_bytes(data)
        return official(folder / "cifar-10-python.tar.gz")

    return make


def linked(folder, official):
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as tar:
        for name in python_files(cifar10()):
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(member)
    return official(folder / "cifar-10-python.tar.gz")


def batch_file(data):
    """An extracted folder with this as its first batch."""

    def make(folder, official):
        return folder_of(folder, {**python_files(cifar10()), "data_batch_1": data})

    return make


def batch(dump=pickle.dumps, **parts):
    whole = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1], **parts}
    return batch_file(dump({key: value for key, value in whole.items() if value is not None}))


def binary_file(data):
    def make(folder, official):
        return folder_of(folder, {**binary_files(cifar10()), "data_batch_1.bin": data})

    return make


def idx_files(images=None, labels=None, pack=gzip.compress):
    images = idx(np.zeros((3, 28, 28), np.uint8)) if images is None else images
    labels = idx(np.zeros(3, np.uint8)) if labels is None else labels

    def make(folder, official):
        return folder_of(
            folder, {"train-images-idx3-ubyte.gz": pack(images), "train-labels-idx1-ubyte.gz": gzip.compress(labels)}
        )

    return make


def zipped(files, change=lambda data: data):
    def make(folder, official):
        path = zip_of(folder / "set.zip", files)
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def described(note):
    data = note if isinstance(note, bytes) else json.dumps(note).encode()
    return zipped({"a.png": DOT, "b.png": DOT, "dataset.json": data})


def one_folder(files):
    return lambda folder, official: folder_of(folder, files)


def flipped(data, place=None):
    place = len(data) // 2 if place is None else place
    return data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(side):
    """A PNG of side x side pixels, all of them there, in a thousandth of their size."""
    rows = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    data = b"".join(rows.compress(row) for _ in range(side)) + rows.flush()
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def claiming(size):
    """Makes the one member of a zip say that it unpacks to `size` bytes."""

    def change(data):
        entry = data.index(b"PK\1\2") + 24
        return data[:22] + struct.pack("<I", size) + data[26:entry] + struct.pack("<I", size) + data[entry + 4 :]

    return change


def deflated(name, data, kind=zipfile.ZIP_DEFLATED, change=lambda data: data):
    def make(folder, official):
        with zipfile.ZipFile(folder / "set.zip", "w", kind) as archive:
            archive.writestr(name, data)
        (folder / "set.zip").write_bytes(change((folder / "set.zip").read_bytes()))
        return folder / "set.zip"

    return make


def laughing():
    """A list of lists of lists, each ten times the one before: 12 lines of pickle, 10^12 items for who counts them."""
    items = [0] * 10
    for _ in range(11):
        items = [items] * 10
    return items


def knotted():
    items = []
    items.append(items)
    return items


DOT = picture(np.zeros((4, 4, 3), np.uint8))
DEEP = b"[" * 60_000
GIF = (
    b"GIF89a"
    + struct.pack("<HH", 60_000, 60_000)
    + b"\0\0\0,\0\0\0\0"
    + struct.pack("<HH", 60_000, 60_000)
    + b"\0\2\2D\1\0;"
)
BMP = b"BM" + struct.pack("<IIIIiiHHIIIIII", 60, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n"
NUMPY = b"cnumpy\nndarray\n"

HOSTILE = {
    "archive: empty": (damaged_archive(lambda data: b""), "not all of it: wanted .* bytes, got 0"),
    "archive: truncated": (damaged_archive(lambda data: data[:-1]), "not all of it"),
    "archive: longer": (damaged_archive(lambda data: data + b"!"), "not all of it"),
    "archive: flipped byte": (damaged_archive(flipped), "wanted md5"),
    "archive: no gzip": (broken_original(b"hello"), "cannot be read"),
    "archive: no tar": (broken_original(gzip.compress(b"hello" * 1000)), "cannot be read"),
    "archive: half a gzip": (broken_original(gzip.compress(RANDOM.bytes(5000))[:3000]), "cannot be read"),
    "archive: a batch missing": (
        packed(dict([*python_files(cifar10()).items()][1:])),
        "holds no cifar-10-batches-py/data_batch_1",
    ),
    "archive: traversal": (packed(python_files(cifar10()), "cifar-10-batches-py/../../"), "holds no"),
    "archive: absolute names": (packed(python_files(cifar10()), "/cifar-10-batches-py/"), "holds no"),
    "archive: links": (linked, "holds no"),
    "archive: a batch of 40 MB": (packed({"data_batch_1": b"\0" * (40 << 20)}), "holds no"),
    "archive: a hostile pickle": (
        packed({**python_files(cifar10()), "data_batch_1": pickle.dumps(Evil(Path("x")), 2)}),
        "it asks for",
    ),
    "batch: empty": (batch_file(b""), "damaged, or not a batch"),
    "batch: text": (batch_file(b"hello"), "damaged, or not a batch"),
    "batch: truncated": (batch_file(python_files(cifar10())["data_batch_1"][:-100]), "damaged, or not a batch"),
    "batch: cut in the pixels": (batch_file(python_files(cifar10())["data_batch_1"][:3000]), "damaged, or not a batch"),
    "batch: over 32 MB": (batch_file(b"\0" * (33 << 20)), "larger than"),
    "batch: os.system": (batch_file(b"cos\nsystem\n(S'true'\ntR."), "asks for 'os system'"),
    "batch: eval, protocol 4": (
        batch_file(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R."),
        "asks for 'builtins eval'",
    ),
    "batch: a name of two lines": (batch_file(b"\x80\x04\x8c\x03a\nb\x8c\x01c\x93."), "asks for"),
    "batch: instance": (batch_file(b"(S'true'\nios\nsystem\n."), "it uses"),
    "batch: object": (batch_file(b"(cnumpy\ndtype\nS'O'\no."), "it uses"),
    "batch: new object": (batch_file(b"\x80\x02" + NUMPY + b")\x81."), "it uses NEWOBJ"),
    "batch: extension": (batch_file(b"\x80\x02\x82\x01."), "it uses EXT1"),
    "batch: persistent": (batch_file(b"Px\n."), "it uses PERSID"),
    "batch: a memo of 4 billion": (batch_file(b"\x80\x02]r\xff\xff\xff\xff."), "damaged, or not a batch"),
    "batch: a string of 2 GB that is not there": (
        batch_file(b"\x80\x02T\xff\xff\xff\x7fabc."),
        "damaged, or not a batch",
    ),
    "batch: a frame of 2^63": (batch_file(b"\x80\x04\x95" + b"\xff" * 8 + b"."), "damaged, or not a batch"),
    "batch: millions of lists": (batch_file(b"]" * 10**6 + b"."), "more than"),
    "batch: nothing on the stack": (batch_file(b"\x80\x02u."), "damaged, or not a batch"),
    "batch: built out of nothing": (batch_file(b"\x80\x02}}b."), "damaged, or not a batch"),
    "batch: a list": (batch_file(pickle.dumps([1, 2])), "damaged, or not a batch"),
    "batch: no data": (batch(data=None), "not a batch of CIFAR-10$"),
    "batch: no labels": (batch(labels=None), "not a batch of CIFAR-10$"),
    "batch: data of text": (batch(data="pixels"), "damaged, or not a batch"),
    "batch: numbers of 8 bytes": (batch(data=np.zeros((2, 3072))), "not an array of bytes"),
    "batch: objects": (batch(data=np.array([[Evil(Path("x"))]])), "it asks for"),
    "batch: other shape": (batch(data=np.zeros((2, 3071), np.uint8)), "shape .2, 3071."),
    "batch: no images": (batch(data=np.zeros((0, 3072), np.uint8), labels=[]), "0 labels"),
    "batch: a huge shape": (
        batch_file(python_files(cifar10())["data_batch_1"].replace(b"K\x04M\x00\x0c", b"J\xff\xff\xff\x7fM\x00\x0c")),
        "reshape",
    ),
    "batch: fewer labels": (batch(labels=[1]), "1 labels"),
    "batch: labels of text": (batch(labels=["a", "b"]), "damaged, or not a batch"),
    "batch: labels as one number": (batch(labels=10**9), "damaged, or not a batch"),
    "batch: a label of 10": (batch(labels=[0, 10]), "labels in 0..9, got 10"),
    "batch: a label of -1": (batch(labels=[0, -1]), "damaged, or not a batch"),
    "batch: a billion laughs": (batch(labels=laughing()), "damaged, or not a batch"),
    "batch: labels that hold themselves": (batch(labels=knotted()), "damaged, or not a batch"),
    "batch: one missing": (
        one_folder({"data_batch_1": python_files(cifar10())["data_batch_1"]}),
        "data_batch_2 cannot be read",
    ),
    "binary: empty": (binary_file(b""), "records of 3073 bytes, got 0"),
    "binary: truncated": (binary_file(bytes(3073 * 3 - 1)), "records of 3073 bytes"),
    "binary: a label of 10": (binary_file(b"\x0a" + bytes(3072)), "labels in 0..9, got 10"),
    "binary: one missing": (one_folder({"data_batch_1.bin": bytes(3073)}), "data_batch_2.bin cannot be read"),
    "idx: empty": (idx_files(images=b""), "header"),
    "idx: not gzip": (idx_files(pack=lambda data: data), "cannot be read"),
    "idx: labels for images": (idx_files(images=idx(np.zeros(3, np.uint8))), "header"),
    "idx: other size": (idx_files(images=idx(np.zeros((3, 32, 32), np.uint8))), "header"),
    "idx: four billion": (idx_files(images=b"\0\0\x08\3" + struct.pack(">III", 2**32 - 1, 28, 28)), "header"),
    "idx: none": (idx_files(images=idx(np.zeros((0, 28, 28), np.uint8))), "header"),
    "idx: truncated": (idx_files(images=idx(np.zeros((3, 28, 28), np.uint8))[:-1]), "wanted exactly"),
    "idx: longer": (idx_files(images=idx(np.zeros((3, 28, 28), np.uint8)) + b"!"), "wanted exactly"),
    "idx: bomb": (idx_files(images=idx(np.zeros((3, 28, 28), np.uint8)) + bytes(10**8)), "wanted exactly"),
    "idx: truncated gzip": (idx_files(pack=lambda data: gzip.compress(data)[:-9]), "cannot be read"),
    "idx: flipped byte": (idx_files(pack=lambda data: flipped(gzip.compress(data, 0), 500)), "cannot be read"),
    "idx: fewer labels": (idx_files(labels=idx(np.zeros(2, np.uint8))), "2 labels for the 3 images"),
    "idx: a label of 10": (idx_files(labels=idx(np.array([1, 2, 10], np.uint8))), "labels in 0..9, got 10"),
    "idx: no labels": (one_folder({"train-images-idx3-ubyte": idx(np.zeros((3, 28, 28), np.uint8))}), "cannot be read"),
    "zip: empty file": (zipped({}, lambda data: b""), "no zip or folder"),
    "zip: text": (zipped({}, lambda data: b"hello"), "no zip or folder"),
    "zip: nothing inside": (zipped({}), "must hold images"),
    "zip: no images": (zipped({"notes.txt": b"hello"}), "must hold images"),
    "zip: truncated": (zipped({"a.png": DOT}, lambda data: data[:-30]), "no zip or folder"),
    "zip: flipped byte": (zipped({"a.png": DOT}, lambda data: flipped(data, 60)), "a.png in .* cannot be read"),
    "zip: names that are not there": (
        zipped({"a.png": DOT}, lambda data: data.replace(b"PK\1\2", b"PK\1\3")),
        "no zip or folder",
    ),
    "zip: a member of 1 GB": (deflated("a.png", DOT, change=claiming(2**30)), "at most"),
    "zip: a member longer than it says": (deflated("a.png", bytes(10**8), change=claiming(100)), "cannot be read"),
    "zip: packed by lzma": (deflated("a.png", bytes(10**6), zipfile.ZIP_LZMA), "stored or deflated"),
    "zip: packed by bzip2": (deflated("a.png", bytes(10**6), zipfile.ZIP_BZIP2), "stored or deflated"),
    "json: flipped byte": (
        zipped({"a.png": DOT, "dataset.json": b'{"labels": null}'}, lambda data: data.replace(b"null", b"NULL", 1)),
        "CRC",
    ),
    "zip: encrypted": (
        zipped({"a.png": DOT}, lambda data: data.replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1")),
        "encrypted",
    ),
    "json: text": (described(b"hello"), "must be an object whose labels are"),
    "json: not unicode": (described(b'{"labels": "\xff"}'), "must be an object whose labels are"),
    "json: deep": (described(DEEP), "must be an object whose labels are"),
    "json: long": (described(b" " * 70_000), "bytes are too many for 2 images"),
    "json: a list": (described([]), "must be an object whose labels are"),
    "json: labels by name": (described({"labels": {"a.png": 0, "b.png": 1}}), "must be an object whose labels are"),
    "json: labels alone": (described({"labels": [0, 1]}), "must be an object whose labels are"),
    "json: no labels listed": (described({"labels": []}), "must be an object whose labels are"),
    "json: classes as a number": (described({"labels": None, "classes": 10}), "must be an object whose labels are"),
    "json: one image missing": (described({"labels": [["a.png", 0]]}), "each of the 2 images once, got 1"),
    "json: one image twice": (described({"labels": [["a.png", 0], ["b.png", 0], ["a.png", 0]]}), "once, got 3"),
    "json: a file elsewhere": (described({"labels": [["a.png", 0], ["../../etc/passwd", 0]]}), "once"),
    "json: names as lists": (
        described({"labels": [[["a.png"], 0], ["b.png", 0]]}),
        "must be an object whose labels are",
    ),
    "json: a label as a vector": (described({"labels": [["a.png", [0, 1]], ["b.png", [1, 0]]]}), "index of its class"),
    "json: a label of NaN": (described(b'{"labels": [["a.png", NaN], ["b.png", 0]]}'), "index of its class"),
    "json: a label of true": (described({"labels": [["a.png", True], ["b.png", 0]]}), "index of its class"),
    "json: a label of -1": (described({"labels": [["a.png", -1], ["b.png", 0]]}), "index of its class"),
    "json: a label of 10^30": (described({"labels": [["a.png", 10**30], ["b.png", 0]]}), "index of its class"),
    "json: a label without a class": (
        described({"labels": [["a.png", 2], ["b.png", 0]], "classes": ["x", "y"]}),
        "index of its class",
    ),
    "json: classes of numbers": (
        described({"labels": [["a.png", 1], ["b.png", 0]], "classes": [1, 2]}),
        "list of names",
    ),
    "image: empty": (one_folder({"a.png": b""}), "a.png in .* cannot be read"),
    "image: text": (one_folder({"a.png": b"hello"}), "cannot be read"),
    "image: truncated": (one_folder({"a.png": DOT[:-30]}), "cannot be read"),
    "image: half a JPEG": (one_folder({"a.jpg": picture(pictures(1, 64, 64, 3)[0], "JPEG")[:2000]}), "truncated"),
    "image: PNG bomb": (one_folder({"a.png": png_bomb(16_000)}), "pixels"),
    "image: larger PNG bomb": (zipped({"a.png": png_bomb(20_000)}), "pixels"),
    "image: GIF bomb": (one_folder({"a.gif": GIF}), "cannot be read"),
    "image: BMP bomb": (one_folder({"a.bmp": BMP}), "pixels"),
    "image: WebP bomb": (
        one_folder({"a.webp": picture(np.zeros((6000, 6000), np.uint8), "WEBP", lossless=True, method=0)}),
        "6,000 x 6,000",
    ),
    "image: a program for Ghostscript": (one_folder({"a.png": EPS}), "none of PNG, JPEG"),
    "image: an icon": (one_folder({"a.png": picture(np.zeros((16, 16, 3), np.uint8), "ICO")}), "none of PNG, JPEG"),
    "image: 16 bits": (one_folder({"a.png": picture(np.zeros((4, 4), np.uint16))}), "8 bits"),
    "image: floats": (one_folder({"a.tiff": picture(np.zeros((4, 4), np.float32), "TIFF")}), "8 bits"),
    "image: over 48 MB": (one_folder({"a.png": bytes(49 << 20)}), "at most"),
    "image: other sizes": (
        one_folder({"a.png": DOT, "b.png": picture(np.zeros((5, 4, 3), np.uint8))}),
        "4 x 4 and 4 x 5: give a size",
    ),
    "folder: empty": (one_folder({}), "must hold images"),
    "folder: no images": (one_folder({"notes.txt": b"hello"}), "must hold images"),
    "folder: a pipe": (lambda folder, official: os.mkfifo(folder / "a.png") or folder, "must hold images"),
    "nothing": (lambda folder, official: folder / "none", "no file or folder"),
    "a pipe": (lambda folder, official: os.mkfifo(folder / "a.zip") or folder / "a.zip", "no file or folder"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_or_damaged_file_is_one_sentence_in_little_memory(tmp_path, official, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    make, expected = HOSTILE[case]
    path = make(tmp_path / "in", official)
    before = sorted(tmp_path.rglob("*"))
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match=expected) as error:
            read_images(path)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value) and len(str(error.value)) < 500 and path.name in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before  # nothing was extracted, nothing was called


def test_the_hostile_pickle_is_hostile(tmp_path):
    pickle.loads(pickle.dumps(Evil(tmp_path / "x"), 2))
    assert (tmp_path / "x").exists()


def test_names_that_leave_the_zip_are_read_like_others_and_never_written(tmp_path):
    x = pictures(2, 4, 4, 3)
    (tmp_path / "in").mkdir()
    path = zip_of(tmp_path / "in" / "set.zip", {"../../a.png": picture(x[0]), "/b.png": picture(x[1])})
    assert len(read_images(path)) == 2 and sorted(tmp_path.rglob("*")) == [tmp_path / "in", path]


def test_too_many_files_and_too_much_memory_are_refused(tmp_path, monkeypatch):
    x = pictures(3, 4, 4, 3)
    files = {f"{i}.png": picture(x[i]) for i in range(3)}
    sources = [folder_of(tmp_path / "folder", files), zip_of(tmp_path / "set.zip", files)]
    monkeypatch.setattr(folders, "MAX_FILES", 2)
    for path in sources:
        with pytest.raises(Refused, match="at most 2 files"):
            read_images(path)
    monkeypatch.setattr(folders, "MAX_FILES", 3)
    monkeypatch.setattr(folders, "MAX_BYTES", x.nbytes - 1)
    with pytest.raises(Refused, match="take 144 bytes of memory, at most 143: give a smaller size"):
        read_images(sources[0])
    monkeypatch.setattr(folders, "MAX_READ", 100)
    with pytest.raises(Refused, match="read at once"):  # its list of names
        read_images(sources[1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of escapes in damaged strings
@pytest.mark.parametrize("kind", ["python", "idx", "zip"])
def test_random_damage_is_read_or_refused_but_never_anything_else(tmp_path, kind):
    if kind == "python":
        path = folder_of(tmp_path, python_files(cifar10(2)))
        target = path / "data_batch_1"
    elif kind == "idx":
        path = idx_files(pack=lambda data: gzip.compress(data, 0))(tmp_path, None)
        target = path / "train-images-idx3-ubyte.gz"
    else:
        path = target = zip_of(
            tmp_path / "set.zip",
            {"a.png": DOT, "b.png": DOT, "dataset.json": b'{"labels": [["a.png", 0], ["b.png", 1]]}'},
        )
    whole, random = target.read_bytes(), np.random.default_rng(5)
    refused = 0
    for _ in range(300):
        data = bytearray(whole[: random.integers(len(whole))] if random.random() < 0.2 else whole)
        # the pixels are most of a batch, and any pixels will do: damage what is around them
        places = [i for i in range(len(data)) if kind != "python" or not 100 < i < len(data) - 400]
        for place in random.choice(places or [0], size=3):
            data[place : place + 1] = random.bytes(1)
        target.write_bytes(data)
        try:
            assert len(read_images(path)) > 0
        except Refused as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100


@pytest.mark.parametrize("size", [0, -1, 5000])
def test_size_and_split_are_checked(tmp_path, size):
    folder_of(tmp_path, {"a.png": DOT})
    with pytest.raises(Refused, match="size must be in"):
        read_images(tmp_path, size=size)
    with pytest.raises(Refused, match="split must be train or test"):
        read_images(tmp_path, split="validation")


def test_a_fingerprint_is_that_of_the_images_in_any_order():
    x = pictures(20, 3, 4, 4)
    known = ImageSet(x).fingerprint()
    assert ImageSet(x[::-1]).fingerprint() == known != ImageSet(x[1:]).fingerprint()


# --- the download


def elsewhere(monkeypatch, place):
    """Has `fetch` look for the archive of CIFAR-10 in another place."""
    monkeypatch.setitem(archives.SOURCES, "cifar10", (place, archives.SOURCES["cifar10"][1]))


def test_a_download_is_checked_before_it_gets_its_name(tmp_path, monkeypatch, python_archive):
    path, _ = python_archive
    told = []
    target = archives.fetch("cifar10", tmp_path / "new" / "here", lambda *progress: told.append(progress))
    assert target == tmp_path / "new" / "here" / path.name and target.read_bytes() == path.read_bytes()
    assert told[-1] == (path.stat().st_size, path.stat().st_size) and [*target.parent.iterdir()] == [target]
    elsewhere(monkeypatch, "file:///nowhere/")
    assert archives.fetch("cifar10", target.parent) == target  # it is there
    target.write_bytes(flipped(target.read_bytes()))
    with pytest.raises(Refused, match="wanted md5"):
        archives.fetch("cifar10", target.parent)


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda data: data[:-1], "not all of it"),
        (lambda data: data + bytes(10**6), "got"),
        (flipped, "wanted md5"),
        (lambda data: b"", "got 0"),
    ],
)
def test_a_wrong_download_leaves_nothing_behind(tmp_path, python_archive, change, expected):
    path, _ = python_archive
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(Refused, match=expected):
        archives.fetch("cifar10", tmp_path / "new")
    assert not [*(tmp_path / "new").iterdir()]


def test_offline_says_so_and_what_to_do(tmp_path, monkeypatch, capsys):
    elsewhere(monkeypatch, "http://127.0.0.1:9/")
    assert main(["data", "cifar10", "--out", str(tmp_path / "new")]) == 2
    said = capsys.readouterr().err
    assert "cannot be downloaded" in said and "give its path" in said and "DDGAN_DATA" in said and said.count("\n") == 1
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="cannot be written"):
        archives.fetch("cifar10", tmp_path / "file" / "new")


def test_the_files_of_mnist_are_downloaded_and_what_is_there_is_kept(tmp_path, monkeypatch, capsys):
    there, here = tmp_path / "there", tmp_path / "here"
    names = [file.file for file in archives.MNIST]
    made = [idx(pictures(n, *shape) % 10) for n in (5, 2) for shape in ((28, 28), ())]
    folder_of(there, dict(zip(names, map(gzip.compress, made), strict=True)))
    sums = [hashlib.md5((there / name).read_bytes()).hexdigest() for name in names]
    files = [
        a._replace(size=(there / a.file).stat().st_size, md5=md5) for a, md5 in zip(archives.MNIST, sums, strict=True)
    ]
    monkeypatch.setitem(archives.SOURCES, "mnist", (f"{there.as_uri()}/", files))
    kept = (there / names[-1]).read_bytes()
    (there / names[-1]).unlink()
    assert main(["data", "mnist", "--out", str(here)]) == 2 and names[-1] in capsys.readouterr().err
    folder_of(there, {names[-1]: kept, names[0]: b"changed meanwhile"})
    assert main(["data", "mnist", "--out", str(here)]) == 0
    assert capsys.readouterr().out.startswith("5 images of 1 x 28 x 28, 10 classes") and sorted(
        os.listdir(here)
    ) == sorted(names)
    monkeypatch.setenv("DDGAN_DATA", str(here))
    assert [len(load_images("mnist", split=split)) for split in ("train", "test")] == [5, 2]


# --- the command


def test_data_prints_one_line(tmp_path, monkeypatch, capsys, python_archive):
    path, _ = python_archive
    monkeypatch.chdir(tmp_path)
    assert main(["data", "cifar10", "--out", str(tmp_path / "new")]) == 0
    out, err = capsys.readouterr()
    assert out == f"20 images of 3 x 32 x 32, 10 classes: {', '.join(archives.CLASSES)}\n" and path.name in err
    monkeypatch.setenv("DDGAN_DATA", str(tmp_path / "new"))
    assert main(["data", "cifar10", "--split", "test", "--size", "8"]) == 0
    assert capsys.readouterr().out.startswith("4 images of 3 x 8 x 8")
    folder_of(tmp_path / "flat", {"a.png": DOT})
    assert main(["data", str(tmp_path / "flat")]) == 0
    assert capsys.readouterr().out == "1 images of 3 x 4 x 4, no classes\n"
    assert main(["data", "mnist", "--out", "x"]) == 2


# --- real data


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("DDGAN_DATA"), reason="DDGAN_DATA names no folder of real data")
@pytest.mark.parametrize(
    "name, shape", [("cifar10", (3, 32, 32)), ("mnist", (1, 28, 28)), ("stackedmnist", (3, 28, 28))]
)
def test_the_real_test_sets_are_whole(name, shape):
    if find_images(name, "test") is None:
        pytest.skip(f"no {name} here")
    data = load_images(name, split="test")
    assert data.shape == shape and len(data) == 10_000 and len(data.classes) == data.labels.max() + 1
    if name == "cifar10":
        assert (np.bincount(data.labels) == 1000).all()
        # the mean of each channel, as the literature knows it for CIFAR-10
        assert np.allclose(data.images.mean((0, 2, 3)) / 255, [0.494, 0.485, 0.450], atol=0.002)


# --- batches


@pytest.fixture
def numbered():
    """37 images, of one pixel and its mirror, that say which they are."""
    return ImageSet(np.stack([np.arange(37), np.zeros(37)], 1).astype(np.uint8).reshape(37, 1, 1, 2))


def drawn(draw, steps):
    noise = torch.Generator().manual_seed(0)
    return [to_uint8(draw(step, noise)[0])[:, 0, 0] for step in steps]


@pytest.mark.parametrize("batch", [5, 37, 64, 100])
def test_each_epoch_has_each_image_once_in_an_order_of_its_own(numbered, batch):
    seen = np.concatenate(drawn(batches(numbered, batch, seed=3, flip=False), range(-(-37 * 4 // batch))))[: 37 * 4, 0]
    epochs = seen.reshape(4, 37)
    assert (np.sort(epochs, axis=1) == np.arange(37)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 4


@pytest.mark.parametrize("flip", [False, True])
def test_a_resumed_run_sees_what_an_unbroken_one_sees(numbered, flip):
    unbroken = drawn(batches(numbered, 8, seed=1, flip=flip), range(40))
    assert np.array_equal(unbroken[23:], drawn(batches(numbered, 8, seed=1, flip=flip), range(23, 40)))
    assert not np.array_equal(unbroken, drawn(batches(numbered, 8, seed=2, flip=flip), range(40)))


def test_half_of_the_images_are_mirrored_and_none_without_flip(numbered):
    plain = np.concatenate(drawn(batches(numbered, 50, seed=1, flip=False), range(80)))
    flipped = np.concatenate(drawn(batches(numbered, 50, seed=1, flip=True), range(80)))
    mirrored = (plain != flipped).any(1)
    assert np.array_equal(flipped[mirrored], plain[mirrored][:, ::-1])
    apart = plain[:, 0] > 0  # image 0 is its own mirror
    n = apart.sum()
    assert abs(mirrored[apart].mean() - 0.5) < 4 * 0.5 / n**0.5


def test_every_byte_survives_the_way_to_floats_and_back():
    values = np.arange(256, dtype=np.uint8).reshape(4, 1, 8, 8)
    x = from_uint8(values)
    assert x.dtype == torch.float32 and x.min() == -1 and x.max() == 1
    assert np.array_equal(to_uint8(x), values)
    assert to_uint8(torch.tensor([-1.5, 1.5])).tolist() == [0, 255]


@pytest.mark.parametrize("name", ["mnist", "cifar10", "photos.zip"])
def test_a_split_that_is_none_is_refused(name):
    with pytest.raises(Refused, match="^split must be train or test, got 'x'$"):
        load_images(name, split="x")


@pytest.mark.parametrize(
    ("images", "labels", "sentence"),
    [
        (np.zeros((2, 3, 8, 8)), None, r"images must be uint8 \(N, C, H, W\), C at most 4, got float64 \(2, 3, 8, 8\)"),
        (np.zeros((2, 8, 8, 3), np.uint8), None, r"images must be uint8 .*, got uint8 \(2, 8, 8, 3\)"),
        (np.zeros((2, 8, 8), np.uint8), None, r"images must be uint8 .*, got uint8 \(2, 8, 8\)"),
        (np.zeros((2, 1, 8, 8), np.uint8), np.zeros(3, int), r"labels must be whole numbers \(2,\), got int64 \(3,\)"),
        (np.zeros((2, 1, 8, 8), np.uint8), np.zeros(2), r"labels must be whole numbers \(2,\), got float64 \(2,\)"),
        (np.zeros((2, 1, 8, 8), np.uint8), [-1, 3], r"labels must be from 0 on, got -1 to 3"),
    ],
)
def test_arrays_that_are_no_set_of_images_are_refused(images, labels, sentence):
    with pytest.raises(Refused, match=f"^{sentence}$"):
        ImageSet(images, labels)


def test_tensors_and_lists_are_sets_of_images_and_every_class_that_is_labelled_has_a_name():
    images, labels = np.arange(2 * 64, dtype=np.uint8).reshape(2, 1, 8, 8), np.array([1, 0])
    theirs = ImageSet(torch.from_numpy(images), [1, 0])
    assert theirs.fingerprint() == ImageSet(images).fingerprint() and theirs.counts == [1, 1]
    assert theirs.part(labels).images.tolist() == images[::-1].tolist() and ImageSet(images[:0], labels[:0]).known == 0
    with pytest.raises(Refused, match=r"^labels must be from 0 on below the 1 names of classes, got 0 to 1$"):
        ImageSet(images, labels, ("a",))


def test_a_set_shows_its_size_and_not_its_pixels():
    images = ImageSet(np.zeros((2000, 3, 8, 8), np.uint8), np.arange(2000) % 3, ("a", "b", "c"))
    assert repr(images) == "2,000 images of 3 x 8 x 8, 3 classes: a, b, c"
