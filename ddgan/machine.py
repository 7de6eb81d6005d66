"""What this computer is: its processor in words, how many cores to use, and which arithmetic it is fast in."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch

__all__ = ["device", "hardware", "precision", "record", "single_thread"]


def single_thread() -> None:
    """Compute on one core: networks this small lose more by sharing the work than they gain, above all on a busy host."""
    torch.set_num_threads(1)


def hardware() -> str:
    """The processor that this runs on, in a few words."""
    try:
        model = next(line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name"))
    except StopIteration:
        model = platform.processor() or platform.machine()
    words = f"{model}, {torch.get_num_threads()} thread(s)"
    return f"{torch.cuda.get_device_name()}, {words}" if torch.cuda.is_available() else words


def record() -> dict[str, Any]:
    """What every number that is published goes with: commit, torch, hardware, device, threads."""
    return {
        "commit": _commit(),
        "torch": torch.__version__,
        "hardware": hardware(),
        "device": device().type,
        "threads": torch.get_num_threads(),
    }


def device() -> torch.device:
    """Where networks of images run: a GPU where there is one."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def precision(device: torch.device) -> torch.dtype:
    """What convolutions compute in: bfloat16 on GPUs that have it and on CPUs with AMX, float32 elsewhere.

    A CPU that has bfloat16 instructions but no AMX is two to three times slower with them than in float32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    amx = device.type == "cpu" and any("amx_bf16" in line.split() for line in _cpuinfo() if line.startswith("flags"))
    return torch.bfloat16 if amx else torch.float32


@cache
def _commit() -> str | None:
    """The commit that this runs from, with a + where the code has changed since; None where git does not know."""
    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=10", "HEAD") + "+" * bool(git("status", "--porcelain", "--", "."))
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
