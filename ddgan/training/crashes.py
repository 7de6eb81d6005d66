"""What a training leaves when native code dies in it, with SIGSEGV or SIGFPE, which no Python handler sees.

DIR/crash.log          where every thread was, written by `faulthandler`; gone after any other end
DIR/crash-before.log   the same, once the next start of the run has told of it
"""

from __future__ import annotations

import faulthandler
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["last", "logged"]


def _logs(directory: Path) -> tuple[Path, Path]:
    """The log of a crash, and the one that has been told of."""
    return directory / "crash.log", directory / "crash-before.log"


@contextmanager
def logged(directory: Path) -> Iterator[None]:
    """Within, a crash of native code is logged in this directory; OSError where it cannot be written.

    A process that has a log of its own (`python -X faulthandler`) keeps that one.
    """
    if faulthandler.is_enabled():
        yield
        return
    log, _ = _logs(directory)
    with open(log, "ab") as file:  # each of several processes adds its own
        faulthandler.enable(file)
        try:
            yield
        finally:
            faulthandler.disable()
            with suppress(OSError):
                if not log.stat().st_size:
                    log.unlink()


def last(directory: Path) -> str:
    """The crash that ended the last run in this directory, in one sentence; its log is put aside. "" for none."""
    log, before = _logs(directory)
    with suppress(OSError):
        if words := log.read_text(encoding="utf-8", errors="replace"):
            log.replace(before)
            cause = re.search(r"^Fatal Python error: (.+)$", words, re.M)
            return f"the last run died in native code ({cause[1] if cause else 'unknown'}): {before} says where"
    return ""
