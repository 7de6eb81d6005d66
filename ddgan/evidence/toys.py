"""The paper's argument on toys, whose every conditional law is known: rows 1 to 5 of the evidence."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import Saved, claimed, holds_state, load_state, save_state
from ..config import PRESETS, Config
from ..data import toy
from ..denoiser import CLOSED, Denoiser, Levels
from ..fit import new_objective
from ..gaussian import Gaussian
from ..images import CACHE
from ..machine import device, record
from ..metrics import coverage, evaluate
from ..mixture import Law
from ..posterior import Question, ask
from ..request import Request, seeds
from ..sampler import draw
from ..schedule import Schedule
from ..session import Session
from ..trainer import Objective, TrainStep, train
from .figures import chart, decode, encode, scatter
from .frame import Cell, Column, Experiment, Result, means, weights

__all__ = ["EXPERIMENTS"]

DATA = "25-gaussians"
SEEDS = range(5)
N = 10_000  # samples of a number
SHOWN = 500  # points of a scatter plot
ON_MODE = (Column("modes", "modes", "{:.1f}"), Column("on_mode", "on a mode", "{:.1%}"), Column("kl", "KL", "{:.3f}"))


def _drawn(denoiser: Denoiser, schedule: Schedule, seed: int, n: int = N) -> Tensor:
    (x_0,) = draw(schedule, denoiser, seeds(seed, n), (2,), at_once=n)
    return x_0.cpu()


# ---------------------------------------------------------------- 1. no training at all

SPREADS = {"std .035": 0.035, "std .018": 0.0177}  # of a mode: that of the reference's table, and of our toy


def _oracle(seed: int, T: int, std: float, n: int) -> dict[str, Any]:
    law = toy(DATA)
    law = replace(law, var=torch.full_like(law.var, std**2))
    numbers: dict[str, Any] = {}
    for name, of_law in CLOSED.items():
        cover = coverage(_drawn(of_law(law), Schedule.vp(T), seed, n), law)
        numbers |= {name: cover.on_mode, f"{name}_modes": cover.modes}
    return numbers


def _oracle_cells(quick: bool) -> list[Cell]:
    steps, n = ((1, 2, 4, 8, 16, 32), 4000) if quick else ((1, 2, 4, 8, 16, 32, 64, 128), 20_000)
    return [Cell(f"T = {T}, {name}", 0, {"T": T, "std": std, "n": n}) for name, std in SPREADS.items() for T in steps]


def _oracle_figure(results: list[Result]) -> str:
    labels = {"exact": "exact law", "gaussian": "best Gaussian", "mean": "DDPM with the exact mean"}
    std = next(name for name in reversed(SPREADS) if any(result.row.endswith(name) for result in results))
    shown = {row: v for row, v in means(results).items() if row.endswith(std)}
    rows = {row.partition(",")[0]: {label: [v[name]] for name, label in labels.items()} for row, v in shown.items()}
    return chart(rows, f"share of samples on a mode, {std}", joined=True)


ORACLE = Experiment(
    "oracle",
    "The claim without training",
    "Few denoising steps need more than a Gaussian: even the one nearest to the truth leaves most samples between the 25 modes until there are "
    "some thirty steps, the exact multimodal law never does.",
    _oracle_cells,
    _oracle,
    (
        Column("exact", "exact law", "{:.1%}"),
        Column("gaussian", "best Gaussian", "{:.1%}"),
        Column("gaussian_modes", "modes", "{:.0f}"),
        Column("mean", "DDPM, exact mean", "{:.1%}"),
        Column("mean_modes", "modes", "{:.0f}"),
    ),
    _oracle_figure,
    lambda rows: "on a mode at T = 4: exact law {exact:.1%}, best Gaussian {gaussian:.1%}, DDPM {mean:.1%}".format(
        **rows["T = 4, std .018"]
    ),
    "Gaussian steps must be small (section 3)",
    "?T=4&denoisers=exact,gaussian,mean",
    note="Share of 20,000 samples within 4 standard deviations of a mode, for modes of two widths. At T = 1 DDPM puts everything "
    "on the one mode in the middle. The Gaussian of few steps fails in the last one: before it, the noise that a step adds covers the "
    "gaps between modes. Best is the Gaussian of the least KL(q ‖ p) in a step. DDPM's, with the posterior's variance, is narrower, "
    "so that from 16 steps on more of its samples are on a mode.",
)


# ---------------------------------------------------------------- 2. the paper's toy figure

LIGHT, BETWEEN = OURS_ALONE = ("WGAN-GP, γ = 0.1", "DDPM, T = 100")  # the first would take a core an hour and more in the other
METHODS: dict[str, dict[str, Any]] = {
    "GAN": {"T": 1},
    "WGAN-GP": {"T": 1, "loss": "wgan-gp", "gamma": 10.0, "every": 1},
    LIGHT: {"T": 1, "loss": "wgan-gp", "gamma": 0.1, "every": 1},
    **{f"DDPM, T = {T}": {"T": T, "objective": "regression", "latent_dim": 0, "clean": 1 / T} for T in (4, 50, 100, 500)},
    **{f"DDGAN, T = {T}": {"T": T} for T in (2, 4, 8)},
}
RECIPES = {  # ours first: minutes, where the paper's setting takes days
    "ours": replace(PRESETS["25-gaussians-live"], steps=12_000),
    "the paper's": PRESETS["25-gaussians-paper"],
}
DDPM = {"ours": {"network": "v"}, "the paper's": {"network": "plain-eps"}}  # the regression denoiser, and Ho et al.'s output
OURS, PAPERS = BY = ("our recipe", "the paper's setting")  # their names in a table

SAVE_EVERY = 300.0  # seconds of training from one state that is kept to the next
WIDE = 256  # networks from this width on train on a GPU, where there is one, and with products in lower precision


@contextmanager
def _rounded(yes: bool) -> Iterator[None]:
    """Matrix products of float32 rounded as they are multiplied, to bfloat16 or TF32, where the processor is faster so."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if yes else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class _Direct(Schedule):
    """A schedule whose step takes the denoiser's output for x_s itself: no closed form helps the network."""

    def posterior(self, x_0: Tensor, x_t: Tensor, s: int | Tensor, t: int | Tensor) -> Gaussian:
        """A point mass at the output."""
        return super().posterior(x_0, x_t, s, t)._replace(mean=x_0, var=torch.zeros_like(x_0[:, :1]))


class _OneShot:
    """Pairs (s, T), s uniform: the generator makes x_0 of pure noise, and D sees real and fake at every noise level."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def draw(self, n: int, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """n pairs (s, T), each (n,)."""
        return torch.randint(self.schedule.T, (n,), generator=noise), torch.full((n,), self.schedule.T)

    def levels(self) -> Levels:
        """The one level that the generator sees."""
        return Levels((float(self.schedule.level(self.schedule.T)),), between=False)


@cache
def _code() -> bytes:
    """A digest of what a training runs, taken once: the files may change while it runs."""
    here = Path(__file__).parents[1]
    files = sorted([*here.glob("*.py"), *here.glob("networks/*.py"), Path(__file__)])
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).digest()


def _kept(config: Config, shape: str) -> Path:
    """Where a long training is kept while it runs: one by other code, or on other hardware, is another."""
    name = json.dumps([config.to_dict(), shape, {**record(), "commit": ""}], sort_keys=True).encode()
    return CACHE / "evidence" / hashlib.sha256(name + _code()).hexdigest()[:16]


def _last(objective: Objective, config: Config, law: Law, kept: Path) -> TrainStep:
    """The last of `train`, which goes on where it was broken off, if it was; ValueError where another process is at it."""
    with claimed(kept):
        start = saved = TrainStep(0, 0.0, 0.0, {})
        if holds_state(kept):
            state = load_state(kept, objective.state_dict(), config)
            objective.load_state_dict(state.state)
            start = saved = TrainStep(state.step, state.seconds, 0.0, {})
        limits = {"seed": config.seed, "steps": config.steps, "start": start}
        try:
            for step in train(objective, lambda _, noise: law.sample(config.batch, noise), **limits):
                if step.seconds - saved.seconds > SAVE_EVERY and step.progress < 1:
                    save_state(kept, Saved(objective.state_dict(), step.step, step.seconds, 0), config)
                    saved = step
        except FloatingPointError:
            shutil.rmtree(kept, ignore_errors=True)
            raise
        shutil.rmtree(kept, ignore_errors=True)
    return step


@lru_cache(maxsize=8)
def _trained(config: Config, shape: str = "") -> tuple[Denoiser, Schedule, float]:
    """A denoiser, the schedule that it samples with, and the seconds that its training took."""
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
    return evaluate(x, law, law.sample(len(x), torch.Generator().manual_seed(1)))


def _train(seed: int, recipe: str, steps: int, shape: str = "", points: bool = False, **changes: Any) -> dict[str, Any]:
    config = replace(RECIPES[recipe], seed=seed, steps=steps, **changes)
    denoiser, schedule, seconds = _trained(config, shape)
    x = _drawn(denoiser, schedule, seed)
    shown = {"points": encode(x[:SHOWN].numpy())} if points and not seed else {}
    rounded = {"products": "medium"} if config.width >= WIDE else {}  # torch's name for it
    return {**_scores(x), "nfe": schedule.T, "seconds": seconds, **rounded, **shown}


def _toys_cells(quick: bool) -> list[Cell]:
    def setting(recipe: str, steps: int, T: int, **changes: Any) -> dict[str, Any]:
        uniform = {"clean": 1 / T} if recipe == "the paper's" else {}  # in t, as in the paper
        network = DDPM[recipe] if "objective" in changes else {}
        return {"recipe": recipe, "steps": 200 if quick else steps, "points": True, "T": T, **uniform, **network, **changes}

    return [
        Cell(f"{name}, {by}", seed, setting(recipe, config.steps, **changes))
        for (recipe, config), by in zip(RECIPES.items(), BY, strict=True)
        for seed in SEEDS[: 1 if quick else None]
        for name, changes in METHODS.items()
        if recipe == "ours" or name not in OURS_ALONE
    ]


def _toys_figure(results: list[Result]) -> str:
    shown = {r.row: decode(r.numbers["points"]) for r in results if "points" in r.numbers}
    panels = {row.replace(f", {PAPERS}", "*").removesuffix(f", {OURS}"): points for row, points in shown.items()}
    return scatter(panels, "500 samples each, seed 0; * in the paper's setting, the others by our recipe")


TOYS_25 = Experiment(
    "toys-25",
    "The paper's toy figure",
    "Does a DDGAN cover the 25 modes in a few steps, where in the paper one-step GANs miss some and DDPM needs hundreds of steps?",
    _toys_cells,
    _train,
    (*ON_MODE, Column("nfe", "NFE", "{:.0f}"), Column("seconds", "training s", "{:.0f}")),
    _toys_figure,
    lambda rows: "; ".join(
        f"{label}: {rows[row]['modes']:.1f} modes, {rows[row]['on_mode']:.1%} on one"
        for label, row in {
            **{name: f"{name}, {OURS}" for name in ("GAN", "WGAN-GP", LIGHT, "DDPM, T = 4", BETWEEN, "DDPM, T = 500", "DDGAN, T = 4")},
            **{f"{name}, in the paper's setting": f"{name}, {PAPERS}" for name in ("GAN", "WGAN-GP", "DDPM, T = 500", "DDGAN, T = 4")},
        }.items()
        if row in rows and "modes" in rows[row]
    ),
    "DDGAN covers all modes in 4 steps, DDPM needs about 500 (figure, no numbers)",
    "?T=4",
    note="In our recipe (skip networks with Fourier features, 64 wide, 12,000 updates; GAN and DDGAN with R1 + R2, most of the DDGAN's pairs from the last step) and in "
    "the paper's setting: 3 x 512 plain, batch 512, 50,000 updates, as the paper says, R1, and rates, penalty and moving average of ours, since the toy's code was never released. "
    "There numbers are rounded to bfloat16 as they are multiplied on the Xeon (but for seed 0 of the GAN and of the DDGAN at T = 4), "
    "which is faster so; on the EPYC (seeds 1 to 4 of WGAN-GP, one of the DDGAN at T = 8) they are not. "
    "DDPM's network predicts v in our recipe, the noise in the other, which is untuned. In 4 steps it covers hardly a mode, in 50 "
    "all; with more steps the samples between them grow fewer, in the paper's setting hardly. "
    "GAN is the DDGAN at T = 1, whose networks see x₁ too, and not the paper's GAN. "
    "Trained with R1 (ours R1 + R2) it covers all modes in one step, with more samples on them than any DDGAN: on this toy "
    "more steps buy nothing. WGAN-GP, with one critic "
    "update for each of G's, misses modes where its penalty weighs 10, as is usual for images, and none at 0.1. "
    "In the paper's setting an adversarial training took a core 40 minutes to two and a half hours, seed 3 of WGAN-GP, beside other "
    "work, more than four: it was broken off and resumed, and the wall time of all counts its last part alone.",
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
    return [Cell(name, seed, {**setting, **v}) for seed in SEEDS[: 1 if quick else None] for name, v in ABLATIONS.items()]


def _by_row(key: str, label: str, results: list[Result], **look: bool) -> str:
    rows: dict[str, dict[str, list[float]]] = {}
    for result in results:
        values = rows.setdefault(result.row, {"": []})[""]
        if result.numbers.get(key) is not None:
            values.append(result.numbers[key])
    return chart(rows, label, **look)


TOYS_ABLATIONS = Experiment(
    "toys-ablations",
    "What each part is for",
    "Is it worse without z, in one shot, or with another output than x₀, as in the paper's table 2?",
    _ablation_cells,
    _train,
    (*ON_MODE, Column("sliced_w2", "SW₂", paper=FID, theirs="FID on CIFAR-10, paper")),
    partial(_by_row, "on_mode", "share of samples on a mode, one mark a seed"),
    lambda rows: "on a mode: " + ", ".join(
        f"{row}: {rows[row]['on_mode']:.1%}" for row in ("T = 4", "no z", "direct xₛ", "eps output", "one-shot")
        if row in rows and "on_mode" in rows[row]
    ),
    "FID on CIFAR-10: T = 4 3.75, no z 20.6, direct 6.03, eps 8.04, one-shot 13.2",
    "?tab=train",
    note="T = 4 is the base: skip networks, the non-saturating loss (NS) with R1 + R2 at every update (lazy: at every 16th), 8,000 "
    "updates. The paper's numbers are FID on CIFAR-10: their order is what compares. On these toys z matters most, as there, and the networks: a plain D has no "
    "Fourier features of xₛ and xₜ and leaves samples between modes, a plain G does not start from a draw of x₀ as if the data were "
    "Gaussian, nor has it Fourier features of one, and loses modes too. Without R2 or with penalties at every 16th update, "
    "whose γ is the same, so a sixteenth in all, modes get unequal shares. T = 1 and direct xₛ are as good as the base here, and one shot is only slightly worse, which is "
    "unlike the paper's CIFAR-10.",
)


# ---------------------------------------------------------------- 4. posteriors

LEARNED = {"ddgan": "DDGAN", "regression": "learned Gaussian", "gaussian": "best Gaussian"}


def _posteriors(seed: int, data: str, t: int, points: int, weights: list[str]) -> dict[str, Any]:
    session, request = Session(), Request(data=data, denoisers=tuple(LEARNED), T=4)
    marginal = session.law(data).marginal(request.steps().level(t))
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
        Cell(f"{data}, t = {t}", 0, {"data": data, "t": t, "points": points, "weights": weights(data, f"{data}-regression")})
        for data in ("25-gaussians", "8-gaussians", "rings")
        for t in (4, 3, 2, 1)
    ]


def _posteriors_figure(results: list[Result]) -> str:
    labels = {**LEARNED, "floor": "two exact samples"}
    rows = {row: {label: [v[f"{name}_energy"]] for name, label in labels.items()} for row, v in means(results).items()}
    return chart(rows, "energy distance to the true q(x₀ | xₜ), logarithmic", log=True)


POSTERIORS = Experiment(
    "posteriors",
    "Does it learn the right law at every step?",
    "Given xₜ, what a DDGAN draws for x₀ is, in energy distance, several times nearer to the true multimodal law than what the "
    "best Gaussian in KL, or the learned one, draws.",
    _posteriors_cells,
    _posteriors,
    tuple(
        Column(f"{name}_{key}", f"{heading}: {label}", form)
        for key, heading, form in (("energy", "energy", "{:.4f}"), ("modes", "weights off", "{:.3f}"))
        for name, label in {**LEARNED, "floor": "floor"}.items()
    ),
    _posteriors_figure,
    lambda rows: "energy distance at t = 1, DDGAN / best Gaussian / floor: "
    + "; ".join(
        f"{row.partition(',')[0]} {v['ddgan_energy']:.4f} / {v['gaussian_energy']:.4f} / {v['floor_energy']:.4f}"
        for row, v in rows.items() if row.endswith("t = 1")
    ),
    "none: the true law is not known for images",
    "?T=4&denoisers=exact,ddgan,regression,gaussian&at=1,0.3,0.2,x_0",
    note="Means over 200 xₜ of 800 draws each, of their own noise, T = 4, shipped weights. The learned Gaussian, as DDPM, predicts "
    "one x₀, the mean, for all draws. Weights off: total variation of the mode weights. The "
    "floor is what 800 exact draws score; an energy distance is unbiased, so its floor is about zero and may be below it. Where "
    "the DDGAN falls short: 8 Gaussians, whose weights it has further off than the best Gaussian at every t, most at t = 1.",
)


# ---------------------------------------------------------------- 5. one network for any step

ANY = {
    **{f"T = {T}": ("vp", T) for T in (1, 2, 4, 8)},
    **{f"T = 4, {family}": (family, 4) for family in ("linear", "cosine", "geometric")},
    "T = 16": ("vp", 16),
}


def _any_step(seed: int, family: str, T: int, steps: int) -> dict[str, Any]:
    """The network for any step on this schedule; beside it, on vp, one that was trained for this T alone."""
    schedule, base = Schedule.named(family, T), replace(RECIPES["ours"], seed=seed, steps=steps)
    numbers = _scores(_drawn(_trained(replace(base, T=None))[0], schedule, seed))
    if family != "vp" or T > 8:
        return numbers
    fixed = _scores(_drawn(_trained(replace(base, T=T))[0], schedule, seed))
    return {**numbers, **{f"fixed_{key}": value for key, value in fixed.items()}}


def _any_cells(quick: bool) -> list[Cell]:
    steps = 200 if quick else 12_000
    return [
        Cell(row, seed, {"family": family, "T": T, "steps": steps})
        for seed in SEEDS[: 1 if quick else None]
        for row, (family, T) in ANY.items()
    ]


def _any_figure(results: list[Result]) -> str:
    labels = {"on_mode": "one network for all", "fixed_on_mode": "trained for this T alone"}
    rows = {row: {label: [v[key]] for key, label in labels.items() if key in v} for row, v in means(results).items()}
    return chart(rows, "share of samples on a mode, mean over seeds")


ANY_STEP = Experiment(
    "any-step",
    "One network, any number of steps",
    "A network that sees the noise level serves many T, with about twice as many samples between modes as one trained for that T "
    "alone, and schedules that it was not trained with.",
    _any_cells,
    _any_step,
    (*ON_MODE, *(replace(c, key=f"fixed_{c.key}", heading=f"fixed T: {c.heading}") for c in ON_MODE)),
    _any_figure,
    lambda rows: "; ".join(
        f"{row}: {rows[row]['on_mode']:.1%} on a mode, trained for it alone {rows[row]['fixed_on_mode']:.1%}"
        for row in ("T = 2", "T = 4", "T = 8") if "fixed_on_mode" in rows.get(row, {})
    ),
    "none: one network per T",
    "?T=6&schedule=cosine",
    note="25 Gaussians, our recipe, 12,000 updates for every network.",
)

EXPERIMENTS = (ORACLE, TOYS_25, TOYS_ABLATIONS, POSTERIORS, ANY_STEP)
