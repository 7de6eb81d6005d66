"""The progress of a command on standard error, and how a training is stopped."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from ..training import distributed
from ..training.trainer import TrainStep

__all__ = ["arriving", "progress", "time_left", "until_stopped", "watch"]

GRACE = 20.0  # seconds from a signal to the end of a training: torchrun kills after 30


def arriving() -> Callable[[int, int], None]:
    """watch(done, size) prints, once a second, how much of a download has come and how long the rest will take."""
    start = shown = time.monotonic()

    def watch(done: int, size: int) -> None:
        nonlocal shown
        if (now := time.monotonic()) - shown > 1 or done == size:
            shown, left = now, (now - start) * (size - done) / done
            end = "\n" if done == size else ""
            print(f"\r{done / 1e6:.0f} of {size / 1e6:.0f} MB  {left:.0f} s left   ", end=end, file=sys.stderr)

    return watch


def until_stopped(steps: Generator[TrainStep, None, None]) -> Iterator[TrainStep]:
    """The same steps until SIGTERM or Ctrl-C, which wait for the end of an update: half an update cannot be saved.

    Where that takes longer than GRACE, and before and after the updates, they end everything at once.
    """
    at_once, asked = True, math.inf
    timer = threading.Timer(GRACE, signal.raise_signal, [signal.SIGINT])
    timer.daemon = True

    def stop(*_: Any) -> None:
        nonlocal asked
        if at_once or time.monotonic() >= asked + GRACE:
            raise KeyboardInterrupt
        if asked == math.inf:
            asked = time.monotonic()
            timer.start()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for step in steps:
            at_once = step.progress == 1  # what follows is judging
            yield step
            if distributed.agree(asked) < math.inf:
                raise KeyboardInterrupt(f" after update {step.step:,}, which is saved: --resume goes on")
    finally:
        at_once = False
        steps.close()
        timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def watch(steps: Iterator[TrainStep], batch: int) -> None:
    """Drain a training; the first of its processes prints how far it is."""
    begun = shown = time.monotonic()
    try:
        for step in steps:
            if not distributed.rank() and (time.monotonic() - shown > 1 or step.progress >= 1):
                shown = time.monotonic()
                print(_progressed(step, batch), end="", file=sys.stderr, flush=True)
    finally:
        if shown > begun:
            print(file=sys.stderr)


def _progressed(step: TrainStep, batch: int) -> str:
    losses = "  ".join(f"{name.upper()} {value:.3f}" for name, value in step.losses.items())
    left = step.seconds * (1 - step.progress) / max(step.progress, 1e-9)
    speed = batch * step.step / step.seconds
    return (
        f"\rupdate {step.step:,}  {step.progress:4.0%}  {speed:,.0f} samples/s  {left:.0f} s left  {losses}    "
        + "\njudging what was learned" * (step.progress >= 1)  # minutes, for images
    )


def progress(parts: Iterator[Any], of: int) -> Iterator[Any]:
    """The same parts. From the third second on it prints how many are done and how long the rest will take."""
    with time_left() as watch:
        for done, part in enumerate(parts, 1):
            yield part
            watch(done, of)


@contextmanager
def time_left() -> Iterator[Callable[[int, int], None]]:
    """watch(done, of) prints, from the third second on, how much is done and how long the rest will take."""
    start = shown = time.monotonic()
    open_line = False

    def watch(done: int, of: int) -> None:
        nonlocal start, shown, open_line
        now = time.monotonic()
        if not done:  # what came before is not of the work
            start = shown = now
        if not distributed.rank() and now - start > 3 and (now - shown > 1 or done == of):
            shown, open_line = now, done < of
            left = (now - start) / done * (of - done)
            print(
                f"\r{done:,} of {of:,}  {left:.0f} s left   ",
                end="" if open_line else "\n",
                file=sys.stderr,
                flush=True,
            )

    try:
        yield watch
    finally:
        if open_line:
            print(file=sys.stderr)
