"""Write the results as Markdown: assets/evidence/README.md in full, and six rows in the project's README."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import Refused
from .experiment import ASSETS, Experiment, means, provenance, read, summary, table

__all__ = ["MARKS", "page", "with_rows"]

MARKS = "<!-- made by python -m ddgan evidence readme -->\n", "<!-- end of evidence -->"
KINDS = (".svg", ".webp", ".png")  # of figures
# experiment: (question, format of our numbers from means(results), the paper's numbers)
ROWS = {
    "oracle": (
        "Is a Gaussian enough for four steps?",
        "exact law: {0[T = 4, std .018][exact_modes]:.0f} modes, {0[T = 4, std .018][exact]:.1%} of samples on a mode; "
        "best Gaussian: {0[T = 4, std .018][gaussian_modes]:.0f} modes, {0[T = 4, std .018][gaussian]:.1%} "
        "([energy distances](assets/evidence/README.md#schedules))",
        "no: Gaussian steps must be small",
    ),
    "toys-25": (
        "Does a DDGAN cover 25 modes in four steps?",
        "our recipe: {0[DDGAN, T = 4, our recipe][modes]:.0f} modes, {0[DDGAN, T = 4, our recipe][on_mode]:.1%} of "
        "samples on a mode, KL {0[DDGAN, T = 4, our recipe][kl]:.3f}; the paper's setting: "
        "{0[DDGAN, T = 4, the paper's setting][modes]:.0f} modes, {0[DDGAN, T = 4, the paper's setting][on_mode]:.1%}, "
        "KL {0[DDGAN, T = 4, the paper's setting][kl]:.3f}",
        "all 25 modes (a figure)",
    ),
    "toys-ablations": (
        "What is z for?",
        "with z: {0[T = 4][on_mode]:.1%} of samples on a mode, KL {0[T = 4][kl]:.3f}; "
        "without z: {0[no z][on_mode]:.1%}, KL {0[no z][kl]:.3f}",
        "CIFAR-10, FID: 3.75 and 20.6",
    ),
    "stackedmnist": (
        "Does it cover a thousand modes?",
        "{0[DDGAN, T = 4][modes]:.0f} of 1000, KL {0[DDGAN, T = 4][kl]:.3f}",
        "1000 of 1000, KL .071",
    ),
    "cifar10": (
        "Is it good on CIFAR-10?",
        "CFD {0[DDGAN, T = 4][cfd]:.3f}, learned Gaussian {0[learned Gaussian, T = 4][cfd]:.3f}, "
        "real images {0[DDGAN, T = 4][floor_cfd]:.4f}",
        "FID 3.75 (another measure)",
    ),
    "speed": (
        "How much faster is it than DDPM with 1000 steps?",
        "{0[times]:.0f} times",
        "383 times",
    ),
}
HEAD = """# Evidence

Each section tests one claim, most of them from the [paper](https://arxiv.org/abs/2112.07804). One command runs the
measurement again: `python -m ddgan evidence oracle` writes `oracle.json` here, and the tables and figures are made from
that file. The tab *Evidence* of the page shows the same. A run that was stopped continues where it was. `--quick` takes
minutes. `--only "seed 3"` runs a share of the work, so that several processes can split it.

Every experiment uses the paper's schedule, `vp`, unless a row names another. The file has the hardware, seed and commit
of each number. `python -m ddgan evidence readme` makes this page. `python -m ddgan evidence figures` draws its figures;
only that needs kaleido (`pip install kaleido`) and Chrome or Chromium.

- ±: standard deviation over seeds.
- On a mode: the share of samples within four standard deviations of a mode. It is no verdict alone: all samples may be
  on one mode, and the share does not say how wide the modes are. Read it with the modes, KL and a distance or width.
- KL: divergence of the histogram over modes or classes, in nats.
- Energy: energy distance to the law. 95 % of exact samplings score less than its floor.
- Width: how wide the modes are, by the samples on a mode; 1 is as wide as the law's. About 2 on a plane means that
  samples are scattered evenly, without modes.
- Bound: KL(q(x_T) ‖ N(0, I)) and KL(q ‖ p) of each step of a chain, summed, in nats. KL(law ‖ samples) is not above
  it.
- NFE: network evaluations for a sample.
- SW₂: sliced Wasserstein distance to as many exact samples. It sees wrong shares of modes; it
  hardly sees their width, or samples between them.
- CFD: Fréchet distance to the training images in the features of our own classifier, as a share of their variance. It
  cannot be compared with FID, nor with a CFD of another number of samples: 2,000 here, 1,000 in `rivals`.
"""


def page(experiments: Iterable[Experiment], out: Path = ASSETS) -> str:
    """Write all results in `out`, one section for each experiment."""
    return HEAD + "".join(_section(e, out) for e in experiments)


def with_rows(text: str, out: Path = ASSETS) -> str:
    """Return the project's README with its six rows made anew. Refused if it has no place for them."""
    before, mark, rest = text.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not mark or not end:
        raise Refused("the README has no place for the evidence")
    lines = [["question", "measured here", "the paper", "all numbers"]]
    for name, (question, words, theirs) in ROWS.items():
        lines.append([question, _ours(name, words, out), theirs, f"[{name}](assets/evidence/README.md#{name})"])
    return before + mark + _markdown(lines) + end + after


def _ours(name: str, words: str, out: Path) -> str:
    rows: dict[str, Any] = means(read(name, out))
    try:
        if name == "speed":
            rows["times"] = rows["DDPM, 1000 steps"]["seconds"] / rows["DDGAN, T = 4"]["seconds"]
        return words.format(rows).replace("%", " %")
    except KeyError:
        return "not measured yet"


def _section(e: Experiment, out: Path) -> str:
    results = read(e.name, out)
    parts = [f"## {e.name}", f"**{e.title}**", e.claim]
    if results:
        figures = [f"![{e.title}]({e.name}{kind})" for kind in KINDS if (out / f"{e.name}{kind}").is_file()]
        parts += [f"Measured here: {summary(e, results)}.", f"The paper: {e.paper}."]
        parts += [_markdown(table(e, results)).rstrip(), *figures[:1], e.note]
    parts.append(f"Run it: `{e.command}`" + (f" ({provenance(e, results)})" if results else " (not run yet)"))
    if e.closes:
        parts.append(f"Nearer to the paper: `{e.closes[0]}` {e.closes[1]}.")
    return "".join(f"\n{part}\n" for part in parts if part)


def _markdown(lines: list[list[str]]) -> str:
    heads, *rows = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in (heads, ["---"] * len(heads), *rows)).replace("|  |", "| |")
