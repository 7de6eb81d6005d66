"""Models and training states on disk: safetensors beside a JSON card, written atomically, checked before use.

    DIR/model.safetensors   the generator that samples (the moving average)
    DIR/discriminator.safetensors   its opponent, where it was trained adversarially
    DIR/card.json           config, levels, what made it, its metrics, and the sha256 of the weights
    DIR/state.safetensors   everything that a resumed run needs, bit for bit
    DIR/points.csv          the data, where it was the user's own

A damaged or foreign file is a ValueError of one sentence; nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse
from safetensors.torch import save as serialise
from torch import Tensor, nn

from . import networks
from .config import Config
from .denoiser import Denoiser, Levels

__all__ = ["MAX_BYTES", "WEIGHTS", "load", "load_discriminator", "load_state", "new_generator", "read_card", "save", "save_state"]

WEIGHTS = Path(__file__).parents[1] / "weights"
MAX_BYTES = 64 * 2**20  # of a file that we are willing to read


def new_generator(config: Config, shape: tuple[int, ...]) -> Denoiser:
    """The freshly initialised generator, or regression denoiser, of a config for data of `shape`."""
    return networks.generator(
        config.network, shape, latent_dim=config.latent_dim, width=config.width, depth=config.depth
    )


def save(
    directory: Path,
    denoiser: Denoiser,
    config: Config,
    shape: tuple[int, ...],
    made: dict[str, Any],
    discriminator: nn.Module | None = None,
) -> None:
    """Write the model and its card; `made` (hardware, seconds, metrics, command, ...) goes into the card as it is."""
    weights = _serialised(denoiser)
    levels = None if denoiser.levels is None else {"values": denoiser.levels.values, "between": denoiser.levels.between}
    card = {
        "format": 1,
        "config": config.to_dict(),
        "shape": list(shape),
        "levels": levels,
        "parameters": sum(p.numel() for p in denoiser.parameters()),
        "sha256": hashlib.sha256(weights).hexdigest(),
        **made,
    }
    if discriminator is not None:
        _write(directory / "discriminator.safetensors", opponent := _serialised(discriminator))
        card["discriminator_sha256"] = hashlib.sha256(opponent).hexdigest()
    _write(directory / "model.safetensors", weights)
    _write(directory / "card.json", json.dumps(card, indent=2, allow_nan=False).encode() + b"\n")


def load(name: str | Path) -> Denoiser:
    """A shipped model by name, or one in a directory: ready to sample, with `levels` set and its card as `.card`.

    ValueError where there is none, or it is damaged, foreign or not finite.
    """
    directory = _directory(name)
    card = read_card(directory)
    denoiser = new_generator(Config.from_dict(card["config"]), tuple(card["shape"]))
    _fill(denoiser, directory / "model.safetensors", card["sha256"])
    if card["levels"] is not None:
        denoiser.levels = Levels(tuple(card["levels"]["values"]), card["levels"]["between"])
    denoiser.card = card
    return denoiser.requires_grad_(False).eval()


def load_discriminator(name: str | Path) -> nn.Module:
    """The discriminator that a model was trained against; ValueError where it was not kept, or is damaged."""
    directory = _directory(name)
    card = read_card(directory)
    if "discriminator_sha256" not in card:
        raise ValueError(f"the model in {directory} was saved without its discriminator")
    config = Config.from_dict(card["config"])
    network = networks.discriminator(config.network, tuple(card["shape"]), width=config.width, depth=config.depth)
    _fill(network, directory / "discriminator.safetensors", card["discriminator_sha256"])
    return network.requires_grad_(False).eval()


def read_card(directory: Path) -> dict[str, Any]:
    """The card of a model's directory; ValueError where it is missing or not one of ours."""
    shipped = sorted(path.parent.name for path in WEIGHTS.glob("*/card.json"))
    if not (directory / "card.json").is_file():
        raise ValueError(f"no model {str(directory)!r}: wanted one of {', '.join(shipped)}, or a trained run's directory")
    try:
        card = json.loads(_read(directory / "card.json"))
        Config.from_dict(card["config"])
        if not {"shape", "levels", "sha256"} <= set(card) or not 1 <= len(card["shape"]) <= 3:
            raise KeyError("shape, levels or sha256")
        if any(type(side) is not int or not 1 <= side <= 4096 for side in card["shape"]):
            raise ValueError(f"shape {card['shape']}")
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"{directory}/card.json is not a card of this project: {error}") from error
    return card


def save_state(directory: Path, state: dict[str, Tensor], config: Config, step: int, seconds: float) -> None:
    """Write a training state with the config it belongs to."""
    note = {"config": json.dumps(config.to_dict()), "step": str(step), "seconds": repr(seconds)}
    _write(directory / "state.safetensors", serialise({k: v.contiguous() for k, v in state.items()}, metadata=note))


def load_state(directory: Path, expected: dict[str, Tensor], config: Config) -> tuple[dict[str, Tensor], int, float]:
    """(state, step, seconds) of the run in this directory.

    `expected` names the tensors that must be there; Adam's, which a fresh optimiser lacks, may be there too.
    ValueError where there is no state, it is damaged, or its config differs (it says where).
    """
    path = directory / "state.safetensors"
    if not path.is_file():
        raise ValueError(f"there is no run to resume in {directory}")
    data = _read(path)
    tensors = _tensors(data, path)
    try:
        note = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        saved, step, seconds = Config.from_dict(json.loads(note["config"])), int(note["step"]), float(note["seconds"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a training state of this project") from error
    if difference := saved.difference(config):
        words = ", ".join(f"{name} {old!r} there and {new!r} now" for name, (old, new) in difference.items())
        raise ValueError(f"the run in {directory} has another configuration: {words}")
    missing = [name for name, value in expected.items() if name not in tensors or tensors[name].shape != value.shape]
    if missing:
        raise ValueError(f"{path} does not hold {missing[0]} as this network needs it")
    return tensors, step, seconds


def _directory(name: str | Path) -> Path:
    return WEIGHTS / name if (WEIGHTS / name / "card.json").is_file() else Path(name)


def _serialised(network: nn.Module) -> bytes:
    return serialise({name: value.contiguous() for name, value in network.state_dict().items()})


def _fill(network: nn.Module, path: Path, sha256: str) -> None:
    """Load a file's weights into the network, if it is the file that the card speaks of."""
    data = _read(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{path} is damaged: its sha256 is not the one on its card")
    network.load_state_dict(_tensors(data, path, network.state_dict()))


def _tensors(data: bytes, path: Path, expected: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The tensors of safetensors bytes: finite, and exactly the expected names and shapes where given."""
    try:
        tensors = parse(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a safetensors file, or is damaged") from error
    if expected is not None and {k: v.shape for k, v in tensors.items()} != {k: v.shape for k, v in expected.items()}:
        raise ValueError(f"{path} does not hold the weights that its card describes")
    if not all(value.isfinite().all() for value in tensors.values()):
        raise ValueError(f"{path} holds numbers that are not finite")
    return tensors


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{path} is larger than the {MAX_BYTES // 2**20} MiB that a model may have")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error


def _write(path: Path, data: bytes) -> None:
    """Through a temporary file, fsynced and renamed: the file is the old one or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise ValueError(f"{path} cannot be written ({error.strerror})") from error
