"""Files that are whole or not there: atomic writes, locks between processes, and safetensors checked before use.

A damaged or foreign file is Refused, in one sentence; nothing here is ever unpickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: nothing keeps two processes apart there
    fcntl = None  # type: ignore[assignment]

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse
from torch import Tensor

from .errors import Refused

__all__ = [
    "MAX_BYTES",
    "MAX_HEADER",
    "OURS",
    "claimed",
    "header_length",
    "in_lines",
    "in_turn",
    "read_bytes",
    "read_header",
    "read_tensors",
    "write",
]

MAX_BYTES = 64 * 2**20  # of a single file, which may be a stranger's
MAX_HEADER = 64 * 2**10  # its bytes: ours have a few thousand, and parsing a hundred thousand entries takes seconds
OURS = 64  # times as much is read in a directory, which is this machine's own


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


def header_length(data: bytes) -> int:
    """The length that a safetensors file states for its header, in its first eight bytes."""
    return int.from_bytes(data[:8], "little")


def read_header(data: bytes, path: Path, times: int = 1) -> dict[str, Any]:
    """The JSON header of safetensors bytes; Refused where it is not one, or longer than any of ours."""
    length = header_length(data)
    if len(data) < 8 or length > len(data) - 8:
        raise Refused(f"{path} is not a safetensors file, or is damaged")
    if length > times * MAX_HEADER:
        raise Refused(f"{path} has a header of {length:,} bytes, wanted at most {times * MAX_HEADER:,}")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path} is not a safetensors file, or is damaged") from error
    if not isinstance(header, dict):
        raise Refused(f"{path} is not a safetensors file, or is damaged")
    return header


def read_tensors(
    data: bytes, path: Path, expected: dict[str, Tensor] | None = None, times: int = 1
) -> dict[str, Tensor]:
    """The tensors of safetensors bytes: finite, and exactly the expected names, shapes and types where given."""
    read_header(data, path, times)
    try:
        tensors = parse(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise Refused(f"{path} is not a safetensors file, or is damaged") from error
    if expected is not None and _kinds(tensors) != _kinds(expected):
        raise Refused(f"{path} does not hold the weights that its card describes")
    if not all(value.isfinite().all() for value in tensors.values()):
        raise Refused(f"{path} holds numbers that are not finite")
    return tensors


def _kinds(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (value.shape, value.dtype) for name, value in tensors.items()}


def read_bytes(path: Path, times: int = 1) -> bytes:
    """The bytes of a file; Refused where it cannot be read, or is larger than `times` what a single file may be."""
    try:
        if path.stat().st_size > times * MAX_BYTES:
            raise Refused(f"{path} is larger than the {times * MAX_BYTES // 2**20} MiB that a model may have")
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"{path} cannot be read ({error.strerror})") from error


def in_lines(head: Mapping[str, Any], name: str, rows: Iterable[Any], **options: Any) -> bytes:
    """The JSON object of `head` and of a list `name`, a line for each item, as diffs want it; see json.dumps."""
    fields = "".join(f"{json.dumps(key)}: {json.dumps(value)}, " for key, value in head.items())
    lines = ",\n".join(json.dumps(row, **options) for row in rows)
    return f"{{{fields}{json.dumps(name)}: [\n{lines}\n]}}\n".encode()


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
        raise Refused(f"{path} cannot be written ({error.strerror}){kept}") from error


def _sync(directory: Path) -> None:
    """Put the names in a directory on the disk: without it, a power cut may undo a rename."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """Within, no other process trains in this directory; Refused where one does.

    The system drops the lock when the process dies, however it dies: a file that is left behind blocks nobody.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = open(directory / ".lock", "ab")
    except OSError as error:
        raise Refused(f"{directory} cannot be written ({error.strerror})") from error
    with file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            words = f"another process is training in {directory}: wait for it, or choose another directory"
            raise Refused(words) from error
        except OSError:
            pass  # a file system without locks
        yield
