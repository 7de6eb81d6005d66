"""What an experiment is, and how it is run: cell by cell into a JSON file, from which its table and figure are made.

    assets/evidence/NAME.json    {"name", "cells": [{"row", "seed", "setting", "numbers", "record"}, ...]}, a line a cell
    assets/evidence/NAME.svg     its figure (.webp where it shows images), a function of that file alone

The file is written after every cell, so a run that was killed goes on with the cells that are missing, and with the
training on toys that it was in, whose wall time is then that of its last part. A cell counts as done only with the same
setting: other weights, or another number of updates, and it is measured again.
"""

from __future__ import annotations

import io
import json
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from ..checkpoint import WEIGHTS, in_turn, read_card, write
from ..machine import record

__all__ = [
    "ASSETS", "Cell", "Column", "Experiment", "Result", "draw", "effort", "left", "means", "provenance", "read", "run",
    "summary", "table", "weights",
]  # fmt: skip

ASSETS = Path(__file__).parents[2] / "assets" / "evidence"


class Cell(NamedTuple):
    """One measurement to be made: the row that it belongs to, its seed, and what else `Experiment.measure` is given."""

    row: str
    seed: int
    setting: dict[str, Any]


class Result(NamedTuple):
    """A cell that was measured: its numbers by name, and machine.record with the wall time in seconds."""

    row: str
    seed: int
    setting: dict[str, Any]
    numbers: dict[str, Any]
    record: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Column:
    """One number of every row: its key, its heading, how it is printed, and the paper's own by row.

    `comparable`: the paper's is the same quantity, so the table says by how much ours differs.
    """

    key: str
    heading: str
    form: str = "{:.3f}"
    paper: dict[str, float] | None = None
    theirs: str = ""  # the heading of the paper's numbers, where they measure another thing
    comparable: bool = False


@dataclass(frozen=True)
class Experiment:
    """A claim, and what is measured for it.

    `cells(quick)` in the order in which they are run, `measure(seed, **setting)` one cell's numbers, `headline(rows)` the
    result in a sentence, `figure(results)` an SVG or an image. `link` opens the setting in the explorer. `closes` is
    the command that would bring ours nearer to the paper, and what it takes.
    """

    name: str
    title: str
    claim: str
    cells: Callable[[bool], list[Cell]]
    measure: Callable[..., dict[str, Any]]
    columns: tuple[Column, ...]
    figure: Callable[[list[Result]], str | Image.Image]
    headline: Callable[[dict[str, dict[str, float]]], str]
    paper: str
    link: str
    note: str = ""
    closes: tuple[str, str] | None = None

    @property
    def command(self) -> str:
        """What makes its file."""
        return f"python -m ddgan evidence {self.name}"


def run(
    experiment: Experiment,
    out: Path = ASSETS,
    *,
    quick: bool = False,
    again: bool = False,
    only: str = "",
    say: Callable[[str], None] = lambda words: None,
) -> list[Result]:
    """Measure the cells that `out` lacks, or all of them `again`, and draw the figure; returns the results in order.

    Of cells that are named like "T = 4, seed 2" those whose name has `only` in it: so several processes may share the
    work. ValueError where there is none.
    A training whose loss is no longer finite is a result too: its numbers are {"failed": how}.
    """
    cells = experiment.cells(quick)
    names = {_key(cell): f"{cell.row}, seed {cell.seed}" for cell in cells}
    wanted = [cell for cell in cells if only in names[_key(cell)]]
    if not wanted:
        raise ValueError(f"no measurement of {experiment.name} is named like {only!r}; the first is {next(iter(names.values()))!r}")
    for number, cell in enumerate(wanted, 1):
        if not again and not left([cell], read(experiment.name, out)):
            continue
        start = time.perf_counter()
        try:
            numbers = experiment.measure(cell.seed, **cell.setting)
        except FloatingPointError as error:
            numbers = {"failed": str(error)}
        made = {**record(), "wall_s": round(time.perf_counter() - start, 2)}
        found = Result(*cell, _plain(numbers), made)
        with in_turn(out):
            done = {_key(result): result for result in [*read(experiment.name, out), found]}
            results = [done[_key(cell)] for cell in cells if _key(cell) in done]
            lines = ",\n".join(json.dumps(result._asdict(), allow_nan=False) for result in results)
            write(out / f"{experiment.name}.json", f'{{"name": "{experiment.name}", "cells": [\n{lines}\n]}}\n'.encode())
        short = {key: value for key, value in found.numbers.items() if not isinstance(value, str)}
        say(f"{number} of {len(wanted)}: {names[_key(cell)]}, {made['wall_s']} s: {short}")
    with in_turn(out):
        return draw(experiment, out)


def draw(experiment: Experiment, out: Path = ASSETS) -> list[Result]:
    """The figure of the results in `out`, which are returned."""
    results = read(experiment.name, out)
    if results:
        figure = experiment.figure(results)
        if isinstance(figure, str):
            write(out / f"{experiment.name}.svg", figure.encode())
        else:
            figure.save(file := io.BytesIO(), "WEBP", lossless=True)
            write(out / f"{experiment.name}.webp", file.getvalue())
    return results


def read(name: str, out: Path = ASSETS) -> list[Result]:
    """The results in a directory, none where the experiment has not been run; ValueError for a damaged file."""
    path = out / f"{name}.json"
    try:
        return [Result(**cell) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a file of results ({type(error).__name__})") from error


def table(experiment: Experiment, results: list[Result]) -> list[list[str]]:
    """The heading, then a line for every row: mean over seeds, +- their standard deviation, and the paper's number.

    A number that no row has, ours or the paper's, has no column. A row with fewer seeds than others says how many.
    """
    rows, seeds = _rows(results), Counter(result.row for result in results)
    ours = {column for column in experiment.columns if any(numbers.get(column.key) for numbers in rows.values())}
    heads, lines = [""], []
    for column in experiment.columns:
        theirs = column.theirs or f"{column.heading}, paper{' (ours minus it)' * column.comparable}"
        heads += [*([column.heading] if column in ours else []), *([theirs] if column.paper else [])]
    for row, numbers in rows.items():
        line = [row if seeds[row] == max(seeds.values()) else f"{row} ({_counted(seeds[row])})"]
        for column in experiment.columns:
            values = numbers.get(column.key, [])
            if column in ours:
                line.append(_printed(values, column.form))
            if column.paper:
                theirs = column.paper.get(row)
                known = column.comparable and values and theirs is not None
                off = f" ({statistics.fmean(values) - theirs:+.3g})".replace("-", "−") if known else ""
                line.append("" if theirs is None else f"{theirs:g}{off}")
        lines.append(line)
    return [heads, *lines]


def means(results: Iterable[Result]) -> dict[str, dict[str, float]]:
    """The mean over seeds of every number, by row and name."""
    return {
        row: {key: statistics.fmean(values) for key, values in numbers.items()} for row, numbers in _rows(results).items()
    }


def weights(*models: str) -> list[str]:
    """What tells the weights of shipped models from others of the same name: a part of a cell's setting."""
    paths = [WEIGHTS / model for model in models]
    return [read_card(path)["sha256"][:10] if (path / "card.json").is_file() else "none" for path in paths]


def provenance(experiment: Experiment, results: list[Result]) -> str:
    """Where the numbers come from, in a line: hardware, torch, commit, seeds, wall time."""
    commits: dict[str, set[str]] = {}
    for r in results:
        commits.setdefault(f"{r.record['hardware']}, torch {r.record['torch']}", set()).add(str(r.record["commit"]))
    machines = (f"{machine}, commit {', '.join(sorted(found))}" for machine, found in sorted(commits.items()))
    return f"{'; '.join(machines)}; {effort(experiment, results)}"


def summary(experiment: Experiment, results: list[Result]) -> str:
    """The experiment's headline, or that some of what it is about is not there."""
    try:
        return _spaced(experiment.headline(means(results)))
    except KeyError:
        return "not all of it was measured yet"


def effort(experiment: Experiment, results: list[Result]) -> str:
    """How many seeds, the wall time of all cells, and how many are still to be run."""
    missing = len(left(experiment.cells(False), results))
    seeds, seconds = Counter(r.row for r in results).values(), sum(r.record["wall_s"] for r in results)
    time = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
    fewest = f"{min(seeds)} to " if min(seeds) < max(seeds) else ""
    return f"{fewest}{_counted(max(seeds))}, {time}" + (f", {missing} measurements not run yet" if missing else "")


def left(cells: list[Cell], results: list[Result]) -> list[Cell]:
    """The cells that are not measured yet."""
    done = {_key(result) for result in results}
    return [cell for cell in cells if _key(cell) not in done]


def _counted(seeds: int) -> str:
    return f"{seeds} seed{'s' * (seeds > 1)}"


def _rows(results: Iterable[Result]) -> dict[str, dict[str, list[float]]]:
    """row -> name of a number -> its values over the seeds."""
    rows: dict[str, dict[str, list[float]]] = {}
    for result in results:
        row = rows.setdefault(result.row, {})
        for key, value in result.numbers.items():
            if isinstance(value, (int, float)):
                row.setdefault(key, []).append(value)
    return rows


def _printed(values: list[float], form: str) -> str:
    if not values:
        return "–"
    spread = f" ± {form.format(statistics.stdev(values))}" if len({*values}) > 1 else ""
    return _spaced(form.format(statistics.fmean(values)).replace("-", "−") + spread)


def _spaced(text: str) -> str:
    """With a space before every %, as everywhere on the page."""
    return text.replace("%", " %")


def _key(cell: Cell | Result) -> str:
    return json.dumps([cell.row, cell.seed, cell.setting], sort_keys=True)


def _plain(numbers: dict[str, Any]) -> dict[str, Any]:
    """Five significant digits, and null for what is not finite, which JSON has not."""

    def plain(value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return float(f"{value:.5g}") if math.isfinite(value) else None

    return {key: plain(value) for key, value in numbers.items()}
