"""Experiments that test the paper's argument, with their results, tables and figures.

experiment.py says what an experiment is and runs it. toys.py, images.py, trial.py and classes.py hold the experiments.
figures.py makes their figures, pictures.py draws them into files, and report.py writes the results into README files.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import Refused
from . import classes, images, report, toys, trial
from .experiment import (
    ASSETS,
    Beside,
    Cell,
    Column,
    Experiment,
    Result,
    beside,
    draw,
    effort,
    left,
    means,
    provenance,
    read,
    run,
    summary,
    table,
)

__all__ = [
    "ASSETS", "EXPERIMENTS", "Beside", "Cell", "Column", "Experiment", "Result", "beside", "draw", "effort",
    "experiment", "left", "means", "provenance", "read", "readmes", "run", "summary", "table",
]  # fmt: skip

EXPERIMENTS = {e.name: e for e in (*toys.EXPERIMENTS, *images.EXPERIMENTS, *trial.EXPERIMENTS, *classes.EXPERIMENTS)}


def experiment(name: str) -> Experiment:
    """Look an experiment up by its name. Refused lists the names."""
    if name not in EXPERIMENTS:
        raise Refused(f"the experiment must be one of {', '.join(EXPERIMENTS)}, got {name!r}")
    return EXPERIMENTS[name]


def readmes() -> dict[Path, str]:
    """Make the text of the two README files that show results: {path: text}."""
    main = ASSETS.parents[1] / "README.md"
    rows = report.with_rows(main.read_text(encoding="utf-8"))
    return {main: rows, ASSETS / "README.md": report.page(EXPERIMENTS.values())}
