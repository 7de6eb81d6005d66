"""What this computer is: its processor in words, how many cores to use, which arithmetic it is fast in.

On Hugging Face's ZeroGPU there is a GPU only inside of functions that `on_gpu` has wrapped, each call in a process that is
forked for it; the package `spaces` arranges that, and has to be imported before anything touches CUDA.
"""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

try:
    import spaces
except ImportError:
    spaces = None
import torch

__all__ = ["commit", "device", "give_memory_back", "hardware", "on_gpu", "on_loan", "one_arena", "precision", "record", "single_thread"]

GPU_SECONDS = 20  # that one call may take: a visitor has some minutes a day


def single_thread() -> None:
    """Compute on one core: networks this small lose more by sharing the work than they gain, above all on a busy host."""
    torch.set_num_threads(1)


def one_arena() -> None:
    """Let all threads of a server share one heap: of one each, glibc keeps tens of megabytes that nobody uses any more."""
    _glibc("mallopt", -8, 1)  # M_ARENA_MAX


def give_memory_back() -> None:
    """Return to the system what is free again."""
    _glibc("malloc_trim", 0)


def _glibc(function: str, *arguments: int) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            getattr(ctypes.CDLL(None), function)(*arguments)


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
        "commit": commit(),
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
    """What convolutions compute in: bfloat16 on GPUs and CPUs that multiply in it, float32 elsewhere.

    A CPU with AVX512 but no bfloat16 products (AMX or AVX512-BF16) is slower in bfloat16 than in float32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    flags = next((set(line.split()) for line in _cpuinfo() if line.startswith("flags")), set())
    multiplies = device.type == "cpu" and flags & {"amx_bf16", "avx512_bf16"}
    return torch.bfloat16 if multiplies else torch.float32


def on_loan() -> bool:
    """Whether GPUs may be lent here by the call: what runs on them is then to be placed before the first visitor comes."""
    return spaces is not None


def on_gpu(task: Callable) -> Callable:
    """The function, or generator function, as it runs where GPUs are lent by the call; itself anywhere else.

    Arguments and results are pickled between processes: plain values in, NumPy arrays out. What it changes is lost, and
    of what it raises only the name arrives.
    """
    return spaces.GPU(duration=GPU_SECONDS)(task) if on_loan() else task


@cache
def commit() -> str | None:
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
