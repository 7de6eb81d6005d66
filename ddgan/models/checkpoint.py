"""Models on disk: safetensors beside a JSON card, written atomically, checked before use.

    DIR/model.safetensors   the generator that samples (the moving average)
    DIR/discriminator.safetensors   its opponent, where it was trained adversarially
    DIR/classifier.safetensors   alone: a classifier that judges images
    DIR/card.json           config, levels, what made it, its metrics, and the sha256 of the weights
    DIR/points.csv          the data, where it was the user's own
    NAME.safetensors        a model to hand on: the weights of one file, with the card in its header

A damaged or foreign file is Refused, in one sentence, and none is a pickle: official.py alone reads one, its tensors.
"""

from __future__ import annotations

import hashlib
import json
import math
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save as serialise
from torch import Tensor, nn

from ..diffusion.denoiser import Denoiser
from ..diffusion.levels import Levels
from ..errors import Refused
from ..files import MAX_HEADER, OURS, header_length, read_bytes, read_header, read_tensors, write
from .classifier import Classifier
from .config import Config
from .layers import channels_last
from .registry import new_discriminator, new_generator

__all__ = [
    "MAX_ADJUSTED",
    "WEIGHTS",
    "amend",
    "card_of",
    "check_free",
    "has_discriminator",
    "load",
    "load_classifier",
    "load_discriminator",
    "new_card",
    "read_card",
    "save",
    "save_classifier",
    "save_file",
]

MAX_ADJUSTED = 10.0
ADJUSTED = ("spread", "guidance")  # how a network draws, beside its weights: 1 as it was trained
WEIGHTS = Path(__file__).parents[2] / "weights"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

Network = TypeVar("Network", bound=nn.Module)


def new_card(
    denoiser: Denoiser, config: Config, shape: tuple[int, ...], made: dict[str, Any], dtype: torch.dtype = torch.float32
) -> dict[str, Any]:
    """All that a model's file says about it but its weights; `made` goes in as it is."""
    levels = denoiser.levels
    return {
        "format": 1,
        "config": config.to_dict(),
        "shape": list(shape),
        "levels": levels and {"values": levels.values, "between": levels.continuous},
        **{name: value for name in ADJUSTED if (value := getattr(denoiser, name, 1.0)) != 1},
        "dtype": str(dtype).removeprefix("torch."),
        "parameters": sum(p.numel() for p in denoiser.parameters()),
        **made,
    }


def save(
    directory: Path | str,
    denoiser: Denoiser,
    config: Config,
    *,
    shape: tuple[int, ...],
    made: dict[str, Any],
    discriminator: nn.Module | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write the model and its card; `made` (hardware, seconds, metrics, command, ...) goes into the card as it is.

    `dtype` is what the weights are rounded to: bfloat16 halves the files.

    The card stands in the model's own header too: model.safetensors can be taken elsewhere alone, and is then read as a
    single file is, if it has at most 64 MiB.
    """
    directory, card = Path(directory), new_card(denoiser, config, shape, made, dtype)
    weights = _serialised(denoiser, {"card": json.dumps(card, allow_nan=False)}, dtype)
    card["sha256"] = hashlib.sha256(weights).hexdigest()
    if discriminator is not None:
        write(directory / "discriminator.safetensors", opponent := _serialised(discriminator, None, dtype))
        card["discriminator_sha256"] = hashlib.sha256(opponent).hexdigest()
    write(directory / "model.safetensors", weights)
    _write_card(directory, card)


def card_of(denoiser: Denoiser) -> dict[str, Any]:
    """The card of a model that was trained or loaded; Refused where it has none."""
    if denoiser.card is None:
        raise Refused(
            "a network of your own has no card: safetensors.torch.save_model(network, path) keeps its weights, "
            "load_model(network, path) reads them"
        )
    return denoiser.card


def save_file(path: Path | str, denoiser: Denoiser) -> None:
    """Write a denoiser that has a card as one .safetensors file with the card in its header; `load` reads it back."""
    note = json.dumps(card := card_of(denoiser), allow_nan=False)
    data = _serialised(denoiser, {"card": note}, _dtype(card))
    if header_length(data) > MAX_HEADER:
        raise Refused(f"the card is {len(note):,} characters long: too many for the header of one file")
    write(Path(path), data)


def load(name: str | Path) -> Denoiser:
    """A shipped model by name, or one in a directory or in one file: ready to sample, with its card as `.card`.

    `levels` are set. Refused where there is none, or it is damaged, foreign or not finite.
    """
    path = _directory(name)
    card = read_card(path)
    try:
        with torch.device("meta"):  # no memory and no random numbers before the file turns out to fit
            denoiser = new_generator(Config.from_dict(card["config"]), tuple(card["shape"]))
    except Refused as error:
        raise Refused(f"the card in {path} describes no network: {error}") from error
    denoiser.to(_dtype(card))
    if path.suffix == ".safetensors":
        denoiser.load_state_dict(read_tensors(read_bytes(path), path, denoiser.state_dict()), assign=True)
    else:
        _fill(denoiser, path / "model.safetensors", card["sha256"])
    if card["levels"] is not None:
        denoiser.levels = Levels(tuple(card["levels"]["values"]), card["levels"]["between"])
    for name in ADJUSTED:
        if hasattr(denoiser, name):
            setattr(denoiser, name, card.get(name, 1.0))
    denoiser.card = card
    return _ready(denoiser, card)


def amend(name: str | Path, **fields: Any) -> None:
    """Write further fields into a model's card.json; its weights stay as they are. Refused where there is none."""
    directory = _directory(name)
    if not (directory / "card.json").is_file():
        raise Refused(f"{directory} is no directory of a model: it has no card.json")
    _write_card(directory, {**read_card(directory), **fields})


def check_free(directory: Path) -> None:
    """Refused where a model, or a run that has none yet, stands in the directory already."""
    if (directory / "card.json").exists():
        raise Refused(f"{directory} already holds a model: choose another directory")
    if any(directory.glob("state*.safetensors")):
        raise Refused(f"{directory} already holds a run: choose another directory")


def has_discriminator(name: str | Path) -> bool:
    """Whether a model's discriminator was kept: a file of a model alone holds none. Refused where there is no model."""
    return _directory(name).suffix != ".safetensors" and "discriminator_sha256" in read_card(name)


def load_discriminator(name: str | Path) -> nn.Module:
    """The discriminator that a model was trained against; Refused where it was not kept, or is damaged."""
    directory = _directory(name)
    if not has_discriminator(directory):
        raise Refused(f"the model in {directory} was saved without its discriminator")
    card = read_card(directory)
    config = Config.from_dict(card["config"])
    with torch.device("meta"):
        network = new_discriminator(config, tuple(card["shape"])).to(_dtype(card))
    _fill(network, directory / "discriminator.safetensors", card["discriminator_sha256"])
    return _ready(network, card)


def save_classifier(directory: Path, classifier: Classifier, made: dict[str, Any]) -> None:
    """Write a classifier, its parameters in bfloat16, and its card; `made` (classes, metrics, ...) goes in as it is."""
    weights = serialise({name: value.contiguous() for name, value in _kept(classifier).items()})
    card = {
        "format": 1,
        "shape": list(classifier.shape),
        "width": classifier.width,
        **({"noisy": True} if classifier.noisy else {}),
        "parameters": sum(p.numel() for p in classifier.parameters()),
        **made,
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    write(directory / "classifier.safetensors", weights)
    _write_card(directory, card)


def load_classifier(name: str | Path) -> Classifier:
    """A shipped classifier by name, or one in a directory, with its card as `.card`; Refused where there is none."""
    directory = _directory(name)
    text = read_bytes(directory / "card.json")
    try:
        card = json.loads(text)
        sizes = card["shape"] + [card["width"]]
        if len(sizes) != 4 or any(type(size) is not int for size in sizes):
            raise Refused(f"sizes {str(sizes)[:40]}")
        with torch.device("meta"):
            classifier = Classifier(card["shape"], len(card["classes"]), card["width"], card.get("noisy") is True)
        sha256 = str(card["sha256"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(f"{directory}/card.json is not the card of a classifier") from error
    kept = _checked(directory / "classifier.safetensors", sha256, _kept(classifier))
    classifier.load_state_dict(kept, assign=True)
    classifier.card = card
    return _ready(classifier, card)


def read_card(name: str | Path) -> dict[str, Any]:
    """The card of a model, as `load` knows it; Refused where it is missing or not one of ours."""
    path = _directory(name)
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise Refused(f"there is no file {str(path)!r}")
        note = read_header(read_bytes(path), path).get("__metadata__")
        if not isinstance(note, dict) or not isinstance(note.get("card"), str):
            raise Refused(f"{path} holds no card of this project: it cannot be used as a model on its own")
        return _card(note["card"], f"the card in {path}")
    if not (path / "card.json").is_file():
        if any(path.glob("state*.safetensors")):
            raise Refused(f"the run in {path} has no model yet: it writes one when it ends, and --resume goes on")
        shipped = sorted(path.parent.name for path in WEIGHTS.glob("*/model.safetensors"))
        near = get_close_matches(str(name), shipped, 3, cutoff=0.4) or shipped[:3]
        raise Refused(
            f"no model {str(path)!r}: wanted the directory of a trained run, or one of {len(shipped)} shipped models, "
            f"such as {', '.join(near)}"
        )
    card = _card(read_bytes(path / "card.json"), f"{path}/card.json")
    if not isinstance(card.get("sha256"), str):
        raise Refused(f"{path}/card.json is not a card of this project: it lacks the sha256 of the weights")
    return card


def _card(text: str | bytes, where: str) -> dict[str, Any]:
    """A card's JSON, every field that is acted upon checked; `where` begins the sentence of the refusal."""
    try:
        card = json.loads(text)
        card["config"] = Config.from_dict(card["config"]).to_dict()  # all fields: others read them by name
        shape, levels = card["shape"], card["levels"]
        if not 1 <= len(shape) <= 3 or any(type(side) is not int or not 1 <= side <= 4096 for side in shape):
            raise Refused(f"shape {str(shape)[:40]}")
        if card.get("dtype", "float32") not in DTYPES:
            raise Refused(f"dtype {str(card['dtype'])[:40]}")
        if levels is not None:
            values, between = levels["values"], levels["between"]
            if type(between) is not bool or not 1 <= len(values) <= 1000 or not all(map(_is_finite, values)):
                raise Refused("levels that are not numbers")
        for name in ADJUSTED:
            if not _is_finite(value := card.get(name, 1.0)) or not 0 < value <= MAX_ADJUSTED:
                raise Refused(f"{name} {str(value)[:40]}")
        _check_classes(card)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)[:200]
        raise Refused(f"{where} is not a card of this project: {reason}") from error
    return card


def _check_classes(card: dict[str, Any]) -> None:
    """Refused where the names of a card's classes, or the numbers of their images, are none."""
    names, counts = (card.get(field) or [] for field in ("classes", "class_counts"))
    sizes = (0, card["config"]["classes"])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(names) not in sizes:
        raise Refused(f"classes {str(names)[:40]}")
    if not isinstance(counts, list) or any(type(n) is not int or n < 0 for n in counts) or len(counts) not in sizes:
        raise Refused(f"class_counts {str(counts)[:40]}")
    if counts and not sum(counts):
        raise Refused("class_counts that are all 0")


def _write_card(directory: Path, card: dict[str, Any]) -> None:
    write(directory / "card.json", json.dumps(card, indent=2, allow_nan=False).encode() + b"\n")


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _directory(name: str | Path) -> Path:
    return WEIGHTS / name if (WEIGHTS / name / "card.json").is_file() else Path(name)


def _serialised(network: nn.Module, note: dict[str, str] | None, dtype: torch.dtype) -> bytes:
    state = {name: value.to(dtype).contiguous() for name, value in network.state_dict().items()}
    return serialise(state, metadata=note)


def _ready(network: Network, card: dict[str, Any]) -> Network:
    """In float32, for inference, images' convolutions in the memory format that is fast."""
    network.to(torch.float32).requires_grad_(False).eval()
    return channels_last(network) if len(card["shape"]) == 3 else network


def _dtype(card: dict[str, Any]) -> torch.dtype:
    """What the weights are stored in; cards of models of points do not always say it."""
    return DTYPES[card.get("dtype", "float32")]


def _fill(network: nn.Module, path: Path, sha256: str) -> None:
    """Put a file's weights into a network built without memory, if it is the file that the card speaks of."""
    network.load_state_dict(_checked(path, sha256, network.state_dict()), assign=True)


def _checked(path: Path, sha256: str, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file, if it is the one that the card speaks of."""
    data = read_bytes(path, OURS)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Refused(f"{path} is damaged: its sha256 is not the one on its card")
    return read_tensors(data, path, expected, OURS)


def _kept(classifier: Classifier) -> dict[str, Tensor]:
    """What a file keeps of a classifier: its parameters in bfloat16, its buffers as they are."""
    return classifier.state_dict() | {name: value.detach().bfloat16() for name, value in classifier.named_parameters()}
