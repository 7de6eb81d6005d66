"""From a request to its steps, and from a config to a trained model: what the page, the CLI and the tests all drain.

A `Session` resolves the names of a `Request` to laws and denoisers, keeping the last few, and runs it.
"""

from __future__ import annotations

import math
import platform
import secrets
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from . import checkpoint, networks
from .config import Config
from .data import POINTS, TOYS, decode_points, from_points, read_csv, toy
from .denoiser import Denoiser, ExactDenoiser, GaussianDenoiser, MeanDenoiser
from .metrics import evaluate, judge, slices
from .mixture import Law
from .request import DENOISERS, MAX_N, Request
from .sampler import Draws, Step, sample
from .schedule import MAX_T, Schedule
from .trainer import Adversarial, Anywhere, Consecutive, Objective, Regression, TrainStep, train

__all__ = ["Session", "fit", "hardware", "new_objective", "score", "single_thread"]

MAX_ADOPTED = 64
_INITIALISING = threading.Lock()  # networks draw their first weights from the one global generator


class Source(NamedTuple):
    """What a data name stands for: its law, and the directories of the models that were trained on it."""

    law: Law
    models: dict[str, Path]


class Session:
    """Names -> laws and denoisers, the last few kept; requests -> steps."""

    def __init__(self) -> None:
        self.adopted: OrderedDict[str, Denoiser] = OrderedDict()
        self.source = lru_cache(maxsize=32)(_source)
        self.denoiser = lru_cache(maxsize=64)(self._denoiser)
        self.discriminator = lru_cache(maxsize=32)(self._discriminator)
        self.reference = lru_cache(maxsize=32)(self._reference)

    def _denoiser(self, data: str, name: str) -> Denoiser:
        """One of DENOISERS for a data name; ValueError where no such model was trained."""
        law, models = self.source(data)
        closed = {"exact": ExactDenoiser, "gaussian": GaussianDenoiser, "mean": MeanDenoiser}
        if name in closed:
            return closed[name](law)
        if name not in DENOISERS:
            raise ValueError("this model is no longer here: train it again, or load its file")
        if name not in models and data.startswith(POINTS):
            raise ValueError(f"no {DENOISERS[name][0]} has been trained on these points yet: the tab Train does it")
        if name not in models:
            others = ", ".join(DENOISERS[other][0] for other in [*models, *closed])
            raise ValueError(f"no {DENOISERS[name][0]} was trained on {data}, there are {others}")
        denoiser = checkpoint.load(models[name])
        if denoiser.card["shape"] != list(law.shape):
            raise ValueError(f"the model in {models[name]} is for data of another shape than {data}")
        return denoiser

    def _discriminator(self, data: str) -> nn.Module | None:
        """The opponent of the data's DDGAN, None where it was not kept."""
        try:
            return checkpoint.load_discriminator(self.source(data).models["ddgan"])
        except (KeyError, ValueError):
            return None

    def _reference(self, data: str, n: int) -> np.ndarray:
        """The slices of n samples of the law that distances are measured to: the same for everybody."""
        return slices(self.source(data).law.sample(n, torch.Generator().manual_seed(1)))

    def adopt(self, denoiser: Denoiser) -> str:
        """Take in a visitor's model under a name that nobody can guess, `own-...`; the last MAX_ADOPTED are kept."""
        name = f"own-{secrets.token_hex(8)}"
        self.adopted[name] = denoiser
        while len(self.adopted) > MAX_ADOPTED:
            self.adopted.popitem(last=False)
        return name

    def model(self, request: Request, denoiser: str) -> Denoiser:
        """The denoiser that this name stands for in a request; ValueError where there is none."""
        return self.adopted.get(denoiser) or self.denoiser(request.data, denoiser)

    def run(self, request: Request, denoiser: str) -> Iterator[Step]:
        """The T steps of one denoiser of the request. All denoisers get the same x_T, z and eps."""
        model = self.model(request, denoiser)
        shape = self.source(request.data).law.shape
        if denoiser in self.adopted and model.card["shape"] != list(shape):
            raise ValueError(f"this model was trained on data of shape {tuple(model.card['shape'])}, not {tuple(shape)}")

        def draws(seed: int) -> Draws:
            return Draws.from_seeds(range(seed * MAX_N, seed * MAX_N + request.n), shape, request.T, model.latent_dim)

        noise = draws(request.seed)
        for what, t, seed, item in request.forks:
            noise = noise.reroll(what, t, draws(2**31 + seed), slice(None) if item is None else [item])
        return sample(request.steps(), model, noise)

    def score(self, request: Request, x: Tensor) -> dict[str, float]:
        """The metrics of samples x of the request's law."""
        return evaluate(x, self.source(request.data).law, self.reference(request.data, len(x)))

    def judge(
        self,
        request: Request,
        denoiser: str,
        samplings: int = 1,
        watch: Callable[[Iterator[Step]], Iterator[Step]] = iter,
    ) -> dict[str, float]:
        """metrics.judge of a denoiser: the request's seed and, for more samplings, those that follow it."""

        def sampled(i: int) -> Tensor:
            *_, last = watch(self.run(replace(request, seed=request.seed + i), denoiser))
            return last.x_s

        return judge(self.source(request.data).law, request.n, sampled, samplings)


def _source(data: str) -> Source:
    if data in TOYS:
        directories = {"ddgan": checkpoint.WEIGHTS / data, "regression": checkpoint.WEIGHTS / f"{data}-regression"}
        return Source(toy(data), {name: path for name, path in directories.items() if (path / "card.json").is_file()})
    if data.startswith(POINTS):
        return Source(_law(data), {})
    path = Path(data)
    if path.suffix == ".csv":
        return Source(from_points(read_csv(path)), {})
    if path.suffix == ".safetensors":
        config = Config.from_dict(checkpoint.read_card(path)["config"])
        if config.data not in TOYS and not config.data.startswith(POINTS):
            raise ValueError(f"{path} was trained on {config.data[:40]!r}, which the file does not hold")
        return Source(_law(config.data), {config.objective: path})
    if not (path / "card.json").is_file() and not (checkpoint.WEIGHTS / data / "card.json").is_file():
        raise ValueError(f"data must be one of {', '.join(TOYS)}, a .csv file, a model's .safetensors file or a run's directory, got {data!r}")
    path = path if (path / "card.json").is_file() else checkpoint.WEIGHTS / data
    config = Config.from_dict(checkpoint.read_card(path)["config"])
    law = from_points(read_csv(path / "points.csv")) if (path / "points.csv").is_file() else _law(config.data)
    return Source(law, {config.objective: path})


def _law(data: str) -> Law:
    """The law of a name that needs no file."""
    return from_points(decode_points(data)) if data.startswith(POINTS) else toy(data)


def new_objective(config: Config, law: Law) -> Objective:
    """The objective of a config, its networks initialised from the config's seed."""
    if config.objective == "regression" and config.latent_dim:
        raise ValueError(f"the regression objective has no latent: latent_dim must be 0, got {config.latent_dim}")
    regression = config.objective == "regression"
    with _INITIALISING:
        with torch.random.fork_rng(devices=[]):
            torch.random.manual_seed(config.seed)
            generator = checkpoint.new_generator(config, tuple(law.shape))
            discriminator = networks.discriminator(config.network, law.shape, width=config.width, depth=config.depth)
    if config.T is not None:
        pairs = Consecutive(Schedule.vp(config.T))
    else:  # a regression denoiser also has to serve the long chains that it needs
        pairs = Anywhere(Schedule.vp(MAX_T), first=1 / MAX_T if regression else 0.02, clean=config.clean)
    if regression:
        return Regression(generator, pairs, lr=config.lr_g, ema=config.ema)
    lr = config.lr_g, config.lr_d
    return Adversarial(generator, discriminator, pairs, loss=config.loss, gamma=config.gamma, lr=lr, ema=config.ema)


def fit(
    config: Config,
    out: Path,
    *,
    seconds: float = math.inf,
    resume: bool = False,
    command: str = "",
    save_every: float = 30.0,
) -> Iterator[TrainStep]:
    """Train a config into a directory: one record an update; the state is saved every `save_every` training seconds.

    Closing the iterator saves and stops; with `resume` the run goes on from there, bit for bit. The model stands in
    `out` with its card, which has metrics once the run has ended. ValueError where `out` holds a run and `resume` was
    not asked for, where it holds another run, or where it cannot be written.
    """
    law = _source(config.data).law
    objective = new_objective(config, law)
    start = None
    if resume:
        state, step, spent = checkpoint.load_state(out, objective.state_dict(), config)
        objective.load_state_dict(state)
        start = TrainStep(step, spent, 0.0, {})
    elif (out / "state.safetensors").exists():
        raise ValueError(f"{out} already holds a run: continue it with --resume, or choose another directory")
    last = start or TrainStep(0, 0.0, 0.0, {})
    checkpoint.save_state(out, objective.state_dict(), config, last.step, last.seconds)
    if config.data.endswith(".csv") and not (out / "points.csv").exists():
        shutil.copyfile(config.data, out / "points.csv")
    saved = last.seconds
    steps = train(
        objective,
        lambda noise: law.sample(config.batch, noise),
        seed=config.seed,
        steps=config.steps,
        seconds=seconds,
        start=start,
    )
    finished = False
    try:
        for last in steps:
            yield last
            if last.seconds - saved > save_every:
                checkpoint.save_state(out, objective.state_dict(), config, last.step, last.seconds)
                saved = last.seconds
        finished = True
    finally:
        checkpoint.save_state(out, objective.state_dict(), config, last.step, last.seconds)
        made = {
            "command": command,
            "steps": last.step,
            "seconds": round(last.seconds, 1),
            "hardware": hardware(),
            "torch": torch.__version__,
            "metrics": score(objective.denoiser, law, config) if finished else {},  # a stop must not take seconds
        }
        checkpoint.save(out, objective.denoiser, config, tuple(law.shape), made, objective.networks.get("d"))


def score(denoiser: Denoiser, law: Law, config: Config, n: int = 10_000) -> dict[str, dict[str, float]]:
    """What a card reports: three samplings of n, from seed 0 on, judged at the T that a model is for."""
    few, many = (1, 2, 4, 8), (4, 16, 64)

    def sampled(T: int, i: int) -> Tensor:
        draws = Draws.from_seeds(range(i * MAX_N, i * MAX_N + n), law.shape, T, denoiser.latent_dim)
        *_, last = sample(Schedule.vp(T), denoiser, draws)
        return last.x_s

    scores = {}
    for T in [config.T] if config.T is not None else many if config.objective == "regression" else few:
        numbers = judge(law, n, partial(sampled, T), samplings=3)
        scores[f"T={T}"] = {name: round(v, 5) if math.isfinite(v) else None for name, v in numbers.items()}
    return scores


def single_thread() -> None:
    """Compute on one core: networks this small lose more by sharing the work than they gain, above all on a busy host."""
    torch.set_num_threads(1)


def hardware() -> str:
    """The processor that this runs on, in a few words."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {torch.get_num_threads()} thread(s)"
