"""What this computer is: its processor in words, how many cores to use, which arithmetic it is fast in.

On Hugging Face's ZeroGPU there is a GPU only inside of functions that `on_gpu` has wrapped, each call in a process
that is forked for it; the package `spaces` arranges that, and has to be imported before anything touches CUDA.
"""

from __future__ import annotations

import ctypes
import getpass
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

try:
    import spaces
except ImportError:
    spaces = None
import torch

__all__ = [
    "commit",
    "cores",
    "device",
    "give_memory_back",
    "give_user_a_name",
    "hardware",
    "keep_pages",
    "on_gpu",
    "on_loan",
    "one_arena",
    "precision",
    "ready_to_train",
    "record",
    "use_cores",
    "zero_divisor",
]

GPU_SECONDS = 20  # that one call may take: a visitor has some minutes a day


def use_cores(n: int = 1) -> None:
    """Compute on n cores. More than one pay for images, on cores that nobody else uses: each waits for the slowest."""
    torch.set_num_threads(n)


def cores() -> int:
    """How many this process may compute on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_arena() -> None:
    """Let all threads of a server share one heap: of one each, glibc keeps tens of megabytes that nobody uses."""
    _glibc("mallopt", -8, 1)  # M_ARENA_MAX


def keep_pages() -> None:
    """Let freed memory wait for its next use, up to 256 MB: new pages cost more than the arithmetic on a table."""
    _glibc("mallopt", -3, 2**25)  # M_MMAP_THRESHOLD, the most that glibc takes
    _glibc("mallopt", -1, 2**28)  # M_TRIM_THRESHOLD


def ready_to_train() -> None:
    """Import what the first optimiser would import: it takes a second, in which all threads stop."""
    import_module("torch._dynamo")


def give_memory_back() -> None:
    """Return to the system what is free again."""
    _glibc("malloc_trim", 0)


def give_user_a_name() -> None:
    """Name a user whom the system does not know (a container's id): earlier torch names a cache so, and fails."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"uid-{os.getuid()}"


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
    """The commit, torch, hardware, device and threads that stand beside every published number."""
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
    multiplies = device.type == "cpu" and _flags() & {"amx_bf16", "avx512_bf16"}
    return torch.bfloat16 if multiplies else torch.float32


@cache
def zero_divisor() -> int:
    """The size of a bfloat16 matrix of 2 to 32 rows at whose product oneDNN divides by zero (SIGFPE); 0 for none.

    On a CPU with AMX it divides by three quarters of the second-level cache in bytes, less this size (torch 2.13).
    """
    if "amx_bf16" not in _flags():
        return 0
    try:
        size = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text().strip()
        return int(size.removesuffix("K")) * 2**10 * 3 // 4
    except (OSError, ValueError):
        return 2 * 2**20 * 3 // 4  # what the first generations of these CPUs have


def on_loan() -> bool:
    """Whether GPUs may be lent here by the call: what runs on them is then placed before the first visitor comes."""
    return spaces is not None


def on_gpu(task: Callable[..., Any]) -> Callable[..., Any]:
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


def _flags() -> set[str]:
    """What the processor can do, in the words of Linux."""
    return next((set(line.split()) for line in _cpuinfo() if line.startswith("flags")), set())


@cache
def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
