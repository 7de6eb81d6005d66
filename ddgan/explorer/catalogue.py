"""What a data name stands for: a toy, an image set, own points, a table, a model's file or a run's directory."""

from __future__ import annotations

from contextlib import suppress
from os.path import isdir, isfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..data.images import OFFICIAL, SETS, ImageSet, load_images, set_label
from ..data.points import POINTS_PREFIX, Axis, of_columns
from ..data.tables import file_of, is_table, read_table
from ..data.toys import TOYS, axes_of, law_of
from ..diffusion.mixture import Law
from ..errors import Refused
from ..models import checkpoint, registry
from ..models.config import PRESETS, Config
from .methods import METHODS

__all__ = ["Source", "missing", "source_of", "training_images", "written"]


class Source(NamedTuple):
    """What a data name stands for: the shape of a sample, its law where that is known, and where its models are.

    For a user's table it also has the columns, and a sentence on how the table was read.
    """

    shape: torch.Size
    law: Law | None
    models: dict[str, Path]
    set: str = ""  # the name of the image set that it is, or that its model was trained on; "" for a stranger's images
    axes: tuple[Axis, ...] = ()
    said: str = ""


def training_images(data: str) -> ImageSet:
    """The training images of a set, with labels, and with mirror images if its networks are trained on both."""
    known = load_images(data)
    if not PRESETS[data].flip:
        return known
    images, labels = np.concatenate([known.images, known.images[..., ::-1]]), known.labels
    return ImageSet(images, None if labels is None else np.concatenate([labels, labels]), known.classes)


def missing(data: str, name: str, others: list[str]) -> str:
    """Why there is no denoiser of this name for the data, and what to do; `others` are the denoisers that there are."""
    label, preset = METHODS[name].label, data if name == "ddgan" else f"{data}-{name}"
    if data.startswith(POINTS_PREFIX):
        return f"no {label} has been trained on these points" + " yet: the tab Train does it" * (name == "ddgan")
    if name == "official":
        way = (
            f"not of {set_label(data)}"
            if data != "cifar10"
            else "not here: python -m ddgan import-official makes it of their file"
        )
        return f"the authors' model is of CIFAR-10, and {way}"
    if data in SETS:
        return (
            f"no {label} of {set_label(data)} is here: python -m ddgan train {preset} --out weights/{preset} makes one"
        )
    return f"no {label} was trained on {data}, there are {', '.join(others)}"


def written(data: str) -> tuple[int, ...]:
    """The last change and the size of the file, or of the run's card, that a data name is the path of; else ()."""
    if data not in TOYS and data not in SETS and not data.startswith(POINTS_PREFIX):
        for path in (Path(data, "card.json"), checkpoint.WEIGHTS / data / "card.json", file_of(data)):
            with suppress(OSError, ValueError):  # or it is not there, and no path at all
                found = path.stat()
                return found.st_mtime_ns, found.st_size
    return ()


def source_of(data: str) -> Source:
    """What the name stands for; Refused for an unknown name or a damaged file."""
    if data in TOYS or data in SETS:
        others = ("regression", "mixture", "consistency", "official")
        endings = {"ddgan": "", **{name: f"-{name}" for name in others}}
        directories = {name: checkpoint.WEIGHTS / f"{data}{ending}" for name, ending in endings.items()}
        models = {name: path for name, path in directories.items() if (path / "card.json").is_file()}
        return _of_name(data, models) if data in TOYS else Source(torch.Size(SETS[data]), None, models, data)
    if data.startswith(POINTS_PREFIX):
        return _of_name(data, {})
    path = Path(data)
    if is_table(data):
        return _of_table(data, {})
    if path.suffix != ".safetensors" and not isfile(path / "card.json"):
        path = checkpoint.WEIGHTS / data
        if not isfile(path / "card.json"):  # where a name is too long for a file this is false, is_file() raises
            if isdir(data):
                checkpoint.read_card(data)  # it says why this is the directory of no model
            known = ", ".join([*TOYS, *SETS])
            raise Refused(
                f"data must be one of {known}, a .csv, .tsv or .txt file, a model's .safetensors file "
                f"or a run's directory, got {data[:40]!r}"
            )
    card = checkpoint.read_card(path)
    config = Config.from_dict(card["config"])
    models = {config.objective: path}
    if config.network in registry.IMAGE_NETWORKS:
        own = card.get("data") != OFFICIAL.get(config.data) and "data" in card  # its images are not those of the name
        return Source(torch.Size(card["shape"]), None, models, "" if own else config.data)
    if is_table(config.data) and (path / "points.csv").is_file():
        return _of_table(config.data, models, path / "points.csv", card.get("data", ""))
    if config.data not in TOYS and not config.data.startswith(POINTS_PREFIX):
        raise Refused(f"{path} was trained on {config.data[:40]!r}, which it does not hold")
    return _of_name(config.data, models)


def _of_name(data: str, models: dict[str, Path]) -> Source:
    law = law_of(data)
    return Source(law.shape, law, models, axes=axes_of(data))


def _of_table(data: str, models: dict[str, Path], path: Path | None = None, known: str | None = None) -> Source:
    """The source of a table, or of the copy that a run keeps of it; Refused where its model learned other points."""
    table = read_table(data, path)
    try:
        law, axes = of_columns(table.points, table.names, known)
    except Refused as error:
        raise Refused(f"{path}: {error}" if path else str(error)) from None
    return Source(law.shape, law, models, axes=axes, said=f"{file_of(data).name}: {table.said}")
