"""What an experiment is and how it runs: cell by cell into a JSON file. Its table and figure are made from that file.

    assets/evidence/NAME.json    {"name", "cells": [{"row", "seed", "setting", "numbers", "record"}, ...]}, one line
                                 for each cell
    assets/evidence/NAME.svg     its figure for the README, made from that file alone (.webp: images or many points)

The file is written after every cell. A run that was killed continues with the missing cells. An interrupted training
on toys continues too; its wall time is then that of its last part. A cell is measured again if its setting has changed,
for example its weights or its number of updates.
"""

from __future__ import annotations

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
from plotly import graph_objects as go

from ..errors import Refused
from ..files import in_lines, in_turn, write
from ..machine import record
from ..models.checkpoint import WEIGHTS
from .pictures import digest, picture

__all__ = [
    "ASSETS", "Beside", "Cell", "Column", "Experiment", "Result", "beside", "draw", "effort", "left", "means",
    "no_class", "provenance", "read", "run", "summary", "table", "weights",
]  # fmt: skip

ASSETS = Path(__file__).parents[2] / "assets" / "evidence"


class Cell(NamedTuple):
    """One measurement to make: its row, its seed, and the other arguments of `Experiment.measure`.

    Cells may share a row and a seed if the names of their numbers differ. Each then has its own columns.
    """

    row: str
    seed: int
    setting: dict[str, Any]


class Result(NamedTuple):
    """A measured cell: its numbers by name, and machine.record with the wall time in seconds."""

    row: str
    seed: int
    setting: dict[str, Any]
    numbers: dict[str, Any]
    record: dict[str, Any]


class Beside(NamedTuple):
    """One of our numbers beside the paper's, as text: what it is, ours, theirs (a dash if the paper has none)."""

    what: str
    ours: str
    paper: str = "–"


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table: the key of a number, its heading, its format, and the paper's numbers by row.

    `comparable`: the paper reports the same quantity, so the table gives the difference.
    """

    key: str
    heading: str
    form: str = "{:.3f}"
    paper: dict[str, float] | None = None
    theirs: str = ""  # the heading of the paper's numbers, if they are another quantity
    comparable: bool = False


@dataclass(frozen=True)
class Experiment:
    """A claim, and the measurements that test it.

    `cells(quick)` lists the cells in the order of a run. `measure(seed, **setting)` returns the numbers of one cell,
    `headline(rows)` the result as a sentence, `figure(results)` a plotly figure or an image. `link` opens the setting
    in the explorer. `closes` is a command that would bring our number nearer to the paper's, and what it takes.
    The page shows `beside(rows)`, the few numbers that matter, and the figure of the results that `chosen` accepts.
    """

    name: str
    title: str
    claim: str
    cells: Callable[[bool], list[Cell]]
    measure: Callable[..., dict[str, Any]]
    columns: tuple[Column, ...]
    figure: Callable[[list[Result]], go.Figure | Image.Image]
    headline: Callable[[dict[str, dict[str, float]]], str]
    paper: str
    link: str
    note: str = ""
    closes: tuple[str, str] | None = None
    beside: Callable[[dict[str, dict[str, float]]], tuple[Beside, ...]] = lambda rows: ()
    chosen: Callable[[Result], bool] | None = None  # None: all results

    @property
    def command(self) -> str:
        """The command that makes its file."""
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
    """Measure the cells that `out` lacks, or all of them if `again`. Returns the results in order.

    A cell has a name like "T = 4, seed 2". Only cells whose name contains `only` are measured, so several processes can
    share the work. Refused if there is no such cell.
    A training whose loss is not finite is a result too: its numbers are {"failed": how}.
    """
    cells = experiment.cells(quick)
    names = {_key(cell): f"{cell.row}, seed {cell.seed}" for cell in cells}
    wanted = [cell for cell in cells if only in names[_key(cell)]]
    if not wanted:
        raise Refused(
            f"no measurement of {experiment.name} is named like {only!r}; the first is {next(iter(names.values()))!r}"
        )
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
            results = [done[_key(cell)]._asdict() for cell in cells if _key(cell) in done]
            text = in_lines({"name": experiment.name}, "cells", results, allow_nan=False)
            write(out / f"{experiment.name}.json", text)
        short = {key: value for key, value in found.numbers.items() if not isinstance(value, str)}
        say(f"{number} of {len(wanted)}: {names[_key(cell)]}, {made['wall_s']} s: {short}")
    return read(experiment.name, out)


def draw(experiment: Experiment, out: Path = ASSETS) -> Path | None:
    """Draw the figure of the results in `out` into its file, unless the file already shows it. None without results.

    Refused if the file has to be drawn and kaleido or a browser is missing.
    """
    if not (results := read(experiment.name, out)):
        return None
    figure = experiment.figure(results)
    paths = [out / f"{experiment.name}{suffix}" for suffix in (".svg", ".webp")]
    for path in paths:
        if path.is_file() and digest(figure).encode() in path.read_bytes():
            return path
    suffix, content = picture(figure)
    write(drawn := out / f"{experiment.name}{suffix}", content)
    for path in {*paths} - {drawn}:  # an earlier figure may have had the other kind
        path.unlink(missing_ok=True)
    return drawn


def read(name: str, out: Path = ASSETS) -> list[Result]:
    """Read the results in a directory: none if the experiment has not run yet. Refused for a damaged file."""
    path = out / f"{name}.json"
    try:
        return [Result(**cell) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{path} is not a file of results ({type(error).__name__})") from error


def table(experiment: Experiment, results: list[Result]) -> list[list[str]]:
    """Make the table: its heading, then a line for every row with the mean over seeds ± their standard deviation.

    The paper's numbers stand beside ours. A number that no row has gets no column. A row with fewer seeds than others
    says how many it has.
    """
    rows, seeds = _rows(results), _seeds(results)
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
                published = column.paper.get(row)
                if published is None:
                    line.append("")
                    continue
                known = column.comparable and values
                off = f" ({statistics.fmean(values) - published:+.3g})".replace("-", "−") if known else ""
                line.append(f"{published:g}{off}")
        lines.append(line)
    return [heads, *lines]


def means(results: Iterable[Result]) -> dict[str, dict[str, float]]:
    """Average every number over the seeds: {row: {name: mean}}."""
    return {
        row: {key: statistics.fmean(values) for key, values in numbers.items()}
        for row, numbers in _rows(results).items()
    }


def weights(*models: str) -> list[str]:
    """Identify the weights of shipped models by the start of their SHA-256, as a part of a cell's setting."""
    cards = [WEIGHTS / model / "card.json" for model in models]
    return [json.loads(card.read_bytes())["sha256"][:10] if card.is_file() else "none" for card in cards]


def no_class(data: str, method: str) -> dict[str, str]:
    """The part of a setting that tells the DDGAN no class, where the learned Gaussian beside it knows none."""
    return {"label": "any"} if (data, method) == ("cifar10", "ddgan") else {}


def provenance(experiment: Experiment, results: list[Result]) -> str:
    """Say in one line where the numbers come from: hardware, torch, commit, seeds, wall time."""
    commits: dict[str, set[str]] = {}
    for r in results:
        commits.setdefault(f"{r.record['hardware']}, torch {r.record['torch']}", set()).add(str(r.record["commit"]))
    machines = (f"{machine}, commit {', '.join(sorted(found))}" for machine, found in sorted(commits.items()))
    return f"{'; '.join(machines)}; {effort(experiment, results)}"


def summary(experiment: Experiment, results: list[Result]) -> str:
    """Return the experiment's headline, or a notice that some of its numbers are missing."""
    try:
        return _spaced(experiment.headline(means(results)))
    except KeyError:
        return "not all of it was measured yet"


def beside(experiment: Experiment, results: list[Result]) -> tuple[Beside, ...]:
    """Return the few numbers that matter beside the paper's: none if some of them are missing."""
    try:
        return tuple(each._replace(ours=_spaced(each.ours)) for each in experiment.beside(means(results)))
    except KeyError:
        return ()


def effort(experiment: Experiment, results: list[Result]) -> str:
    """Say how many seeds there are, the wall time of all cells, and how many cells are still to run."""
    missing = len(left(experiment.cells(False), results))
    seeds, seconds = _seeds(results).values(), sum(r.record["wall_s"] for r in results)
    minutes = f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
    time = f"{seconds:.0f} s" if seconds < 120 else minutes
    fewest = f"{min(seeds)} to " if min(seeds) < max(seeds) else ""
    return f"{fewest}{_counted(max(seeds))}, {time}" + (f", {missing} measurements not run yet" if missing else "")


def left(cells: list[Cell], results: list[Result]) -> list[Cell]:
    """List the cells that are not measured yet."""
    done = {_key(result) for result in results}
    return [cell for cell in cells if _key(cell) not in done]


def _seeds(results: list[Result]) -> Counter[str]:
    """Count the seeds of every row. Cells of one row and one seed count once."""
    return Counter(row for row, _ in {(r.row, r.seed) for r in results})


def _counted(seeds: int) -> str:
    return f"{seeds} seed{'s' * (seeds > 1)}"


def _rows(results: Iterable[Result]) -> dict[str, dict[str, list[float]]]:
    """Group the numbers: {row: {name: values over the seeds}}."""
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
    """Put a space before every %, as everywhere on the page."""
    return text.replace("%", " %")


def _key(cell: Cell | Result) -> str:
    return json.dumps([cell.row, cell.seed, cell.setting], sort_keys=True)


def _plain(numbers: dict[str, Any]) -> dict[str, Any]:
    """Round to five significant digits. A number that is not finite becomes null, since JSON cannot hold it."""

    def plain(value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return float(f"{value:.5g}") if math.isfinite(value) else None

    return {key: plain(value) for key, value in numbers.items()}
