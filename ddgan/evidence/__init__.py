"""The paper's argument, run in front of the reader: experiments over the library, their results, tables and figures.

frame.py says what an experiment is and runs it; toys.py and images.py are the experiments; figures.py draws.
"""

from __future__ import annotations

from . import images, toys
from .frame import ASSETS, Cell, Column, Experiment, Result, draw, effort, left, means, provenance, read, run, summary, table

__all__ = [
    "ASSETS", "EXPERIMENTS", "Cell", "Column", "Experiment", "Result", "draw", "experiment", "left", "means", "provenance",
    "read", "readme", "run", "summary", "table",
]  # fmt: skip

EXPERIMENTS = {e.name: e for e in (*toys.EXPERIMENTS, *images.EXPERIMENTS)}
MARKS = "<!-- evidence: made by python -m ddgan evidence readme -->\n", "<!-- end of evidence -->"


def experiment(name: str) -> Experiment:
    """The experiment of this name; ValueError lists the names."""
    if name not in EXPERIMENTS:
        raise ValueError(f"the experiment must be one of {', '.join(EXPERIMENTS)}, got {name!r}")
    return EXPERIMENTS[name]


def readme(text: str) -> str:
    """The README with its table of evidence made anew from the results; ValueError where it has no place for one."""
    before, mark, rest = text.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not mark or not end:
        raise ValueError("the README has no place for the evidence")
    lines = ["| `python -m ddgan evidence` | ours | the paper | run |", "|---|---|---|---|"]
    for e in EXPERIMENTS.values():
        results = read(e.name)
        ours, run = (summary(e, results), effort(e, results)) if results else ("not run yet", "")
        lines.append(f"| `{e.name}`: {e.title} | {ours} | {e.paper} | {run} |")
    return before + mark + "\n".join(lines) + "\n" + end + after
