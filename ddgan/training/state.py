"""A training on disk: everything that a resumed run needs, bit for bit.

DIR/state.safetensors   the run: networks, averages, optimisers, and where it stands
DIR/state-before.safetensors    the one before, should that one be damaged
DIR/.lock               locked while a process trains here: files.claimed
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save as serialise
from torch import Tensor

from ..errors import Refused
from ..files import OURS, read_bytes, read_header, read_tensors, write
from ..models.checkpoint import read_card
from ..models.config import Config

__all__ = ["Saved", "check_there", "holds_state", "load_state", "save_state", "trained_on"]


class Saved(NamedTuple):
    """A run as it was saved: its tensors, updates, training seconds, and how often it went back to a saved state.

    `data` is the fingerprint of what it trains on; `history`, a line a run, how the weights came about that it began
    with; `skipped` counts the steps of a network whose gradients were not finite, `in_a_row` the updates up to here
    that had one. `commands` are those that the run was begun and resumed with, each that differs from the one before.
    """

    state: dict[str, Tensor]
    step: int
    seconds: float
    rollbacks: int
    data: str = ""
    history: tuple[dict[str, Any], ...] = ()
    skipped: int = 0
    in_a_row: int = 0
    commands: Sequence[str] = ()


def _states(directory: Path) -> tuple[Path, Path]:
    """Where the newest state stands, and the one before."""
    return directory / "state.safetensors", directory / "state-before.safetensors"


def holds_state(directory: Path) -> bool:
    """Whether there is a run to resume."""
    return any(path.exists() for path in _states(directory))


def check_there(directory: Path) -> None:
    """Refused where there is no run to resume."""
    if not holds_state(directory):
        raise Refused(f"there is no run to resume in {directory}")


def trained_on(directory: Path) -> str | None:
    """The fingerprint of the data of the run in this directory, from its card or state; None where neither is there."""
    with suppress(Refused, OSError):
        return read_card(directory).get("data", "")
    for path in _states(directory):
        with suppress(Refused, OSError):
            return _state(path)[0].data
    return None


def save_state(directory: Path, saved: Saved, config: Config) -> None:
    """Write a training state with the config it belongs to, and keep the one before.

    FloatingPointError where it is not finite: what could not be resumed never takes the place of what can.
    """
    for name, value in saved.state.items():
        if not value.isfinite().all():
            raise FloatingPointError(f"{name} is not finite after update {saved.step}")
    state = {name: value.cpu().contiguous() for name, value in saved.state.items()}
    note = {
        "config": json.dumps(config.to_dict()),
        "run": json.dumps(dict(zip(saved._fields[1:], saved[1:], strict=True))),
    }
    newest, before = _states(directory)
    write(newest, serialise(state, metadata=note | {"sha256": _digest(state, note)}), keep=before)


def load_state(
    directory: Path,
    expected: dict[str, Tensor],
    config: Config,
    data: str = "",
    say: Callable[[str], None] = warnings.warn,
) -> Saved:
    """The newest state of the run in this directory; if it is damaged, `say` is told, and the one before is returned.

    `expected` names the tensors that must be there; Adam's, which a fresh optimiser lacks, may be there too.
    Refused where there is no state, none is whole, its config differs (it says where), or it is of other data,
    which the fingerprint `data` decides: the data's name may differ where that is the same.
    """
    check_there(directory)
    (newest, before), damage = _states(directory), ""
    try:
        saved, of = _state(newest)
    except Refused as error:
        if not before.exists():
            raise
        damage = str(error)
        try:
            saved, of = _state(before)
        except Refused as too:
            raise Refused(f"{damage}, and {too}") from too
    if data and saved.data:  # these tell whether it is the same; a file has many paths
        of = replace(of, data=config.data)
    if difference := of.difference(config):
        words = ", ".join(f"{name} {old!r} there and {new!r} now" for name, (old, new) in difference.items())
        raise Refused(f"the run in {directory} has another configuration: {words}")
    if saved.data != data:
        raise Refused(f"the run in {directory} was trained on other data than is given now")
    missing = [
        name for name, value in expected.items() if name not in saved.state or saved.state[name].shape != value.shape
    ]
    if missing:
        raise Refused(f"the state in {directory} does not hold {missing[0]} as this network needs it")
    if damage and newest.exists():  # else the run was killed as one was to become the other
        say(f"{damage}; going on from the state before it, after update {saved.step:,}")
        newest.unlink(missing_ok=True)  # or the next save would keep it, in place of the good one
    return saved


def _state(path: Path) -> tuple[Saved, Config]:
    """A state's file and the config it belongs to; Refused where it is damaged."""
    data = read_bytes(path, OURS)
    tensors = read_tensors(data, path, None, OURS)
    try:
        note = read_header(data, path, OURS)["__metadata__"]
        sha256 = note.pop("sha256")
        saved = Saved(tensors, **json.loads(note["run"]))
        config = Config.from_dict(json.loads(note["config"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{path} is not a training state of this version") from error
    if sha256 != _digest(tensors, note):
        raise Refused(f"{path} is damaged: its sha256 is not the one that it states")
    return saved, config


def _digest(state: dict[str, Tensor], note: dict[str, str]) -> str:
    """The sha256 of all that a state's file says: without it, training would go on from a flipped bit."""
    digest = hashlib.sha256(json.dumps(note, sort_keys=True).encode())
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
