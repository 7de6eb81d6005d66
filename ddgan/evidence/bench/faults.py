"""Kill trainings at random and in the middle of saving, resume them, and compare them with an unbroken run.

Each life of a training is a process that runs the command line and dies by SIGKILL. A server that has only imported
torch forks it. So a life begins within milliseconds and inherits no threads.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...data.images import sheet
from ...errors import Refused
from ...machine import hardware
from ...training.state import holds_state

__all__ = ["KILL_POINTS", "RUNS", "Main", "begin", "die_at", "kills", "new_images", "same", "until_saved"]

Main = Callable[[list[str]], int]  # the command line
RUNS = {  # small runs that save after every update; IMAGES stands for a folder
    "points": "train 8-gaussians --T 1 --width 16 --depth 1 --batch 16 --steps 60 --save-every 0",
    "images": "train mnist --data IMAGES --width 16 --d-width 16 --batch 8 --every 2 --steps 8 --save-every 0",
}
# name: (what the process is about to do or has just done, for which time); in its third save or before its first card
KILL_POINTS = {
    "mid-write": ("half a file", 3),
    "before the renames": ("before state-before.safetensors", 2),
    "between the renames": ("before state.safetensors", 3),
    "after the renames": ("after state.safetensors", 3),
    "between model and card": ("before card.json", 1),
}


def kills(main: Main, times: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Kill trainings of points and of images `times` times at random and once at each of KILL_POINTS. Resume each.

    Returns the count of kills, and how many of them left a last state and a model with the bytes of an unbroken run.
    """
    start, noise = time.monotonic(), random.Random(0)
    report: dict[str, Any] = {"hardware": hardware(), "torch": torch.__version__, "kills": 0, "bit_exact": 0}
    with tempfile.TemporaryDirectory() as folder:
        new_images(Path(folder, "images"))
        for data, line in RUNS.items():
            whole, broken = Path(folder, f"{data}-whole"), Path(folder, f"{data}-broken")
            words = [*line.replace("IMAGES", f"{folder}/images").split(), "--out"]
            life = begin(main, [*words, str(whole)])
            until_saved(life, whole)
            first = time.monotonic()
            life.join()
            span = time.monotonic() - first
            report[data] = Counter()
            for death in ["at random"] * times + [*KILL_POINTS]:
                _kill(main, [*words, str(broken)], death, lambda span=span: noise.uniform(0, span))
                again = begin(main, [*words, str(broken), "--resume"])
                again.join()
                exact = again.exitcode == 0 and same(broken, whole)
                shutil.rmtree(broken)
                kind = "at_a_point" if death in KILL_POINTS else "at_random"
                report[data].update({kind: 1, f"{kind}_bit_exact": exact})
                say(f"{data} killed {death}: {'resumed bit for bit' if exact else 'ended as ANOTHER run'}")
                report["kills"] += 1
                report["bit_exact"] += exact
    return {**report, "seconds": round(time.monotonic() - start)}


def _kill(main: Main, words: list[str], death: str, delay: Callable[[], float]) -> None:
    """Begin a run and kill it. If it ended before, begin again."""
    out, life = Path(words[-1]), None
    while life is None or life.exitcode != -signal.SIGKILL:
        shutil.rmtree(out, ignore_errors=True)
        life = begin(main, words, partial(die_at, *KILL_POINTS[death]) if death in KILL_POINTS else None)
        if death not in KILL_POINTS:
            until_saved(life, out)
            time.sleep(delay())
            life.kill()
        life.join()
        if life.exitcode not in (0, -signal.SIGKILL) or (death in KILL_POINTS and life.exitcode == 0):
            raise Refused(f"a run that was to be killed {death} ended with exit code {life.exitcode}")


def begin(
    main: Main, words: list[str], prepare: Callable[[], None] | None = None, said: str = os.devnull
) -> BaseProcess:
    """Begin a process that calls `prepare`, runs a command and prints to the file `said`."""
    fork = multiprocessing.get_context("forkserver")
    fork.set_forkserver_preload(["ddgan.cli", "torch._dynamo"])  # which Adam imports
    life = fork.Process(target=_live, args=(main, words, prepare, said))
    life.start()
    return life


def _live(main: Main, words: list[str], prepare: Callable[[], None] | None, said: str) -> None:
    with open(said, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if prepare:
        prepare()
    sys.exit(main(words))


def until_saved(life: BaseProcess, out: Path) -> None:
    """Wait for a run's first state."""
    while life.is_alive() and not holds_state(out):
        time.sleep(0.001)


def die_at(event: str, nth: int) -> None:
    """Let this process kill itself when it reaches an event of KILL_POINTS for the nth time."""
    fsync, replace, calls = os.fsync, os.replace, Counter()

    def reached(what: str) -> bool:
        calls[what] += 1
        return (what, calls[what]) == (event, nth)

    def dying_fsync(file: int) -> None:
        if stat.S_ISREG(os.fstat(file).st_mode) and reached("half a file"):
            os.ftruncate(file, os.fstat(file).st_size // 2)
            signal.raise_signal(signal.SIGKILL)
        fsync(file)

    def dying_replace(source: Path, target: Path) -> None:
        if reached(f"before {target.name}"):
            signal.raise_signal(signal.SIGKILL)
        replace(source, target)
        if reached(f"after {target.name}"):
            signal.raise_signal(signal.SIGKILL)

    os.fsync, os.replace = dying_fsync, dying_replace


def new_images(folder: Path, n: int = 24) -> None:
    """Write n images of 16 x 16: bright squares on black."""
    folder.mkdir()
    noise = np.random.default_rng(0)
    for i in range(n):
        image, (y, x) = np.zeros((1, 1, 16, 16), np.uint8), noise.integers(0, 11, 2)
        image[..., y : y + 5, x : x + 5] = 200
        sheet(image, columns=1).save(folder / f"{i}.png")


def same(one: Path, other: Path) -> bool:
    """Compare the bytes of two runs' last states and models. Metadata, such as their seconds, is left out."""
    names = ("state.safetensors", "model.safetensors", "discriminator.safetensors")
    return all(_tensors(one / name) == _tensors(other / name) for name in names)


def _tensors(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header.pop("__metadata__", None)
    return header, data[end:]
