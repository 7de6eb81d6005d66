"""Experiments 1 to 5: the paper's argument on toys, where every conditional law is known."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch
from plotly import graph_objects as go
from torch import Tensor

from ..data.images import CACHE
from ..data.toys import toy
from ..diffusion.denoiser import Denoiser, ExactDenoiser, GaussianDenoiser, MeanDenoiser
from ..diffusion.gaussian import Gaussian
from ..diffusion.levels import Levels
from ..diffusion.mixture import Law
from ..diffusion.sampler import draw, seeds
from ..diffusion.schedule import Schedule
from ..explorer.posterior import Question, ask
from ..explorer.request import Request
from ..explorer.session import Session
from ..files import claimed
from ..machine import device, record
from ..metrics.points import coverage, score
from ..models.config import PRESETS, Config
from ..training.run import new_objective
from ..training.state import Saved, holds_state, load_state, save_state
from ..training.trainer import Objective, TrainStep, train
from .experiment import Beside, Cell, Column, Experiment, Result, means, weights
from .figures import curves, decode, dots, encode, panels

__all__ = ["EXPERIMENTS", "trained"]

DATA = "25-gaussians"
SEEDS = range(5)
N = 10_000  # samples behind each number
SHOWN = 500  # points in each scatter plot
ON_MODE = (Column("modes", "modes", "{:.1f}"), Column("on_mode", "on a mode", "{:.1%}"), Column("kl", "KL", "{:.3f}"))
DISTANCE = Column("sliced_w2", "SW₂")  # unlike the share on a mode, it sees how samples spread


def _drawn(denoiser: Denoiser, schedule: Schedule, seed: int, n: int = N) -> Tensor:
    (x_0,) = draw(schedule, denoiser, seeds(seed, n), (2,), at_once=n)
    return x_0.cpu()


# ---------------------------------------------------------------- 1. no training at all

# standard deviations of a mode: that of our toy, which is told and shown, and the one in the reference's table
SPREADS = {"std .018": 0.0177, "std .035": 0.035}


def _oracle(seed: int, T: int, std: float, n: int) -> dict[str, Any]:
    law = toy(DATA)
    law = replace(law, var=torch.full_like(law.var, std**2))
    numbers: dict[str, Any] = {}
    for name, of_law in {"exact": ExactDenoiser, "gaussian": GaussianDenoiser, "mean": MeanDenoiser}.items():
        cover = coverage(_drawn(of_law(law), Schedule.vp(T), seed, n), law)
        numbers |= {name: cover.on_mode, f"{name}_modes": cover.modes}
    return numbers


def _oracle_cells(quick: bool) -> list[Cell]:
    steps, n = ((1, 2, 4, 8, 16, 32), 4000) if quick else ((1, 2, 4, 8, 16, 32, 64, 128), 20_000)
    return [Cell(f"T = {T}, {name}", 0, {"T": T, "std": std, "n": n}) for name, std in SPREADS.items() for T in steps]


def _oracle_figure(results: list[Result]) -> go.Figure:
    labels = {"exact": "exact law", "gaussian": "best Gaussian", "mean": "DDPM with the exact mean"}
    std = next(name for name in SPREADS if any(result.row.endswith(name) for result in results))
    shown = [result for result in results if result.row.endswith(std)]
    series = {label: [result.numbers[name] for result in shown] for name, label in labels.items()}
    setting = f"25 Gaussians, {std}; VP schedule; {shown[0].setting['n']:,} samples<br>DDPM at T = 1: all on one mode"
    axes = "denoising steps T", "samples on a mode (%)"
    return curves([result.setting["T"] for result in shown], series, axes, setting, form=".1%")


def _oracle_beside(rows: dict[str, dict[str, float]]) -> tuple[Beside, ...]:
    row, small = rows["T = 4, std .018"], "needs small steps"
    return tuple(
        Beside(f"{label}, T = 4: on a mode", f"{row[name]:.1%}, {row[f'{name}_modes']:.0f} of 25 modes", theirs)
        for name, label, theirs in (
            ("exact", "exact law", "–"),
            ("gaussian", "best Gaussian", small),
            ("mean", "DDPM with the exact mean", small),
        )
    )


ORACLE = Experiment(
    "oracle",
    "The claim without training",
    "In few steps of vp a Gaussian is not enough: up to 16 steps the best one puts most samples between the 25 modes, "
    "while the exact law of a step, which has many modes, puts 99.9 % or more on them at every T.",
    _oracle_cells,
    _oracle,
    (
        Column("exact", "exact law: on a mode", "{:.1%}"),
        Column("exact_modes", "modes", "{:.0f}"),
        Column("gaussian", "best Gaussian: on a mode", "{:.1%}"),
        Column("gaussian_modes", "modes", "{:.0f}"),
        Column("mean", "DDPM, exact mean: on a mode", "{:.1%}"),
        Column("mean_modes", "modes", "{:.0f}"),
    ),
    _oracle_figure,
    lambda rows: (
        "modes of 25, and share of samples on a mode, at T = 4 on vp: exact law {exact_modes:.0f}, {exact:.1%}; best "
        "Gaussian {gaussian_modes:.0f}, {gaussian:.1%}; DDPM {mean_modes:.0f}, {mean:.1%}; these numbers do not say "
        "how samples spread over and within the modes: the experiment schedules has energy distances and widths"
    ).format(**rows["T = 4, std .018"]),
    "Gaussian steps must be small (section 3)",
    "?T=4&denoisers=exact,gaussian,mean",
    note="The table gives the share of 20,000 samples within 4 standard deviations of a mode, for modes of two "
    "widths, on vp. At T = 1 DDPM puts every sample on the one mode in the middle: its share is 100 %, and 24 modes "
    "are lost. On this toy few Gaussian steps of vp fail in the last step alone: before it, the noise that a step adds "
    "covers the gaps between modes. The best Gaussian has the least KL(q ‖ p) in a step. DDPM uses the posterior's "
    "variance, so its Gaussian is narrower. From 16 to 64 steps this puts more samples on a mode, but its energy "
    "distance is larger at each of these T (see schedules).",
    beside=_oracle_beside,
)


# ---------------------------------------------------------------- 2. the paper's toy figure

# run with our recipe alone: in the paper's setting the first would take more than an hour of one core
LIGHT, BETWEEN = OURS_ALONE = ("WGAN-GP, γ = 0.1", "DDPM, T = 100")
METHODS: dict[str, dict[str, Any]] = {
    "GAN": {"T": 1},
    "WGAN-GP": {"T": 1, "loss": "wgan-gp", "gamma": 10.0, "every": 1},
    LIGHT: {"T": 1, "loss": "wgan-gp", "gamma": 0.1, "every": 1},
    **{
        f"DDPM, T = {T}": {"T": T, "objective": "regression", "latent_dim": 0, "clean": 1 / T}
        for T in (4, 50, 100, 500)
    },
    **{f"DDGAN, T = {T}": {"T": T} for T in (2, 4, 8)},
}
# ours takes one to two minutes of one core for a training; an adversarial one in the paper's setting takes 40 or more
RECIPES = {
    "ours": replace(PRESETS["25-gaussians-live"], steps=12_000),
    "the paper's": PRESETS["25-gaussians-paper"],
}
# the network of DDPM: our regression denoiser, and a plain network with the output of Ho et al.
DDPM = {"ours": {"network": "v"}, "the paper's": {"network": "plain-eps"}}
OURS, PAPERS = BY = ("our recipe", "the paper's setting")  # their names in a table
# of the page's figure
SHOWN_METHODS = tuple(f"{name}, {OURS}" for name in ("WGAN-GP", "DDPM, T = 4", "DDPM, T = 500", "DDGAN, T = 4"))

SAVE_EVERY = 300.0  # seconds of training between saved states
WIDE = 256  # networks of this width or more train on a GPU if there is one, with matrix products in lower precision


@contextmanager
def _rounded(yes: bool) -> Iterator[None]:
    """Let torch round float32 matrix products to bfloat16 or TF32, if the processor is faster with them."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if yes else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class _Direct(Schedule):
    """A schedule whose step takes the denoiser's output as x_s. The network gets no help from the closed form."""

    def posterior(self, x_0: Tensor, x_t: Tensor, s: int | Tensor, t: int | Tensor) -> Gaussian:
        """Return a point mass at the denoiser's output."""
        return super().posterior(x_0, x_t, s, t)._replace(mean=x_0, var=torch.zeros_like(x_0[:, :1]))


class _OneShot:
    """Pairs (s, T) with uniform s. G makes x_0 from pure noise; D sees real and fake samples at every noise level."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def draw(self, n: int, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n pairs: s (n,) and T (n,)."""
        return torch.randint(self.schedule.T, (n,), generator=noise), torch.full((n,), self.schedule.T)

    def levels(self) -> Levels:
        """Return the one level that the generator sees."""
        return Levels((float(self.schedule.level(self.schedule.T)),), continuous=False)


@cache
def _code() -> bytes:
    """Digest the source of a training. It is computed once, because the files may change during a run."""
    here = Path(__file__).parents[1]
    packages = ("diffusion", "data", "models", "metrics", "training")
    files = sorted([*(path for name in packages for path in (here / name).rglob("*.py")), Path(__file__)])
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).digest()


def _kept(config: Config, shape: str) -> Path:
    """Return the directory for a training's state. Other code or other hardware has another directory."""
    name = json.dumps([config.to_dict(), shape, {**record(), "commit": ""}], sort_keys=True).encode()
    cache = CACHE or Path(tempfile.gettempdir(), "ddgan")
    return cache / "evidence" / hashlib.sha256(name + _code()).hexdigest()[:16]


def _last(objective: Objective, config: Config, law: Law, kept: Path) -> TrainStep:
    """Train, or resume an interrupted training, and return the last step.

    Refused if another process runs the same training.
    """
    with claimed(kept):
        start = saved = TrainStep(0, 0.0, 0.0, {})
        if holds_state(kept):
            state = load_state(kept, objective.state_dict(), config)
            objective.load_state_dict(state.state)
            start = saved = TrainStep(state.step, state.seconds, 0.0, {})
        limits: dict[str, Any] = {"seed": config.seed, "steps": config.steps, "start": start}
        try:
            for step in train(objective, lambda _, noise: (law.sample(config.batch, noise), None), **limits):
                if step.seconds - saved.seconds > SAVE_EVERY and step.progress < 1:
                    save_state(kept, Saved(objective.state_dict(), step.step, step.seconds, 0), config)
                    saved = step
        except FloatingPointError:
            shutil.rmtree(kept, ignore_errors=True)
            raise
        shutil.rmtree(kept, ignore_errors=True)
    return step


@lru_cache(maxsize=8)
def trained(config: Config, shape: str = "") -> tuple[Denoiser, Schedule, float]:
    """Return a trained denoiser, the schedule that it samples with, and the seconds of its training."""
    law, on = toy(config.data), device() if config.width >= WIDE else torch.device("cpu")
    objective = new_objective(config, law, on)
    law = law.to(objective.source)
    schedule = Schedule.vp(config.T or 4)
    if shape == "direct":
        schedule = objective.pairs.schedule = _Direct(schedule.alpha_bar)
    if shape == "one-shot":
        objective.pairs, schedule = _OneShot(schedule), Schedule.vp(1)
        objective.denoiser.levels = objective.pairs.levels()
    with _rounded(config.width >= WIDE):
        last = _last(objective, config, law, _kept(config, shape))
    return objective.denoiser, schedule, last.seconds


def _scores(x: Tensor) -> dict[str, Any]:
    law = toy(DATA)
    return score(x, law, law.sample(len(x), torch.Generator().manual_seed(1)))


def _train(seed: int, recipe: str, steps: int, shape: str = "", points: bool = False, **changes: Any) -> dict[str, Any]:
    config = replace(RECIPES[recipe], seed=seed, steps=steps, **changes)
    denoiser, schedule, seconds = trained(config, shape)
    x = _drawn(denoiser, schedule, seed)
    shown = {"points": encode(x[:SHOWN].numpy())} if points and not seed else {}
    rounded = {"products": "medium"} if config.width >= WIDE else {}  # torch's own word
    return {**_scores(x), "nfe": schedule.T, "seconds": seconds, **rounded, **shown}


def _toys_cells(quick: bool) -> list[Cell]:
    def setting(recipe: str, steps: int, T: int, **changes: Any) -> dict[str, Any]:
        uniform = {"clean": 1 / T} if recipe == "the paper's" else {}  # t is uniform, as in the paper
        network = DDPM[recipe] if "objective" in changes else {}
        length = {"steps": 200 if quick else steps}
        return {"recipe": recipe, **length, "points": True, "T": T, **uniform, **network, **changes}

    return [
        Cell(f"{name}, {by}", seed, setting(recipe, config.steps, **changes))
        for (recipe, config), by in zip(RECIPES.items(), BY, strict=True)
        for seed in SEEDS[: 1 if quick else None]
        for name, changes in METHODS.items()
        if recipe == "ours" or name not in OURS_ALONE
    ]


def _toys_figure(results: list[Result]) -> go.Figure:
    shown = {r.row: decode(r.numbers["points"]) for r in results if "points" in r.numbers}
    clouds = {row.replace(f", {PAPERS}", "*").removesuffix(f", {OURS}"): points for row, points in shown.items()}
    theirs = "<br>* in the paper's setting, the others by our recipe" * any(name.endswith("*") for name in clouds)
    setting = f"25 Gaussians; VP schedule; {SHOWN} samples each, seed 0{theirs}"
    return panels(clouds, setting, columns=4 if len(clouds) == 4 else 3)


def _toys_line(rows: dict[str, dict[str, float]]) -> str:
    """One sentence: modes, share on a mode and KL of each method, by recipe."""
    named = {
        OURS: ("GAN", "WGAN-GP", LIGHT, "DDPM, T = 4", BETWEEN, "DDPM, T = 500", "DDGAN, T = 4"),
        PAPERS: ("GAN", "WGAN-GP", "DDPM, T = 500", "DDGAN, T = 4"),
    }
    parts = []
    for by, names in named.items():
        found = {name: rows[row] for name in names if "modes" in rows.get(row := f"{name}, {by}", {})}
        each = "; ".join(f"{name}: {v['modes']:.1f}, {v['on_mode']:.1%}, {v['kl']:.3f}" for name, v in found.items())
        parts += [f"with {by}, {each}"] * bool(found)
    return "modes of 25, share of samples on a mode, and KL: " + "; ".join(parts)


def _toys_beside(rows: dict[str, dict[str, float]]) -> tuple[Beside, ...]:
    def modes(name: str) -> str:
        return f"{rows[f'{name}, {OURS}']['modes']:.0f} of 25"

    return (
        Beside("DDGAN, T = 4: modes", modes("DDGAN, T = 4"), "all (a figure)"),
        Beside("DDPM: modes", f"{modes('DDPM, T = 4')} at T = 4, {modes('DDPM, T = 50')} at T = 50", "all at T = 500"),
        Beside("WGAN-GP, one step: modes", modes("WGAN-GP"), "misses some (a figure)"),
    )


TOYS_25 = Experiment(
    "toys-25",
    "The paper's toy figure",
    "A DDGAN covers the 25 modes in two to eight steps of vp and DDPM in 50; with the DDGAN's penalty a one-step GAN "
    "covers them too.",
    _toys_cells,
    _train,
    (*ON_MODE, DISTANCE, Column("nfe", "NFE", "{:.0f}"), Column("seconds", "training s", "{:.0f}")),
    _toys_figure,
    _toys_line,
    "DDGAN covers all modes in 4 steps, DDPM needs about 500 (figure, no numbers)",
    "?T=4",
    note="In the paper's figure of 25 Gaussians, one-step GANs miss modes and DDPM needs hundreds of steps. Each "
    "number is a mean over five trainings, with 10,000 samples of each, on vp. Our recipe: skip networks with "
    "Fourier features, 64 wide, 12,000 updates. GAN and DDGAN use R1 + R2, and most of the DDGAN's pairs are from "
    "the last step. The paper's setting: plain networks of 3 x 512, batch 512, 50,000 updates, as the paper says, "
    "and R1. The paper's code for this toy was never released, so the learning rates, the penalty's weight and the "
    "moving average are ours. Matrix products in the paper's setting were rounded to bfloat16 on the Xeon, which is "
    "faster, except for seed 0 of the GAN and of the DDGAN at T = 4. On the EPYC (seeds 1 to 4 of WGAN-GP, seed 4 of "
    "the DDGAN at T = 8) they were not rounded. DDPM's network predicts v in our recipe. In the paper's setting it "
    "predicts the noise and is not tuned. In 4 steps DDPM covers none to three modes, in 50 steps all 25. More steps "
    "leave fewer samples between the modes; in the paper's setting the gain is small. GAN means our DDGAN at T = 1, "
    "whose networks see x₁ too. It is not the paper's GAN. It covers all modes in one step with R1 + R2 (our recipe) "
    "and with R1 (the paper's setting), and more of its samples are on a mode than of any DDGAN of the same recipe "
    "with more steps. Its KL and SW₂ are about the same as theirs, so on this toy more steps bring nothing. WGAN-GP "
    "has one critic update for each update of G. It misses modes when its penalty weighs 10, as is usual for images. "
    "With our recipe and a weight of 0.1 it misses none. In the paper's setting one adversarial training took a core "
    "40 minutes to two and a half hours. Seed 3 of WGAN-GP ran beside other work and took more than four hours. It "
    "was interrupted and resumed, and the total wall time counts only its last part.",
    beside=_toys_beside,
    chosen=lambda result: result.row in SHOWN_METHODS,
)


# ---------------------------------------------------------------- 3. the paper's table 2, in miniature

FID = {
    **{"T = 1": 14.6, "T = 2": 4.08, "T = 4": 3.75, "T = 8": 4.36},
    **{"no z": 20.6, "direct xₛ": 6.03, "eps output": 8.04, "one-shot": 13.2},
}
ABLATIONS: dict[str, dict[str, Any]] = {
    **{f"T = {T}": {"T": T} for T in (1, 2, 4, 8)},
    "no z": {"latent_dim": 0},
    "direct xₛ": {"shape": "direct"},
    "eps output": {"network": "eps"},
    "one-shot": {"shape": "one-shot"},
    "plain G": {"network": "plain-g"},
    "plain D": {"network": "plain-d"},
    "plain G and D": {"network": "plain"},
    "NS + R1": {"loss": "paper"},
    "NS + R1, lazy": {"loss": "paper", "every": 16},
    "NS + R1 + R2, lazy": {"every": 16},
    "RpGAN + R1 + R2": {"loss": "rpgan"},
}


def _ablation_cells(quick: bool) -> list[Cell]:
    setting = {"recipe": "ours", "steps": 200 if quick else 8000}
    return [
        Cell(name, seed, {**setting, **v}) for seed in SEEDS[: 1 if quick else None] for name, v in ABLATIONS.items()
    ]


def _ablation_figure(results: list[Result]) -> go.Figure:
    rows: dict[str, dict[str, list[float]]] = {}
    for result in results:
        values = rows.setdefault(result.row, {"": []})[""]
        if result.numbers.get("on_mode") is not None:
            values.append(result.numbers["on_mode"])
    setting = f"25 Gaussians; VP schedule; T = 4 unless the row has another T;<br>{N:,} samples, one mark for each seed"
    return dots(rows, "samples on a mode (%)", setting, form=".1%")


TOYS_ABLATIONS = Experiment(
    "toys-ablations",
    "What each part is for",
    "Of the parts in the paper's table 2, z matters most on 25 Gaussians: without it almost half the samples fall "
    "between the modes.",
    _ablation_cells,
    _train,
    (*ON_MODE, replace(DISTANCE, paper=FID, theirs="FID on CIFAR-10, paper")),
    _ablation_figure,
    lambda rows: (
        "share of samples on a mode, and KL, on vp: "
        + "; ".join(
            f"{row}: {rows[row]['on_mode']:.1%}, {rows[row]['kl']:.3f}"
            for row in ("T = 4", "no z", "direct xₛ", "eps output", "one-shot")
            if row in rows and "on_mode" in rows[row]
        )
    ),
    "FID on CIFAR-10: T = 4 3.75, no z 20.6, direct 6.03, eps 8.04, one-shot 13.2",
    "?tab=train",
    note="The paper's table 2 changes one part at a time. The base is T = 4 on vp: skip networks, 8,000 updates, and "
    "the non-saturating loss (NS) with R1 + R2 at every update. Lazy means a penalty at every 16th update. The "
    "figure shows the share on a mode alone; the table has the modes, KL and SW₂ too. The paper's numbers are FID on "
    "CIFAR-10, so only their order compares. Without z the share on a mode is the smallest here, and no z has the "
    "largest FID in the paper too. The networks matter as well. A plain G has no Fourier features, and it does not "
    "start from a draw of x₀ for standard normal data. It loses the most modes and has the largest KL. A plain D has "
    "no Fourier features of xₛ and xₜ. It leaves samples between the modes. Modes get unequal shares without R2, and "
    "also with lazy penalties, whose γ is the same and whose total is a sixteenth. T = 1 and direct xₛ are as good "
    "as the base, and one shot is only slightly worse. On CIFAR-10 the paper found all three worse.",
    beside=lambda rows: tuple(
        Beside(row, f"{rows[row]['on_mode']:.1%} on a mode", f"FID {FID[row]:g}")
        for row in ("T = 4", "no z", "one-shot")
    ),
    chosen=lambda result: result.row in FID,
)


# ---------------------------------------------------------------- 4. posteriors

LEARNED = {"ddgan": "DDGAN", "regression": "learned Gaussian", "gaussian": "best Gaussian"}


def _posteriors(seed: int, data: str, t: int, points: int, weights: list[str]) -> dict[str, Any]:
    session, request = Session(), Request(data=data, denoisers=tuple(LEARNED), T=4)
    marginal = session.law(data).marginal(session.schedule(request).level(t))
    found: dict[str, list[float]] = {}
    for i, x in enumerate(marginal.sample(points, torch.Generator().manual_seed(seed)).tolist()):
        answer = ask(session, Question(request, t, tuple(x)), i)
        for name, distances in {**answer.distances, "floor": answer.floor}.items():
            for key in ("energy", "modes"):
                found.setdefault(f"{name}_{key}", []).append(distances[key])
    return {key: sum(values) / len(values) for key, values in found.items()}


def _posteriors_cells(quick: bool) -> list[Cell]:
    points = 4 if quick else 200
    return [
        Cell(
            f"{data}, t = {t}",
            0,
            {"data": data, "t": t, "points": points, "weights": weights(data, f"{data}-regression")},
        )
        for data in ("25-gaussians", "8-gaussians", "rings")
        for t in (4, 3, 2, 1)
    ]


def _posteriors_figure(results: list[Result]) -> go.Figure:
    labels = {**LEARNED, "floor": "two exact samples"}
    rows = {row: {label: [v[f"{name}_energy"]] for name, label in labels.items()} for row, v in means(results).items()}
    setting = "to the true q(x₀ | xₜ); VP schedule, T = 4;<br>hollow: smaller than the axis shows, or not above 0"
    return dots(rows, "energy distance (logarithmic)", setting, log=True)


POSTERIORS = Experiment(
    "posteriors",
    "Does it learn the right law at every step?",
    "Given xₜ at T = 4 on vp, the DDGAN's draws of x₀ are at least four times nearer to the true law, in energy "
    "distance, than those of the best Gaussian in KL or of the learned one.",
    _posteriors_cells,
    _posteriors,
    tuple(
        Column(f"{name}_{key}", f"{heading}: {label}", form)
        for key, heading, form in (("energy", "energy", "{:.4f}"), ("modes", "weights off", "{:.3f}"))
        for name, label in {**LEARNED, "floor": "floor"}.items()
    ),
    _posteriors_figure,
    lambda rows: (
        "energy distance at t = 1, DDGAN / best Gaussian / floor: "
        + "; ".join(
            f"{row.partition(',')[0]} {v['ddgan_energy']:.4f} / {v['gaussian_energy']:.4f} / {v['floor_energy']:.4f}"
            for row, v in rows.items()
            if row.endswith("t = 1")
        )
    ),
    "none: the true law is not known for images",
    "?T=4&denoisers=exact,ddgan,regression,gaussian&at=1,0.3,0.2,x_0",
    note="Each number is a mean over 200 xₜ. Each xₜ has 800 draws with noise of its own. T = 4 on vp, shipped "
    "weights. The learned Gaussian, like DDPM, predicts one x₀, the mean, for all draws. Weights off: total "
    "variation distance between the mode weights. Floor: the score of 800 exact draws. An energy distance is "
    "unbiased, so its floor is about zero and can be negative. The DDGAN falls short on 8 Gaussians: its mode weights "
    "are further off than the best Gaussian's at every t, most at t = 1.",
    beside=lambda rows: tuple(
        Beside(
            f"{name}, t = 1: energy distance",
            f"{v['ddgan_energy']:.4f}; best Gaussian {v['gaussian_energy']:.4f}",
            "images: law unknown",
        )
        for name, v in (
            (label, rows[f"{data}, t = 1"])
            for data, label in {"25-gaussians": "25 Gaussians", "8-gaussians": "8 Gaussians", "rings": "rings"}.items()
        )
    ),
    chosen=lambda result: result.setting["t"] in (1, 4),
)


# ---------------------------------------------------------------- 5. one network for any step

ANY = {
    **{f"T = {T}": ("vp", T) for T in (1, 2, 4, 8)},
    **{f"T = 4, {family}": (family, 4) for family in ("linear", "cosine", "geometric")},
    "T = 16": ("vp", 16),
}


def _any_step(seed: int, family: str, T: int, steps: int) -> dict[str, Any]:
    """Score the network for any T on this schedule. On vp, up to T = 8, also score one trained for this T alone."""
    schedule, base = Schedule.named(family, T), replace(RECIPES["ours"], seed=seed, steps=steps)
    numbers = _scores(_drawn(trained(replace(base, T=None))[0], schedule, seed))
    if family != "vp" or T > 8:
        return numbers
    fixed = _scores(_drawn(trained(replace(base, T=T))[0], schedule, seed))
    return {**numbers, **{f"fixed_{key}": value for key, value in fixed.items()}}


def _any_cells(quick: bool) -> list[Cell]:
    steps = 200 if quick else 12_000
    return [
        Cell(row, seed, {"family": family, "T": T, "steps": steps})
        for seed in SEEDS[: 1 if quick else None]
        for row, (family, T) in ANY.items()
    ]


def _any_figure(results: list[Result]) -> go.Figure:
    labels = {"on_mode": "one network for all", "fixed_on_mode": "trained for this T alone"}
    rows = {row: {label: [v[key]] for key, label in labels.items() if key in v} for row, v in means(results).items()}
    setting = f"25 Gaussians; VP schedule unless the row has another;<br>{N:,} samples, mean over seeds"
    return dots(rows, "samples on a mode (%)", setting, form=".1%")


_OF_ANY = (*ON_MODE, DISTANCE)

ANY_STEP = Experiment(
    "any-step",
    "One network, any number of steps",
    "One network that sees the noise level serves any T, and other schedules too, at a price: on vp it leaves 1.7 to "
    "2.7 times as many samples between the modes as a network for that T alone.",
    _any_cells,
    _any_step,
    (*_OF_ANY, *(replace(c, key=f"fixed_{c.key}", heading=f"fixed T: {c.heading}") for c in _OF_ANY)),
    _any_figure,
    lambda rows: (
        "share of samples on a mode, and KL, on vp, for the network for any T (for one trained for this T alone): "
        + "; ".join(
            f"{row}: {v['on_mode']:.1%}, {v['kl']:.3f} ({v['fixed_on_mode']:.1%}, {v['fixed_kl']:.3f})"
            for row, v in ((row, rows.get(row, {})) for row in ("T = 2", "T = 4", "T = 8"))
            if "fixed_on_mode" in v
        )
    ),
    "none: one network per T",
    "?T=6&schedule=cosine",
    note="25 Gaussians, our recipe, 12,000 updates for every network. On vp the KL of the network for any T is three "
    "to six times as large as that of a network for one T. Rows without a name are on vp. The figure shows the share "
    "on a mode alone; the table has the modes, KL and SW₂ too.",
    beside=lambda rows: tuple(
        Beside(
            f"{row}: on a mode", f"{v['on_mode']:.1%}; trained for it alone {v['fixed_on_mode']:.1%}", "one for each T"
        )
        for row, v in ((row, rows[row]) for row in ("T = 2", "T = 4", "T = 8"))
    ),
)

EXPERIMENTS = (ORACLE, TOYS_25, TOYS_ABLATIONS, POSTERIORS, ANY_STEP)
