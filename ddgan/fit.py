"""From a config to a trained model in a directory.

    DIR/model.safetensors, card.json, ...   the model: see checkpoint.py
    DIR/state.safetensors                   the run: stopped or killed anywhere, it goes on bit for bit
    DIR/log.jsonl, samples.png              images only: losses at every save, and what the model draws by then

A run whose losses or weights are no longer finite goes back to the state last saved, and on from there with fresh
noise: after k times back, an update's noise is a function of (seed, step, k), so such a run resumes bit for bit too.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import checkpoint, networks, ranks
from .config import Config
from .data import from_points, law_of, read_csv
from .denoiser import Denoiser
from .images import OFFICIAL, SETS, ImageSet, batches, from_uint8, load_images, sheet, stacked_mnist, to_uint8
from .image_metrics import judge_set
from .machine import device, hardware, precision
from .metrics import judge
from .mixture import Law
from .request import seeds
from .sampler import draw
from .schedule import MAX_T, Schedule
from .trainer import Adversarial, Anywhere, Consecutive, Objective, Regression, TrainStep, train

__all__ = ["fit", "new_objective", "score"]

_INITIALISING = threading.Lock()  # networks draw their first weights from the one global generator
SHEET = 64  # images that samples.png shows
JUDGED, STACKED = 2000, 25_600  # images that a card's metrics are of; of StackedMNIST
NETWORK = ("network", "width", "depth", "multipliers", "patch", "d_width", "latent_dim")  # what of a config shapes the weights
FITTED = 4096  # images enough for mean and covariance, where an image has more numbers than that
ROLLBACKS = 3  # times that a run goes back from what is not finite, before it stops


def new_objective(config: Config, data: Law | ImageSet, on: torch.device | None = None) -> Objective:
    """The objective of a config, its networks initialised from the config's seed.

    They are `on` a device, unless it is given: images' on a GPU where there is one, points' on the CPU.
    """
    if config.objective == "regression" and config.latent_dim:
        raise ValueError(f"the regression objective has no latent: latent_dim must be 0, got {config.latent_dim}")
    regression, images = config.objective == "regression", isinstance(data, ImageSet)
    if images and not regression and config.loss in ("r1r2", "rpgan"):
        raise ValueError(f"loss {config.loss} takes D's slope from a finite difference, too rough for images: choose rpgan-exact or paper")
    with _INITIALISING:
        with torch.random.fork_rng(devices=[]):
            torch.random.manual_seed(config.seed)
            generator = checkpoint.new_generator(config, tuple(data.shape))
            discriminator = None if regression else checkpoint.new_discriminator(config, tuple(data.shape))
    if config.init:
        _begin_with(config, generator, discriminator)
    elif images:
        some = 1 if data.shape.numel() <= FITTED else -(-len(data) // FITTED)
        generator.fit(from_uint8(data.images[::some]))
    on = on or (device() if images else torch.device("cpu"))
    generator, discriminator = generator.to(on), discriminator and discriminator.to(on)
    if config.T is not None:
        pairs = Consecutive(Schedule.vp(config.T), clean=config.clean)
    else:  # a regression denoiser also has to serve the long chains that it needs
        pairs = Anywhere(Schedule.vp(MAX_T), first=1 / MAX_T if regression else 0.02, clean=config.clean)
    if regression:
        objective = Regression(generator, pairs, lr=config.lr_g, ema=config.ema)
    else:
        penalty = {"loss": config.loss, "gamma": config.gamma, "every": config.every}
        objective = Adversarial(generator, discriminator, pairs, lr=(config.lr_g, config.lr_d), ema=config.ema, **penalty)
    objective.accumulate, objective.decay = config.accumulate, config.decay
    objective.parts(torch.empty(config.batch))  # refuses what cannot be shared or cut
    if images:
        objective.precision = precision(objective.device)
        if objective.device.type == "cuda":
            generator.compile()
            if discriminator:
                objective.critic = torch.compile(discriminator)
    return objective


def _begin_with(config: Config, generator: Denoiser, discriminator: torch.nn.Module | None) -> None:
    """Take the weights of the model that a config names; ValueError, in one sentence, where they do not fit."""
    begun = checkpoint.load(config.init)
    try:
        generator.load_state_dict(begun.state_dict())
        if discriminator:
            discriminator.load_state_dict(checkpoint.load_discriminator(config.init).state_dict())
    except RuntimeError as error:
        there = Config.from_dict(begun.card["config"]).difference(config)
        sizes = ", ".join(f"{name} {a} there and {b} now" for name, (a, b) in there.items() if name in NETWORK)
        raise ValueError(f"the weights of {config.init} are of another network: {sizes or 'data of another shape'}") from error


def fit(
    config: Config,
    out: Path | str,
    *,
    images: str | None = None,
    size: int | None = None,
    seconds: float = math.inf,
    resume: bool = False,
    command: str = "",
    save_every: float = 30.0,
    say: Callable[[str], None] = warnings.warn,
) -> Iterator[TrainStep]:
    """Train a config into a directory: one record an update; the state is saved every `save_every` training seconds.

    `images` says where the config's image set is, if it is not to be found by name, and `size` what to resize it to; `say`
    hears of what went wrong and was mended: a damaged state, updates that are not finite.
    Closing the iterator saves and stops; with `resume` the run goes on from there, bit for bit. So it does from the state
    last saved where an update was broken off, by KeyboardInterrupt or a kill: half an update is never saved. The model
    stands in `out` with its card, which has metrics once the run has ended. ValueError where `out` holds a run and
    `resume` was not asked for, where it holds another run, where another process trains there, or where it cannot be
    written; FloatingPointError where going back does not help.
    """
    if (images or size) and config.network not in networks.IMAGES:
        raise ValueError(f"--data and --size are for images, a network of {config.network!r} is for points")
    out = Path(out)
    there = out / "points.csv"  # what a run keeps of a file that may have moved
    moved = resume and config.data.endswith(".csv") and not Path(config.data).exists() and there.exists()
    data = from_points(read_csv(there)) if moved else _data(config, images, size)
    if config.network == "unet-draw" and config.latent_dim:  # as many numbers as the data has, whichever it is
        config = replace(config, latent_dim=data.shape.numel())
    run = _Run(config, out, data, say, resume)
    with nullcontext() if ranks.rank() else checkpoint.claimed(out):
        run.begin()
        try:
            yield from run.updates(seconds, save_every)
        except (GeneratorExit, FloatingPointError):
            run.save()
            run.keep(command, {})
            raise
        run.keep(command, {})  # first: judging takes minutes, and a stop must not cost the model
        named = images is None and tuple(data.shape) == tuple(SETS.get(config.data, data.shape))  # judged in their size alone
        if not ranks.rank() and (named or run.fingerprint == OFFICIAL.get(config.data)):
            run.keep(command, score(run.model(), run.data, config))


class _Run:
    """A run in its directory: where it stands, and how it is saved, goes on and goes back."""

    def __init__(self, config: Config, out: Path, data: Law | ImageSet, say: Callable[[str], None], resume: bool) -> None:
        self.config, self.out, self.data, self.resume = config, out, data, resume
        self.say = (lambda words: None) if ranks.rank() else say
        begun = replace(config, init="") if resume else config  # a resumed run has its own weights
        self.objective = new_objective(begun, data)
        self.fingerprint = _fingerprint(config, data)
        self.history = _history(begun)
        self.last, self.saved, self.rollbacks = TrainStep(0, 0.0, 0.0, {}), None, 0

    def begin(self) -> None:
        """Stand where the run in the directory stands, or at its beginning; either is saved, which shows that it can be."""
        if self.resume:
            self.restore()
        elif checkpoint.holds_state(self.out):
            raise ValueError(f"{self.out} already holds a run: continue it with --resume, or choose another directory")
        elif (self.out / "card.json").exists():
            raise ValueError(f"{self.out} already holds a model: choose another directory")
        ranks.agree(0)  # all have looked before one writes
        self.save()
        if self.config.data.endswith(".csv") and not ranks.rank() and not (self.out / "points.csv").exists():
            checkpoint.write(self.out / "points.csv", Path(self.config.data).read_bytes())

    def save(self) -> None:
        """Write the state, once for all ranks, if it is not the one last saved; FloatingPointError where it is not finite."""
        if self.last is self.saved:
            return
        failure = None
        if not ranks.rank():
            last = self.last.step, self.last.seconds, self.rollbacks
            state = checkpoint.Saved(self.objective.state_dict(), *last, self.fingerprint, self.history, *self.objective.skips)
            try:
                checkpoint.save_state(self.out, state, self.config)
            except FloatingPointError as error:
                failure = error
        if ranks.agree(failure is not None):  # all go back, or none
            raise failure or FloatingPointError(f"the state is not finite after update {self.last.step}")
        self.saved = self.last

    def restore(self) -> None:
        """Go back to the state last saved."""
        saved = checkpoint.load_state(self.out, self.objective.state_dict(), self.config, self.fingerprint, self.say)
        self.objective.load_state_dict(saved.state)
        self.objective.skipped.fill_(saved.skipped)
        self.objective.skips = saved.skipped, saved.in_a_row
        self.last, self.rollbacks = TrainStep(saved.step, saved.seconds, 0.0, {}), saved.rollbacks
        self.history = saved.history

    def updates(self, seconds: float, save_every: float) -> Iterator[TrainStep]:
        """Train to the end, which is saved; over again from the state last saved where that is not finite."""
        while True:
            seed, limits = self.seed(), {"steps": self.config.steps, "seconds": seconds}
            try:
                for self.last in train(self.objective, self.batches(seed), seed=seed, start=self.last, **limits):
                    if self.last.progress == 1 or self.last.seconds - self.saved.seconds > save_every:
                        self.save()
                        self.show()
                    yield self.last
                return
            except FloatingPointError as error:
                self.roll_back(error)

    def seed(self) -> int:
        """The config's; a fresh one after each time that the run went back."""
        if not self.rollbacks:
            return self.config.seed
        return int(np.random.SeedSequence((self.config.seed, self.rollbacks)).generate_state(1)[0])

    def batches(self, seed: int) -> Callable[[int, torch.Generator], Tensor]:
        """(step, noise) -> x_0."""
        if isinstance(self.data, ImageSet):
            return batches(self.data, self.config.batch, seed=seed, flip=self.config.flip)
        return lambda _, noise: self.data.sample(self.config.batch, noise)

    def roll_back(self, error: FloatingPointError) -> None:
        """Go back to the state last saved; FloatingPointError, the report, where that was done often enough."""
        self.restore()
        ranks.agree(0)  # all have read before one writes
        if self.rollbacks == ROLLBACKS:
            self.saved = self.last
            raise FloatingPointError(
                f"{error}, after going back {ROLLBACKS} times: stopped. {self.out} holds the run after update "
                f"{self.last.step:,}, which is finite; lower learning rates or a larger gamma may hold it"
            ) from error
        self.rollbacks += 1
        self.objective.skips = self.objective.skips[0], 0
        self.say(f"{error}: back to update {self.last.step:,}, on with fresh noise ({self.rollbacks} of {ROLLBACKS} times)")
        self.save()

    def show(self) -> None:
        """Of images: a line of log.jsonl, and what the model draws by now in four steps from always the same noise."""
        if not isinstance(self.data, ImageSet) or ranks.rank():
            return
        with open(self.out / "log.jsonl", "a", encoding="utf-8") as log:
            log.write(json.dumps({"step": self.last.step, "seconds": round(self.last.seconds, 1), **self.last.losses}) + "\n")
        denoiser = self.objective.denoiser
        T = len(denoiser.levels.values) if not denoiser.levels.between else 4
        with torch.no_grad():
            (x_0,) = draw(Schedule.vp(T), denoiser, range(SHEET), self.data.shape)
        sheet(to_uint8(x_0), columns=8).save(self.out / "samples.png")

    def model(self) -> Denoiser:
        """The moving average as it is kept: images' files are large, and hold bfloat16."""
        if not isinstance(self.data, ImageSet):
            return copy.deepcopy(self.objective.denoiser)
        return copy.deepcopy(self.objective.denoiser).bfloat16().to(precision(self.objective.device))

    def keep(self, command: str, metrics: dict[str, Any]) -> None:
        """Write the model and its card, once for all ranks."""
        if ranks.rank():
            return
        made = {
            "command": command,
            "steps": self.last.step,
            "seconds": round(self.last.seconds, 1),
            "rollbacks": self.rollbacks,
            "skipped": self.objective.skips[0],
            "hardware": hardware(),
            "torch": torch.__version__,
            "seen": self.last.step * self.config.batch,
            "data": self.fingerprint,
            "history": self.history,
            "go_on": f"the same command with --init {self.out}, another --out and another --seed begins with these weights",
            "metrics": metrics,
        }
        dtype = torch.bfloat16 if isinstance(self.data, ImageSet) else torch.float32
        opponent = self.objective.networks.get("d")
        model, shape = self.model(), tuple(self.data.shape)
        checkpoint.save(self.out, model, self.config, shape=shape, made=made, discriminator=opponent, dtype=dtype)


def _data(config: Config, images: str | None, size: int | None) -> Law | ImageSet:
    if config.network in networks.IMAGES:
        data = load_images(images or config.data, size=size)
        return stacked_mnist(data, len(data), seed=0) if images and config.data == "stackedmnist" else data
    return from_points(read_csv(config.data)) if config.data.endswith(".csv") else law_of(config.data)


def _fingerprint(config: Config, data: Law | ImageSet) -> str:
    """What a run must find again to go on: images, or a file's points; a toy's name says it all."""
    if isinstance(data, ImageSet):
        return data.fingerprint()
    return hashlib.sha256(data.mu.numpy().tobytes()).hexdigest()[:16] if config.data.endswith(".csv") else ""


def _history(config: Config) -> tuple[dict[str, Any], ...]:
    """How the weights that a run begins with were made, the first run first."""
    if not config.init:
        return ()
    card = checkpoint.read_card(config.init)
    made = {key: card[key] for key in ("command", "steps", "seconds", "seen", "hardware") if key in card}
    return (*card.get("history", ()), made)


def score(denoiser: Denoiser, data: Law | ImageSet, config: Config, n: int = 10_000) -> dict[str, dict[str, float]]:
    """What a card reports: three samplings of n, from seed 0 on, judged at the T that a model is for; of images a single one."""
    if isinstance(data, ImageSet) and not (checkpoint.WEIGHTS / f"{config.data.removeprefix('stacked')}-classifier").is_dir():
        return {}
    stacked = config.data == "stackedmnist"
    few = (4,) if stacked else (1, 2, 4, 8)
    many = (4, 16, 64) if isinstance(data, Law) else (4, 16)

    def sampled(T: int, i: int) -> Tensor:
        (x_0,) = draw(Schedule.vp(T), denoiser, seeds(i, n), data.shape, at_once=n)
        return x_0

    scores = {}
    for T in [config.T] if config.T is not None else many if config.objective == "regression" else few:
        if isinstance(data, Law):
            numbers = judge(data, n, partial(sampled, T), samplings=3)
        else:
            numbers = judge_set(draw(Schedule.vp(T), denoiser, range(STACKED if stacked else JUDGED), data.shape), config.data)
        scores[f"T={T}"] = {name: round(v, 5) if math.isfinite(v) else None for name, v in numbers.items()}
    return scores
