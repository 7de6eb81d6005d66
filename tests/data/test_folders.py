"""Folders and zips of pictures: one reading for all forms; what is left out is said, what is transparent is white."""

import importlib
import io
import json
import os
import posixpath
import runpy
import struct
import tempfile
import threading
import zipfile
import zlib
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ddgan.cli import main
from ddgan.data import folders, images
from ddgan.data.images import ImageSet, NoSplit, held_out, read_images
from ddgan.errors import Refused
from ddgan.models.config import preset
from ddgan.training.run import fit


def picture(colour, kind="PNG", side=4, **options):
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, kind, **options)
    return file.getvalue()


def folder_of(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def zip_of(path, files, slash="/"):
    """`slash`: PowerShell 5 writes names with backslashes, and so the folders."""
    with zipfile.ZipFile(path, "w") as archive:
        for parent in sorted({posixpath.dirname(name) for name in files} - {""}):
            archive.writestr(f"{parent}/".replace("/", slash), b"")
        for name, data in files.items():
            archive.writestr(name.replace("/", slash), data)
    return path


def same(a, b):
    labels = (a.labels is None and b.labels is None) or np.array_equal(a.labels, b.labels)
    return labels and np.array_equal(a.images, b.images) and (a.classes, a.notes) == (b.classes, b.notes)


# --- one reading for all


HIDDEN = [
    ".DS_Store", "._0.png", ".hidden.png", ".ipynb_checkpoints/0-checkpoint.png", ".Trash-1000/files/deleted.png",
    "__MACOSX/cat/._0.png", "@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg", "$RECYCLE.BIN/$R1.png",
    "System Volume Information/a.png", "Thumbs.db", "desktop.ini",
]  # fmt: skip
VISIBLE = ["notes.txt", "IMG_1.HEIC", "movie.mp4", "LICENSE"]
FILES = st.sampled_from(["0.png", "1.PNG", "a b.jpg", "é.jfif", "x.jpe"])
NAMES = st.lists(FILES, min_size=1, max_size=3, unique=True)
CLASSES = st.dictionaries(
    st.sampled_from(["cat", "dog", "Kätzchen", "train station", "テスト"]), NAMES, min_size=1, max_size=3
)


@st.composite
def trees(draw):
    """(files of a set with junk among them, its pictures in order, their classes or None, how many are left out)."""
    kind = draw(st.sampled_from(["flat", "classes", "splits", "described"]))
    inside = {"": draw(NAMES)} if kind == "flat" else draw(CLASSES)
    names = sorted(posixpath.join(folder, name) for folder, some in inside.items() for name in some)
    of_class = [posixpath.dirname(name) for name in names] if len(inside) > 1 else None
    top = draw(st.sampled_from(["train/", "Training/"])) if kind == "splits" else ""
    kinds = ["PNG" if name.lower().endswith("png") else "JPEG" for name in names]
    colours = [(40 * i, 255 - 40 * i, 7) for i in range(len(names))]
    tree = {f"{top}{name}": picture(*how) for name, *how in zip(names, colours, kinds, strict=True)}
    if kind == "splits":
        other = draw(st.sampled_from(["test", "val", "Validation", "valid"]))
        tree |= {f"{other}/{name}": picture("red") for name in names[: draw(st.integers(1, 3))]}
    if kind == "described":
        order = draw(st.permutations(range(len(names))))
        names, of_class = [names[i] for i in order], [f"k{i % 2}" for i in range(len(names))]
        labels = [[name, i % 2] for i, name in enumerate(names)]
        tree["dataset.json"] = json.dumps({"labels": labels, "classes": ["k0", "k1"]}).encode()
    places = sorted({posixpath.dirname(name) for name in tree})
    pairs = st.tuples(st.sampled_from(places), st.sampled_from(HIDDEN + VISIBLE))
    junk = draw(st.lists(pairs, max_size=4, unique=True))
    tree |= {posixpath.join(place, name): picture("white") for place, name in junk}
    return tree, [f"{top}{name}" for name in names], of_class, sum(name in VISIBLE for _, name in junk)


@settings(max_examples=40, deadline=None)
@given(trees())
def test_a_folder_and_a_zip_wrapped_or_not_with_any_slashes_and_junk_are_one_set(made):
    tree, names, of_class, left = made
    wrapped = {f"my set/{name}": data for name, data in tree.items()} | {"__MACOSX/._my set": b"", ".DS_Store": b""}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        forms = [
            folder_of(root / "folder", tree), folder_of(root / "wrapped", wrapped), zip_of(root / "a.zip", tree),
            zip_of(root / "b.zip", wrapped), zip_of(root / "c.zip", tree, "\\"), zip_of(root / "d.zip", wrapped, "\\"),
        ]  # fmt: skip
        first, *others = (read_images(form) for form in forms)
        assert all(same(first, other) and first.fingerprint() == other.fingerprint() for other in others)
        expected = np.stack([np.asarray(Image.open(root / "folder" / name)) for name in names]).transpose(0, 3, 1, 2)
    assert np.array_equal(first.images, expected)
    if of_class is None:
        assert first.labels is None and first.classes == ()
    else:
        assert [first.classes[label] for label in first.labels] == of_class
    said = [note for note in first.notes if "left out" in note]
    assert len(said) == (left > 0) and all(note.startswith(f"{left} file") for note in said)


def test_what_is_left_out_is_said_in_one_line(tmp_path):
    files = {"0.png": picture("red"), "a.HEIC": b"", "b.heic": b"", "LICENSE": b"", "a.{s}{0}\n": b""}
    (note,) = read_images(folder_of(tmp_path, files)).notes
    assert note == "4 files left out: 2 .heic, 1 .{s}{0}\N{REPLACEMENT CHARACTER}, 1 without a suffix"
    many = {f"{i}.x{i % 9}": b"" for i in range(20)}
    (note,) = read_images(folder_of(tmp_path, many)).notes
    assert note.startswith("24 files left out: 3 .x0, 3 .x1, ") and note.endswith(" of other kinds") and len(note) < 200
    with pytest.raises(Refused, match=r"must hold images .*, got none; 2 files left out: 2 \.heic$"):
        read_images(folder_of(tmp_path / "phone", {"a.heic": b"", "b.heic": b""}))


def test_symbolic_links_are_followed_once_each_and_loops_are_not(tmp_path):
    elsewhere = folder_of(tmp_path / "elsewhere", {f"dogs/{i}.png": picture((0, 0, i)) for i in range(3)})
    root = folder_of(tmp_path / "root", {f"cats/{i}.png": picture((i, 0, 0)) for i in range(3)})
    for link, target in {
        "cats/one.png": elsewhere / "dogs" / "0.png", "cats/broken.png": "nowhere", "cats/up": "..",
        "dogs": elsewhere / "dogs", "loop": ".", ".hidden": elsewhere,
    }.items():  # fmt: skip
        (root / link).symlink_to(target)
    data = read_images(root)
    assert data.classes == ("cats", "dogs") and data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.images[:, 2, 0, 0].tolist() == [0, 0, 0, 0, 1, 2]
    assert data.notes == ("2 files left out: 1 broken link, 1 repeated link",)
    (tmp_path / "door").symlink_to(root)
    assert same(data, read_images(tmp_path / "door"))


def test_pictures_beside_class_folders_are_left_out_and_no_class_is_nameless(tmp_path):
    classes = {f"{k}/{i}.png": picture((i, 0, 0)) for k in ("ant", "bee") for i in range(3)}
    data = read_images(folder_of(tmp_path / "a", {**classes, "preview.png": picture("white")}))
    assert data.classes == ("ant", "bee") and len(data) == 6
    assert data.notes == ("1 file left out: 1 picture beside the folders",)
    inner = {f"set/{name}": picture_ for name, picture_ in classes.items()}
    assert same(data, read_images(folder_of(tmp_path / "b", {**inner, "preview.png": picture("white")})))
    most = {f"{i}.png": picture((0, i, 0)) for i in range(7)}
    data = read_images(folder_of(tmp_path / "c", {**classes, **most}))
    assert data.labels is None and len(data) == 13 and "most pictures lie beside" in data.notes[0]


def test_a_split_that_is_not_there_is_refused_and_val_is_a_test_split(tmp_path):
    dot, note = picture("red"), json.dumps({"labels": None}).encode()
    cases = {
        "flat": {"0.png": dot}, "classes": {"cat/0.png": dot, "dog/0.png": dot}, "train alone": {"train/0.png": dot},
        "described": {"train/0.png": dot, "test/0.png": dot, "dataset.json": note},
    }  # fmt: skip
    for name, files in cases.items():
        with pytest.raises(NoSplit, match="has no test split: wanted folders train and test"):
            read_images(folder_of(tmp_path / name, files), split="test")
    others = {"val/0.png": picture("blue"), "test/0.png": picture("lime"), "misc/0.png": dot}
    path = folder_of(tmp_path / "three", {"train/0.png": dot, **others})
    assert read_images(path, split="test").images[0, :, 0, 0].tolist() == [0, 255, 0]
    read, left = read_images(path).notes
    assert read == "split train: the pictures in train, not those in test and val"
    assert left == "1 file left out: 1 picture beside the splits"
    path = folder_of(tmp_path / "two", {"train/0.png": dot, "Validation/0.png": picture("blue")})
    data = read_images(path, split="test")
    assert data.images[0, :, 0, 0].tolist() == [0, 0, 255]
    assert data.notes == ("split test: the pictures in Validation, not those in train",)
    with pytest.raises(NoSplit, match="has no split train: it holds test, val"):
        read_images(folder_of(tmp_path / "none", {"val/0.png": dot, "test/0.png": dot}))
    with pytest.raises(Refused, match="has splits inside its classes, as in cat/test: wanted"):
        inside = {f"{k}/{split}/0.png": dot for k in ("cat", "dog") for split in ("train", "test")}
        read_images(folder_of(tmp_path / "inside", inside))
    assert len(read_images(zip_of(tmp_path / "test.zip", {"test/cat/0.png": dot, "test/dog/0.png": dot}))) == 2


def test_dataset_json_among_other_folders_is_refused_not_ignored(tmp_path):
    dot = picture("red")
    files = {"a/00/0.png": dot, "a/dataset.json": b'{"labels": null}', "b/0.png": dot}
    with pytest.raises(Refused, match="holds a/dataset.json among other folders"):
        read_images(folder_of(tmp_path, files))


def test_names_of_a_mac_zip_are_utf_8_and_none_breaks_the_line(tmp_path):
    path = zip_of(tmp_path / "mac.zip", {"Kxxtzchen/0.png": picture("red"), "dog/0.png": picture("red")})
    path.write_bytes(path.read_bytes().replace(b"Kxxtzchen", "Kätzchen".encode()))  # without the flag that says so
    assert read_images(path).classes == ("Kätzchen", "dog")
    folder = folder_of(tmp_path / "old", {"b/0.png": picture("red")})
    os.mkdir(os.fsencode(folder) + b"/K\xe4t\nzchen")
    Path(os.fsdecode(os.fsencode(folder) + b"/K\xe4t\nzchen/0.png")).write_bytes(picture("red"))
    assert read_images(folder).classes == ("K\N{REPLACEMENT CHARACTER}t\N{REPLACEMENT CHARACTER}zchen", "b")


def test_links_inside_a_zip_are_left_out(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("0.png", picture("red"))
        link = zipfile.ZipInfo("1.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "0.png")
    data = read_images(tmp_path / "a.zip")
    assert len(data) == 1 and data.notes == ("1 file left out: 1 link inside the zip",)


# --- transparency


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth, kind, pixels, *before):
    """A PNG of one row of two pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, depth, kind, 0, 0, 0))
    row = chunk(b"IDAT", zlib.compress(b"\0" + pixels))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(before) + row + chunk(b"IEND", b"")


def words(*values):
    return struct.pack(f">{len(values)}H", *values)


PALETTE = chunk(b"PLTE", bytes([255, 0, 0, 10, 20, 30]))
LOSSLESS = io.BytesIO()
TWO = np.array([[[255, 0, 0, 0], [10, 20, 30, 255]]], np.uint8)
Image.fromarray(TWO).save(LOSSLESS, "WEBP", lossless=True, exact=True)
HOLED = {  # the first pixel is transparent, the second is not
    "RGBA": (png(8, 6, bytes([255, 0, 0, 0, 10, 20, 30, 255])), (10, 20, 30)),
    "LA": (png(8, 4, bytes([7, 0, 200, 255])), (200,)),
    "palette": (png(8, 3, bytes([0, 1]), PALETTE, chunk(b"tRNS", bytes([0]))), (10, 20, 30)),
    "palette with alphas": (png(8, 3, bytes([0, 1]), PALETTE, chunk(b"tRNS", bytes([0, 255]))), (10, 20, 30)),
    "one colour": (png(8, 2, bytes([255, 0, 0, 10, 20, 30]), chunk(b"tRNS", words(255, 0, 0))), (10, 20, 30)),
    "one grey": (png(8, 0, bytes([7, 200]), chunk(b"tRNS", words(7))), (200,)),
    "black of two": (png(1, 0, bytes([0b01000000]), chunk(b"tRNS", words(0))), (255,)),
    "RGBA, 16 bits": (png(16, 6, words(65535, 0, 0, 0, 2560, 5120, 7680, 65535)), (10, 20, 30)),
    "LA, 16 bits": (png(16, 4, words(1000, 0, 51200, 65535)), (200, 200, 200)),
    "one colour, 16 bits": (
        png(16, 2, words(65535, 256, 0, 2560, 5120, 7680), chunk(b"tRNS", words(65535, 256, 0))),
        (10, 20, 30),
    ),
    "WebP": (LOSSLESS.getvalue(), (10, 20, 30)),
}


@pytest.mark.parametrize("kind", HOLED)
def test_what_is_transparent_is_white_whatever_colour_lies_under_it(tmp_path, kind):
    file, solid = HOLED[kind]
    data = read_images(folder_of(tmp_path, {"a.png": file}))
    assert data.images[0, :, 0].T.tolist() == [[255] * len(solid), [*solid]]
    assert data.notes == ("transparent pixels show white, in 1 of 1 pictures",)


@pytest.mark.parametrize("alpha", [1, 60, 128, 254])
def test_half_transparent_is_a_mixture_with_white(tmp_path, alpha):
    file = png(8, 6, bytes([200, 100, 0, alpha] * 2))
    pixel = read_images(folder_of(tmp_path, {"a.png": file})).images[0, :, 0, 0]
    wanted = (np.array([200, 100, 0]) * alpha + 255 * (255 - alpha)) / 255
    assert np.abs(pixel - wanted).max() <= 1


def test_an_opaque_alpha_channel_changes_nothing(tmp_path):
    data = read_images(folder_of(tmp_path, {"a.png": png(8, 6, bytes([1, 2, 3, 255] * 2))}))
    assert data.images[0, :, 0].T.tolist() == [[1, 2, 3]] * 2 and data.notes == ()


# --- photos


def test_a_photo_of_48_megapixels_is_read_small_and_as_it_was_held(tmp_path):
    sides = np.zeros((6048, 8064), np.uint8)
    sides[:, 4032:] = 255
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn to the right: dark above, light below
    Image.fromarray(sides).save(tmp_path / "a.jpg", exif=turned)
    x = read_images(tmp_path, size=16).images
    assert x.shape == (1, 1, 16, 16) and x[0, 0, :7].max() < 8 and x[0, 0, 9:].min() > 247
    words = "8,064 x 6,048 pixels, at most 33,554,432 are decoded .of a JPEG 50,331,648, where a size is given"
    with pytest.raises(Refused, match=words):
        read_images(tmp_path)


def test_a_photo_of_two_pictures_is_its_first(tmp_path):
    """What phones write with a depth map or a film behind: MPO."""
    red, blue = Image.new("RGB", (400, 300), "red"), Image.new("RGB", (40, 30), "blue")
    red.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[blue])
    assert np.abs(read_images(tmp_path, size=16).images[0, :, 8, 8] - np.array([255.0, 0, 0])).max() < 4


def test_a_jpeg_that_states_more_pixels_is_refused_before_it_is_decoded(tmp_path):
    whole = picture("red", "JPEG", side=16)
    place = whole.index(b"\xff\xc0") + 5
    folder_of(tmp_path, {"a.jpg": whole[:place] + struct.pack(">HH", 9000, 9000) + whole[place + 4 :]})
    with pytest.raises(Refused, match="9,000 x 9,000 pixels"):
        read_images(tmp_path, size=32)


def test_a_photo_that_is_decoded_small_is_nearly_the_one_that_is_not(tmp_path):
    y, x = np.mgrid[:600, :800] / 100
    plain = np.stack([127 + 60 * np.sin(x + k) + 60 * np.cos(y * (k + 1)) for k in range(3)], 2).astype(np.uint8)
    for name, options in {"a.jpg": {"quality": 95}, "b.png": {}}.items():
        Image.fromarray(plain).save(tmp_path / name, **options)
    small, full = read_images(tmp_path, size=32).images.astype(int)
    assert np.abs(small - full).mean() < 2


def test_pictures_that_wait_for_memory_are_all_read(tmp_path, monkeypatch):
    files = {f"{i:02}.png": picture((i, 0, 0)) for i in range(40)}
    monkeypatch.setattr(folders, "cores", lambda: 4)
    monkeypatch.setattr(folders, "_DECODING", folders._Budget(20))  # one picture and a bit
    assert read_images(folder_of(tmp_path, files)).images[:, 0, 0, 0].tolist() == [*range(40)]


def test_no_more_pixels_are_in_work_than_there_is_room_for():
    budget, now, most = folders._Budget(10), [0], [0]

    def work(pixels):
        for _ in range(200):
            with budget.spent(pixels):
                now[0] += min(pixels, 10)
                most[0] = max(most[0], now[0])
                now[0] -= min(pixels, 10)

    threads = [threading.Thread(target=work, args=(pixels,)) for pixels in (3, 6, 10, 99)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert 0 < most[0] <= 10 and budget.free == 10


def test_who_watches_hears_of_every_picture(tmp_path, capsys, monkeypatch):
    told = []
    folder_of(tmp_path, {f"{i}.png": picture((i, 0, 0)) for i in range(5)})
    read_images(tmp_path, watch=lambda *progress: told.append(progress))
    assert told == [(i, 5) for i in range(6)]
    later = count(0, 2).__next__  # two seconds from each look to the next
    monkeypatch.setattr(importlib.import_module("ddgan.cli.progress"), "time", SimpleNamespace(monotonic=later))
    assert main(["data", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out == "5 images of 3 x 4 x 4, no classes\n"
    assert "2 of 5  6 s left" in err and err.endswith("5 of 5  0 s left   \n")
    (tmp_path / "3.png").write_bytes(b"")
    assert main(["data", str(tmp_path)]) == 2
    assert "3 of 5" in (err := capsys.readouterr().err) and "\nddgan: 3.png in" in err  # on a line of its own


# --- classifiers


@pytest.mark.parametrize("labels", [[0] * 30 + [1] * 2 + [2], None])
def test_a_share_of_every_class_is_held_out_and_never_all_of_it(labels):
    x = np.arange(33, dtype=np.uint8).reshape(33, 1, 1, 1)
    data = ImageSet(x, None if labels is None else np.array(labels), ("a", "b", "c"), ("a note",))
    rest, out = held_out(data, 0.1, seed=0)
    assert sorted([*rest.images.ravel(), *out.images.ravel()]) == [*range(33)]
    assert (rest.classes, rest.notes) == (data.classes, data.notes)
    if labels is None:
        assert len(out) == 3 and out.labels is None
    else:
        assert np.bincount(out.labels, minlength=3).tolist() == [3, 1, 0]
        assert all(labels[k] == label for k, label in zip(out.images.ravel(), out.labels, strict=True))
    assert np.array_equal(out.images, held_out(data, 0.1, seed=0)[1].images)
    assert not np.array_equal(out.images, held_out(data, 0.1, seed=1)[1].images)


def test_a_classifier_is_measured_on_images_that_it_has_not_seen_and_says_which(tmp_path, capsys):
    classes = {f"{k}/{i}.png": picture((90 * j, i, 0), side=8) for j, k in enumerate(("ant", "bee")) for i in range(4)}
    folder_of(tmp_path / "set", classes)
    words = ["train-classifier", str(tmp_path / "set"), "--epochs", "1", "--width", "2", "--out"]
    assert main([*words, str(tmp_path / "a")]) == 0
    card = json.loads((tmp_path / "a" / "card.json").read_text())
    assert card["metrics"]["n"] == 2 and card["measured_on"].startswith("2 images held out: 10% of each class")
    assert "there is no test split" in capsys.readouterr().err
    folder_of(tmp_path / "set" / "test", classes)
    for k in ("ant", "bee"):
        (tmp_path / "set" / "train").mkdir(exist_ok=True)
        (tmp_path / "set" / k).rename(tmp_path / "set" / "train" / k)
    assert main([*words, str(tmp_path / "b"), "--size", "8"]) == 0
    card = json.loads((tmp_path / "b" / "card.json").read_text())
    assert card["metrics"]["n"] == 8 and card["measured_on"] == "the test split"


# --- training on them


def test_a_training_says_what_was_left_out_and_which_size_would_fit(tmp_path):
    files = {f"{i}.png": picture((i, 0, 0), side=300) for i in range(2)}
    folder_of(tmp_path / "set", {**files, "a.heic": b""})
    said, config = [], preset("cifar10")
    for size, words in [(256, r"at most 144 x 144 fit \(--size 144\)"), (20, "multiples of 8, like 16 or 24")]:
        with pytest.raises(Refused, match=words):
            next(fit(config, tmp_path / "run", images=str(tmp_path / "set"), size=size, say=said.append))
    assert said == ["1 file left out: 1 .heic"] and not (tmp_path / "run").exists()


# --- homes


def test_a_tilde_is_the_home(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder_of(tmp_path / "photos", {"0.png": picture("red")})
    assert len(read_images("~/photos")) == 1 and main(["data", "~/photos"]) == 0
    monkeypatch.setenv("DDGAN_DATA", "~/data")
    monkeypatch.setattr(images, "CACHE", None)
    path = zip_of(folder_of(tmp_path / "data", {"x": b""}) / "mnist-train.zip", {"0.png": picture("red")})
    assert images.find_images("mnist") == path


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_without_a_home_only_a_download_misses_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # what it is where no home is known
    assert runpy.run_module("ddgan.data.images")["CACHE"] is None
    monkeypatch.setattr(images, "CACHE", None)
    monkeypatch.setattr("ddgan.cli.CACHE", None)
    monkeypatch.delenv("DDGAN_DATA", raising=False)
    assert main(["presets"]) == 0
    capsys.readouterr()
    assert main(["data", "mnist"]) == 2 and "there is no home directory: give --out" in capsys.readouterr().err
    with pytest.raises(Refused, match=r"^cifar10 \(train\) is not here: `python -m ddgan data cifar10`"):
        images.load_images("cifar10")
