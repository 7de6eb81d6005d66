"""From a config to a trained model in a directory.

    DIR/model.safetensors, card.json, ...   the model: see checkpoint.py
    DIR/state.safetensors                   the run: stopped anywhere, it goes on bit for bit
    DIR/log.jsonl, samples.png              images only: losses at every save, and what the model draws by then
"""

from __future__ import annotations

import copy
import json
import math
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import checkpoint, networks, ranks
from .config import Config
from .data import from_points, law_of, read_csv
from .denoiser import Denoiser
from .images import ImageSet, batches, from_uint8, load_images, sheet, to_uint8
from .image_metrics import judge_set
from .machine import device, hardware, precision
from .metrics import judge
from .mixture import Law
from .request import MAX_N
from .sampler import draw
from .schedule import MAX_T, Schedule
from .trainer import DECAYS, Adversarial, Anywhere, Consecutive, Objective, Regression, TrainStep, train

__all__ = ["fit", "new_objective", "score"]

_INITIALISING = threading.Lock()  # networks draw their first weights from the one global generator
SHEET = 64  # images that samples.png shows
JUDGED = 2000  # images that a card's metrics are of


def new_objective(config: Config, data: Law | ImageSet) -> Objective:
    """The objective of a config, its networks initialised from the config's seed."""
    if config.objective == "regression" and config.latent_dim:
        raise ValueError(f"the regression objective has no latent: latent_dim must be 0, got {config.latent_dim}")
    regression = config.objective == "regression"
    with _INITIALISING:
        with torch.random.fork_rng(devices=[]):
            torch.random.manual_seed(config.seed)
            generator = checkpoint.new_generator(config, tuple(data.shape))
            discriminator = checkpoint.new_discriminator(config, tuple(data.shape))
    if config.init:
        generator.load_state_dict(checkpoint.load(config.init).state_dict())
        if not regression:
            discriminator.load_state_dict(checkpoint.load_discriminator(config.init).state_dict())
    elif isinstance(data, ImageSet):
        generator.fit(from_uint8(data.images))
    if isinstance(data, ImageSet):
        generator, discriminator = generator.to(device()), discriminator.to(device())
    if config.T is not None:
        pairs = Consecutive(Schedule.vp(config.T), last=config.clean)
    else:  # a regression denoiser also has to serve the long chains that it needs
        pairs = Anywhere(Schedule.vp(MAX_T), first=1 / MAX_T if regression else 0.02, clean=config.clean)
    if regression:
        objective = Regression(generator, pairs, lr=config.lr_g, ema=config.ema)
    else:
        penalty = {"loss": config.loss, "gamma": config.gamma, "every": config.every}
        objective = Adversarial(generator, discriminator, pairs, lr=(config.lr_g, config.lr_d), ema=config.ema, **penalty)
    objective.accumulate, objective.decay = config.accumulate, DECAYS[config.decay]
    if isinstance(data, ImageSet):
        objective.precision = precision(objective.device)
        if objective.device.type == "cuda":
            generator.compile()  # not D, whose penalty is differentiated twice
    return objective


def fit(
    config: Config,
    out: Path,
    *,
    images: str | None = None,
    seconds: float = math.inf,
    resume: bool = False,
    command: str = "",
    save_every: float = 30.0,
) -> Iterator[TrainStep]:
    """Train a config into a directory: one record an update; the state is saved every `save_every` training seconds.

    `images` says where the config's image set is, if it is not to be found by name.
    Closing the iterator saves and stops; with `resume` the run goes on from there, bit for bit. The model stands in
    `out` with its card, which has metrics once the run has ended. ValueError where `out` holds a run and `resume` was
    not asked for, where it holds another run, or where it cannot be written.
    """
    data = _data(config, images)
    objective = new_objective(config, data)
    start = None
    if resume:
        state, step, spent = checkpoint.load_state(out, objective.state_dict(), config)
        objective.load_state_dict(state)
        start = TrainStep(step, spent, 0.0, {})
    elif (out / "state.safetensors").exists():
        raise ValueError(f"{out} already holds a run: continue it with --resume, or choose another directory")
    ranks.agree(0)  # all have looked before one writes
    last = start or TrainStep(0, 0.0, 0.0, {})
    saved = _save(out, objective, config, last)
    if config.data.endswith(".csv") and not (out / "points.csv").exists():
        shutil.copyfile(config.data, out / "points.csv")
    finished = False
    steps = train(objective, _batches(config, data), seed=config.seed, steps=config.steps, seconds=seconds, start=start)
    try:
        for last in steps:
            yield last
            if last.seconds - saved > save_every:
                saved = _save(out, objective, config, last)
                if isinstance(data, ImageSet) and not ranks.rank():
                    _show(out, objective.denoiser, data.shape, last)
        finished = True
    finally:
        _save(out, objective, config, last)
        if not ranks.rank():
            of_images = isinstance(data, ImageSet)
            dtype = torch.bfloat16 if of_images else torch.float32  # images' files are large
            model = copy.deepcopy(objective.denoiser).to(dtype).to(precision(objective.device) if of_images else dtype)
            made = {
                "command": command,
                "steps": last.step,
                "seconds": round(last.seconds, 1),
                "hardware": hardware(),
                "torch": torch.__version__,
            }

            def keep(metrics: dict[str, Any]) -> None:
                whole = {**made, "metrics": metrics}
                checkpoint.save(out, model, config, tuple(data.shape), whole, objective.networks.get("d"), dtype)

            keep({})  # first: judging takes minutes, and a stop must not cost the model
            if finished and images is None:
                keep(score(model, data, config))


def _save(out: Path, objective: Objective, config: Config, last: TrainStep) -> float:
    """Write the run's state, once for all ranks; returns the training seconds that it holds."""
    if not ranks.rank():
        checkpoint.save_state(out, objective.state_dict(), config, last.step, last.seconds)
    return last.seconds


def _data(config: Config, images: str | None) -> Law | ImageSet:
    if config.network in networks.IMAGES:
        return load_images(images or config.data)
    return from_points(read_csv(config.data)) if config.data.endswith(".csv") else law_of(config.data)


def _batches(config: Config, data: Law | ImageSet) -> Callable[[int, torch.Generator], Tensor]:
    if isinstance(data, ImageSet):
        return batches(data, config.batch, seed=config.seed, flip=config.flip)
    return lambda _, noise: data.sample(config.batch, noise)


@torch.no_grad()
def _show(out: Path, denoiser: Denoiser, shape: torch.Size, last: TrainStep) -> None:
    """A line of log.jsonl, and what the model draws by now in four steps from always the same noise."""
    with open(out / "log.jsonl", "a", encoding="utf-8") as log:
        log.write(json.dumps({"step": last.step, "seconds": round(last.seconds, 1), **last.losses}) + "\n")
    T = len(denoiser.levels.values) if not denoiser.levels.between else 4
    (x_0,) = draw(Schedule.vp(T), denoiser, range(SHEET), shape)
    sheet(to_uint8(x_0), columns=8).save(out / "samples.png")


def score(denoiser: Denoiser, law: Law | ImageSet, config: Config, n: int = 10_000) -> dict[str, dict[str, float]]:
    """What a card reports: three samplings of n, from seed 0 on, judged at the T that a model is for; of images one of 2,000."""
    few, many = (1, 2, 4, 8), (4, 16, 64) if isinstance(law, Law) else (4, 16)

    def sampled(T: int, i: int) -> Tensor:
        (x_0,) = draw(Schedule.vp(T), denoiser, range(i * MAX_N, i * MAX_N + n), law.shape, at_once=n)
        return x_0

    def judged(T: int) -> dict[str, float]:
        if isinstance(law, Law):
            return judge(law, n, partial(sampled, T), samplings=3)
        return judge_set(draw(Schedule.vp(T), denoiser, range(JUDGED), law.shape), config.data)

    if isinstance(law, ImageSet) and not (checkpoint.WEIGHTS / f"{config.data}-classifier").is_dir():
        return {}
    scores = {}
    for T in [config.T] if config.T is not None else many if config.objective == "regression" else few:
        numbers = judged(T)
        scores[f"T={T}"] = {name: round(v, 5) if math.isfinite(v) else None for name, v in numbers.items()}
    return scores
