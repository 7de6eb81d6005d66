"""Where the files of visitors are kept, for how long, and how large they may be."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["EXPORTS", "MAX_SENT", "PREFIX", "files", "kept_bytes", "own_files"]

MAX_SENT = 256 * 2**20  # bytes of all files that visitors sent; each is kept for an hour
PREFIX = "ddgan-explorer-"
EXPORTS = "exports"  # the directory, among Gradio's files, of those for download, which have a limit of their own


def files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file in a folder, except those that others delete meanwhile."""
    for where, _, names in os.walk(folder):
        for file in (Path(where, name) for name in names):
            with suppress(OSError):
                yield file, file.stat()


def kept_bytes(folder: Path, age: float) -> int:
    """Bytes of the files that visitors sent.

    In a folder of ours, older ones are deleted: Gradio forgets broken ones.
    """
    kept = 0
    for file, stat in files(folder):
        if folder / EXPORTS in file.parents:
            continue
        if folder.name.startswith(PREFIX) and time.time() - stat.st_ctime > age:  # as Gradio tells the age
            with suppress(OSError):
                file.unlink()
                continue
        kept += stat.st_size
    return kept


def own_files() -> None:
    """Give Gradio a directory of this process for its files, gone when it ends; remove those of ended processes.

    One that somebody else named in the environment is left as it is.
    """
    if not Path(os.environ.get("GRADIO_TEMP_DIR", PREFIX)).name.startswith(PREFIX):
        return
    here = Path(tempfile.gettempdir())
    for old in here.glob(f"{PREFIX}*"):
        pid = old.name.removeprefix(PREFIX)
        if pid.isdigit() and (int(pid) == os.getpid() or not _runs(int(pid))):
            shutil.rmtree(old, ignore_errors=True)
    own = here / f"{PREFIX}{os.getpid()}"
    os.environ["GRADIO_TEMP_DIR"] = str(own)
    atexit.register(shutil.rmtree, own, ignore_errors=True)


def _runs(pid: int) -> bool:
    """Whether there is a process of this number; where the system cannot be asked without harm, yes."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
