"""Models and training states on disk: safetensors beside a JSON card, written atomically, checked before use.

    DIR/model.safetensors   the generator that samples (the moving average)
    DIR/discriminator.safetensors   its opponent, where it was trained adversarially
    DIR/classifier.safetensors   alone: a classifier that judges images
    DIR/card.json           config, levels, what made it, its metrics, and the sha256 of the weights
    DIR/state.safetensors   everything that a resumed run needs, bit for bit
    DIR/state-before.safetensors    the one before, should that one be damaged
    DIR/.lock               locked while a process trains here
    DIR/points.csv          the data, where it was the user's own
    NAME.safetensors        a model to hand on: the weights of one file, with the card in its header

A damaged or foreign file is a ValueError of one sentence; nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

try:
    import fcntl
except ImportError:  # Windows: nothing keeps two trainers apart there
    fcntl = None

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse
from safetensors.torch import save as serialise
from torch import Tensor, nn

from . import networks
from .config import Config
from .denoiser import Denoiser, Levels
from .networks.classifier import Classifier

__all__ = [
    "MAX_BYTES",
    "MAX_HEADER",
    "WEIGHTS",
    "Saved",
    "claimed",
    "holds_state",
    "in_turn",
    "load",
    "load_classifier",
    "load_discriminator",
    "load_state",
    "new_card",
    "new_discriminator",
    "new_generator",
    "read_card",
    "save",
    "save_classifier",
    "save_file",
    "save_state",
    "write",
]

WEIGHTS = Path(__file__).parents[1] / "weights"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MAX_BYTES = 64 * 2**20  # of a single file, which may be a stranger's
MAX_HEADER = 64 * 2**10  # its bytes: ours have a few thousand, and parsing a hundred thousand entries takes seconds
OURS = 64  # times as much is read in a directory, which is this machine's own


def new_generator(config: Config, shape: tuple[int, ...]) -> Denoiser:
    """The freshly initialised generator, or regression denoiser, of a config for data of `shape`."""
    return networks.generator(
        config.network, shape, latent_dim=config.latent_dim, width=config.width, depth=config.depth,
        multipliers=config.multipliers, patch=config.patch,
    )  # fmt: skip


def new_discriminator(config: Config, shape: tuple[int, ...]) -> nn.Module:
    """The freshly initialised discriminator of a config for data of `shape`."""
    return networks.discriminator(
        config.network, shape, width=config.d_width or config.width, depth=config.depth, patch=config.patch
    )


def new_card(
    denoiser: Denoiser, config: Config, shape: tuple[int, ...], made: dict[str, Any], dtype: torch.dtype = torch.float32
) -> dict[str, Any]:
    """All that a model's file says about it but its weights; `made` goes in as it is."""
    levels = None if denoiser.levels is None else {"values": denoiser.levels.values, "between": denoiser.levels.between}
    return {
        "format": 1,
        "config": config.to_dict(),
        "shape": list(shape),
        "levels": levels,
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

    The card stands in the model's own header too, so that model.safetensors is a model wherever it is taken.
    """
    directory, card = Path(directory), new_card(denoiser, config, shape, made, dtype)
    weights = _serialised(denoiser, {"card": json.dumps(card, allow_nan=False)}, dtype)
    card["sha256"] = hashlib.sha256(weights).hexdigest()
    if discriminator is not None:
        write(directory / "discriminator.safetensors", opponent := _serialised(discriminator, None, dtype))
        card["discriminator_sha256"] = hashlib.sha256(opponent).hexdigest()
    write(directory / "model.safetensors", weights)
    write(directory / "card.json", json.dumps(card, indent=2, allow_nan=False).encode() + b"\n")


def save_file(path: Path, denoiser: Denoiser) -> None:
    """Write a denoiser that has a card as one .safetensors file with the card in its header; `load` reads it back."""
    note = json.dumps(denoiser.card, allow_nan=False)
    data = _serialised(denoiser, {"card": note}, _dtype(denoiser.card))
    if _header_length(data) > MAX_HEADER:
        raise ValueError(f"the card is {len(note):,} characters long: too many for the header of one file")
    write(path, data)


def load(name: str | Path) -> Denoiser:
    """A shipped model by name, or one in a directory or in one file: ready to sample, with its card as `.card`.

    `levels` are set. ValueError where there is none, or it is damaged, foreign or not finite.
    """
    path = _directory(name)
    card = read_card(path)
    try:
        with torch.device("meta"):  # no memory and no random numbers before the file turns out to fit
            denoiser = new_generator(Config.from_dict(card["config"]), tuple(card["shape"]))
    except ValueError as error:
        raise ValueError(f"the card in {path} describes no network: {error}") from error
    denoiser.to(_dtype(card))
    if path.suffix == ".safetensors":
        denoiser.load_state_dict(_tensors(_read(path), path, denoiser.state_dict()), assign=True)
    else:
        _fill(denoiser, path / "model.safetensors", card["sha256"])
    if card["levels"] is not None:
        denoiser.levels = Levels(tuple(card["levels"]["values"]), card["levels"]["between"])
    denoiser.card = card
    return _ready(denoiser, card)


def load_discriminator(name: str | Path) -> nn.Module:
    """The discriminator that a model was trained against; ValueError where it was not kept, or is damaged."""
    directory = _directory(name)
    card = read_card(directory)
    if "discriminator_sha256" not in card:
        raise ValueError(f"the model in {directory} was saved without its discriminator")
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
        "parameters": sum(p.numel() for p in classifier.parameters()),
        **made,
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    write(directory / "classifier.safetensors", weights)
    write(directory / "card.json", json.dumps(card, indent=2, allow_nan=False).encode() + b"\n")


def load_classifier(name: str | Path) -> Classifier:
    """A shipped classifier by name, or one in a directory, with its card as `.card`; ValueError where there is none."""
    directory = _directory(name)
    text = _read(directory / "card.json")
    try:
        card = json.loads(text)
        sizes = card["shape"] + [card["width"], len(card["classes"])]
        if len(sizes) != 5 or any(type(size) is not int or not 1 <= size <= 1024 for size in sizes):
            raise ValueError(f"sizes {str(sizes)[:40]}")
        with torch.device("meta"):
            classifier = Classifier(card["shape"], len(card["classes"]), card["width"])
        sha256 = str(card["sha256"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{directory}/card.json is not the card of a classifier") from error
    kept = _checked(directory / "classifier.safetensors", sha256, _kept(classifier))
    classifier.load_state_dict(kept, assign=True)
    classifier.card = card
    return _ready(classifier, card)


def read_card(name: str | Path) -> dict[str, Any]:
    """The card of a model, as `load` knows it; ValueError where it is missing or not one of ours."""
    path = _directory(name)
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise ValueError(f"there is no file {str(path)!r}")
        note = _header(_read(path), path).get("__metadata__")
        if not isinstance(note, dict) or not isinstance(note.get("card"), str):
            raise ValueError(f"{path} holds no card of this project: it cannot be used as a model on its own")
        return _card(note["card"], f"the card in {path}")
    shipped = sorted(path.parent.name for path in WEIGHTS.glob("*/model.safetensors"))
    if not (path / "card.json").is_file():
        raise ValueError(f"no model {str(path)!r}: wanted one of {', '.join(shipped)}, or a trained run's directory")
    card = _card(_read(path / "card.json"), f"{path}/card.json")
    if not isinstance(card.get("sha256"), str):
        raise ValueError(f"{path}/card.json is not a card of this project: it lacks the sha256 of the weights")
    return card


def _card(text: str | bytes, where: str) -> dict[str, Any]:
    """A card's JSON, every field that is acted upon checked; `where` begins the sentence of the ValueError."""
    try:
        card = json.loads(text)
        card["config"] = Config.from_dict(card["config"]).to_dict()  # all fields: others read them by name
        shape, levels = card["shape"], card["levels"]
        if not 1 <= len(shape) <= 3 or any(type(side) is not int or not 1 <= side <= 4096 for side in shape):
            raise ValueError(f"shape {str(shape)[:40]}")
        if card.get("dtype", "float32") not in DTYPES:
            raise ValueError(f"dtype {str(card['dtype'])[:40]}")
        if levels is not None:
            values, between = levels["values"], levels["between"]
            if type(between) is not bool or not 1 <= len(values) <= 1000 or not all(map(_is_finite, values)):
                raise ValueError("levels that are not numbers")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)[:200]
        raise ValueError(f"{where} is not a card of this project: {reason}") from error
    return card


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


class Saved(NamedTuple):
    """A run as it was saved: its tensors, updates, training seconds, and how often it went back from what is not finite.

    `data` is the fingerprint of what it trains on; `history`, a line a run, how the weights came about that it began with;
    `skipped` counts the steps of a network whose gradients were not finite, `in_a_row` the updates up to here that had one.
    """

    state: dict[str, Tensor]
    step: int
    seconds: float
    rollbacks: int
    data: str = ""
    history: tuple[dict[str, Any], ...] = ()
    skipped: int = 0
    in_a_row: int = 0


@contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """Within, no other process trains in this directory; ValueError where one does.

    The system drops the lock when the process dies, however it dies: a file that is left behind blocks nobody.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = open(directory / ".lock", "ab")
    except OSError as error:
        raise ValueError(f"{directory} cannot be written ({error.strerror})") from error
    with file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another process is training in {directory}: wait for it, or choose another directory") from error
        except OSError:
            pass  # a file system without locks
        yield


@contextmanager
def in_turn(directory: Path) -> Iterator[None]:
    """Within, no other process is in the same place: this one waits, where the system has such locks."""
    directory.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _states(directory: Path) -> tuple[Path, Path]:
    """Where the newest state stands, and the one before."""
    return directory / "state.safetensors", directory / "state-before.safetensors"


def holds_state(directory: Path) -> bool:
    """Whether there is a run to resume."""
    return any(path.exists() for path in _states(directory))


def save_state(directory: Path, saved: Saved, config: Config) -> None:
    """Write a training state with the config it belongs to, and keep the one before.

    FloatingPointError where it is not finite: what could not be resumed never takes the place of what can.
    """
    for name, value in saved.state.items():
        if not value.isfinite().all():
            raise FloatingPointError(f"{name} is not finite after update {saved.step}")
    state = {name: value.cpu().contiguous() for name, value in saved.state.items()}
    note = {"config": json.dumps(config.to_dict()), "run": json.dumps(dict(zip(saved._fields[1:], saved[1:], strict=True)))}
    newest, before = _states(directory)
    write(newest, serialise(state, metadata=note | {"sha256": _digest(state, note)}), keep=before)


def load_state(
    directory: Path, expected: dict[str, Tensor], config: Config, data: str = "", say: Callable[[str], None] = warnings.warn
) -> Saved:
    """The newest state of the run in this directory; where it is damaged, that is said, and the one before is it.

    `expected` names the tensors that must be there; Adam's, which a fresh optimiser lacks, may be there too.
    ValueError where there is no state, none is whole, its config differs (it says where), or it is of other data.
    """
    if not holds_state(directory):
        raise ValueError(f"there is no run to resume in {directory}")
    (newest, before), damage = _states(directory), ""
    try:
        saved, of = _state(newest)
    except ValueError as error:
        if not before.exists():
            raise
        damage = str(error)
        try:
            saved, of = _state(before)
        except ValueError as too:
            raise ValueError(f"{damage}, and {too}") from too
    if difference := of.difference(config):
        words = ", ".join(f"{name} {old!r} there and {new!r} now" for name, (old, new) in difference.items())
        raise ValueError(f"the run in {directory} has another configuration: {words}")
    if saved.data != data:
        raise ValueError(f"the run in {directory} was trained on other data than is given now")
    missing = [name for name, value in expected.items() if name not in saved.state or saved.state[name].shape != value.shape]
    if missing:
        raise ValueError(f"the state in {directory} does not hold {missing[0]} as this network needs it")
    if damage and newest.exists():  # else the run was killed as one was to become the other
        say(f"{damage}; going on from the state before it, after update {saved.step:,}")
        newest.unlink(missing_ok=True)  # or the next save would keep it, in place of the good one
    return saved


def _state(path: Path) -> tuple[Saved, Config]:
    """A state's file and the config it belongs to; ValueError where it is damaged."""
    data = _read(path, OURS)
    tensors = _tensors(data, path, None, OURS)
    try:
        note = _header(data, path, OURS)["__metadata__"]
        sha256 = note.pop("sha256")
        saved = Saved(tensors, **json.loads(note["run"]))
        config = Config.from_dict(json.loads(note["config"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a training state of this version") from error
    if sha256 != _digest(tensors, note):
        raise ValueError(f"{path} is damaged: its sha256 is not the one that it states")
    return saved, config


def _digest(state: dict[str, Tensor], note: dict[str, str]) -> str:
    """The sha256 of everything that a state's file says: safetensors has no sum of its own, and a flipped bit would train on."""
    digest = hashlib.sha256(json.dumps(note, sort_keys=True).encode())
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _directory(name: str | Path) -> Path:
    return WEIGHTS / name if (WEIGHTS / name / "card.json").is_file() else Path(name)


def _serialised(network: nn.Module, note: dict[str, str] | None, dtype: torch.dtype) -> bytes:
    return serialise({name: value.to(dtype).contiguous() for name, value in network.state_dict().items()}, metadata=note)


def _ready(network: nn.Module, card: dict[str, Any]) -> nn.Module:
    """In float32, for inference, images' convolutions in the memory format that is fast."""
    images = {"memory_format": torch.channels_last} if len(card["shape"]) == 3 else {}
    return network.to(torch.float32, **images).requires_grad_(False).eval()


def _dtype(card: dict[str, Any]) -> torch.dtype:
    """What the weights are stored in; cards of models of points do not always say it."""
    return DTYPES[card.get("dtype", "float32")]


def _header_length(data: bytes) -> int:
    """The length that a safetensors file states for its header, in its first eight bytes."""
    return int.from_bytes(data[:8], "little")


def _header(data: bytes, path: Path, times: int = 1) -> dict[str, Any]:
    """The JSON header of safetensors bytes; ValueError where it is not one, or longer than any of ours."""
    length = _header_length(data)
    if len(data) < 8 or length > len(data) - 8:
        raise ValueError(f"{path} is not a safetensors file, or is damaged")
    if length > times * MAX_HEADER:
        raise ValueError(f"{path} has a header of {length:,} bytes, wanted at most {times * MAX_HEADER:,}")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a safetensors file, or is damaged") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path} is not a safetensors file, or is damaged")
    return header


def _fill(network: nn.Module, path: Path, sha256: str) -> None:
    """Put a file's weights into a network built without memory, if it is the file that the card speaks of."""
    network.load_state_dict(_checked(path, sha256, network.state_dict()), assign=True)


def _checked(path: Path, sha256: str, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file, if it is the one that the card speaks of."""
    data = _read(path, OURS)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{path} is damaged: its sha256 is not the one on its card")
    return _tensors(data, path, expected, OURS)


def _kept(classifier: Classifier) -> dict[str, Tensor]:
    """What a file keeps of a classifier: its parameters in bfloat16, its buffers as they are."""
    return classifier.state_dict() | {name: value.detach().bfloat16() for name, value in classifier.named_parameters()}


def _tensors(
    data: bytes, path: Path, expected: dict[str, Tensor] | None = None, times: int = 1
) -> dict[str, Tensor]:
    """The tensors of safetensors bytes: finite, and exactly the expected names, shapes and types where given."""
    _header(data, path, times)
    try:
        tensors = parse(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a safetensors file, or is damaged") from error
    if expected is not None and _kinds(tensors) != _kinds(expected):
        raise ValueError(f"{path} does not hold the weights that its card describes")
    if not all(value.isfinite().all() for value in tensors.values()):
        raise ValueError(f"{path} holds numbers that are not finite")
    return tensors


def _kinds(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (value.shape, value.dtype) for name, value in tensors.items()}


def _read(path: Path, times: int = 1) -> bytes:
    try:
        if path.stat().st_size > times * MAX_BYTES:
            raise ValueError(f"{path} is larger than the {times * MAX_BYTES // 2**20} MiB that a model may have")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error


def write(path: Path, data: bytes, keep: Path | None = None) -> None:
    """Through a temporary file, fsynced and renamed: the file is the old one or the new one, never half of it.

    The old one becomes `keep`, if given: between the two renames there is nothing else, and all of it.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if keep and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()  # a full disk needs the room
        kept = ": it stays as it was" if os.path.exists(path) else ""
        raise ValueError(f"{path} cannot be written ({error.strerror}){kept}") from error


def _sync(directory: Path) -> None:
    """Put the names in a directory on the disk: without it, a power cut may undo a rename."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
