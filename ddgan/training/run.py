"""From a config to a trained model in a directory.

    DIR/model.safetensors, card.json, ...   the model: see checkpoint.py
    DIR/state.safetensors                   the run: stopped or killed anywhere, it goes on bit for bit
    DIR/log.jsonl, samples.png              images only: losses at every save, and what the model draws by then
    DIR/crash.log                           where native code died, if it did: see crashes.py

A run whose losses or weights are no longer finite goes back to the state last saved, and on from there with fresh
noise: after k times back, an update's noise is a function of (seed, step, k), so such a run resumes bit for bit too.
"""

from __future__ import annotations

import copy
import json
import math
import shlex
import threading
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import files
from ..data.images import SETS, ImageSet, batches, from_uint8, load_images, stacked_mnist
from ..data.points import fingerprint, of_columns
from ..data.tables import Table, file_of, is_table, read_table
from ..data.toys import TOYS, law_of
from ..diffusion.denoiser import Denoiser
from ..diffusion.mixture import Law
from ..diffusion.schedule import MAX_T, Schedule
from ..errors import Refused, wanted
from ..machine import device, give_user_a_name, hardware, precision
from ..metrics.images import denoising_errors
from ..models import checkpoint, registry
from ..models.config import Config
from . import crashes, distributed, state
from .finish import evaluate_model, history_of, is_judged, show
from .pairs import Anywhere, Consecutive, Pairs
from .rivals import Consistency, Likelihood
from .trainer import Adversarial, Descent, Objective, Regression, TrainStep, train

__all__ = ["fit", "new_objective", "refuse_misfits", "table_of"]

_INITIALISING = threading.Lock()  # networks draw their first weights from the one global generator
# what of a config shapes the weights
NETWORK = ("network", "width", "depth", "multipliers", "patch", "d_width", "latent_dim", "classes")
FITTED = 4096  # images enough for mean and covariance, where an image has more numbers than that
# the first of MAX_T levels that is trained, as a share, where it is not .02: these serve chains of any length
FIRST = {"regression": 1 / MAX_T, "mixture": 1 / MAX_T}
CLASS_WEIGHTS = ("label.weight", "projection.weight")  # of both players: what they have for classes alone
ROLLBACKS = 3  # times that a run goes back from what is not finite, before it stops


def new_objective(config: Config, data: Law | ImageSet, on: torch.device | None = None) -> Objective:
    """The objective of a config, its networks initialised from the config's seed, or with the weights of its `init`.

    They are `on` a device, unless it is given: images' on a GPU where there is one, points' on the CPU. What a network
    has to know of its images beforehand (`Denoiser.fit`) is of these `data`, whatever `init` has learned.
    """
    refuse_misfits(config)
    known = data.known if isinstance(data, ImageSet) else 0
    if config.classes and config.classes != known:
        raise Refused(f"labels of {config.classes} classes were asked for, these data have {known}")
    adversarial, images = config.objective == "ddgan", isinstance(data, ImageSet)
    with _INITIALISING:
        with torch.random.fork_rng(devices=[]):
            torch.random.manual_seed(config.seed)
            generator = registry.new_generator(config, tuple(data.shape))
            discriminator = registry.new_discriminator(config, tuple(data.shape)) if adversarial else None
    if config.init:
        _begin_with(config, generator, discriminator)
    if isinstance(data, ImageSet):  # after `init`: that may have learned other images
        some = 1 if data.shape.numel() <= FITTED else -(-len(data) // FITTED)
        generator.fit(from_uint8(data.images[::some]))
    on = on or (device() if images else torch.device("cpu"))
    generator = generator.to(on)
    if config.T is not None:
        pairs: Pairs = Consecutive(Schedule.vp(config.T), clean=config.clean)
    else:
        pairs = Anywhere(Schedule.vp(MAX_T), first=FIRST.get(config.objective, 0.02), clean=config.clean)
    descent = Descent(
        ema=config.ema,
        ema_long=config.ema_long,
        accumulate=config.accumulate,
        decay=config.decay,
        precision=precision(on) if images else torch.float32,
        unlabelled=config.unlabelled,
    )
    compiled = images and on.type == "cuda"
    if compiled:
        give_user_a_name()
        generator.compile()
    if discriminator is None:
        objective = _alone(config, generator, pairs, data, descent)
    else:
        objective = Adversarial(
            generator,
            discriminator := discriminator.to(on),
            pairs,
            loss=config.loss,
            gamma=config.gamma,
            anneal=config.anneal,
            every=config.every,
            lr=(config.lr_g, config.lr_d),
            descent=descent,
            critic=torch.compile(discriminator) if compiled else None,
        )
    objective.parts(torch.empty(config.batch))  # refuses what cannot be shared or cut
    return objective


def _alone(config: Config, generator: Denoiser, pairs: Pairs, data: Law | ImageSet, descent: Descent) -> Objective:
    """An objective of one network."""
    if config.objective == "mixture":
        return Likelihood(generator, pairs, lr=config.lr_g, descent=descent)
    if config.objective == "consistency":
        assert isinstance(data, Law)  # images were refused
        return Consistency(generator, pairs, data, lr=config.lr_g, descent=descent)
    return Regression(generator, pairs, lr=config.lr_g, descent=descent)


def refuse_misfits(config: Config) -> None:
    """Refused where data, an objective, a network and a loss do not go together."""
    images = config.network in registry.IMAGE_NETWORKS
    if config.data in SETS and not images or images and (config.data in TOYS or is_table(config.data)):
        kinds = registry.POINT_NETWORKS if images else registry.IMAGE_NETWORKS
        raise Refused(
            f"the network of {Path(config.data).name} must be one of {', '.join(kinds)}, got {config.network}"
        )
    if images and config.objective in ("mixture", "consistency"):
        raise Refused(f"the {config.objective} objective is for points, whose law is known: {config.data} is of images")
    if config.objective in ("regression", "consistency") and config.latent_dim:
        raise Refused(f"the {config.objective} objective has no latent: latent_dim must be 0, got {config.latent_dim}")
    if (config.objective == "mixture") != (config.network == "mixture"):
        raise Refused(
            "the mixture objective and the network mixture need each other, "
            f"got {config.objective} and {config.network}"
        )
    if images and config.objective == "ddgan" and config.loss in ("r1r2", "rpgan"):
        raise Refused(
            f"loss {config.loss} takes D's slope from a finite difference, too rough for images: "
            "choose rpgan-exact or paper"
        )


def _begin_with(config: Config, generator: Denoiser, discriminator: torch.nn.Module | None) -> None:
    """Take the weights of the model that a config names; Refused, in one sentence, where they do not fit."""
    begun = checkpoint.load(config.init)
    there = Config.from_dict(checkpoint.card_of(begun)["config"])
    try:
        if there.network != config.network:  # some have the same shapes
            raise RuntimeError
        _take(generator, begun)
        if discriminator:
            _take(discriminator, checkpoint.load_discriminator(config.init))
    except RuntimeError as error:
        others = there.difference(config).items()
        sizes = ", ".join(f"{name} {a} there and {b} now" for name, (a, b) in others if name in NETWORK)
        raise Refused(
            f"the weights of {config.init} are of another network: {sizes or 'data of another shape'}"
        ) from error


def _take(network: torch.nn.Module, begun: torch.nn.Module) -> None:
    """Take the weights of `begun`; where that knew no classes, those of `network` begin at zero: as if any class."""
    classes = {k: torch.zeros_like(v) for k, v in network.state_dict().items() if k in CLASS_WEIGHTS}
    network.load_state_dict(classes | begun.state_dict())


def fit(
    config: Config,
    out: Path | str,
    *,
    images: str | ImageSet | None = None,
    size: int | None = None,
    seconds: float = math.inf,
    resume: bool = False,
    command: str = "",
    save_every: float = 30.0,
    say: Callable[[str], None] = warnings.warn,
    reading: Callable[[int, int], None] = lambda done, of: None,
) -> Generator[TrainStep, None, None]:
    """Train a config into a directory: one record an update.

    The state is saved every `save_every` training seconds. Closing the iterator saves it too, unless weights are no
    longer finite, and stops. With `resume` the run goes on from the state last saved, bit for bit. Half an update,
    broken off by KeyboardInterrupt or a kill, is never saved. The model stands in `out` with its card, which has
    metrics once the run has ended.

    `images` is the config's image set, or says where it is if it cannot be found by name, and `size` what to resize
    files to. `say` is told what went wrong and was mended (a damaged state, updates that are not finite), and which
    images were left out. `reading(done, of)` is told of each image of a folder or zip that is read.

    Refused where `out` holds a run and `resume` was not asked for, where it holds another run, where another process
    trains there, or where it cannot be written; FloatingPointError where going back does not help.
    """
    wanted(Config, 'preset("25-gaussians")', config)
    if (images or size) and config.network not in registry.IMAGE_NETWORKS:
        raise Refused(f"--data and --size are for images, a network of {config.network!r} is for points")
    out = Path(out)
    _check(out, seconds, resume)
    refuse_misfits(config)
    data = _points(config, out, resume) if is_table(config.data) else _data(config, images, size, reading)
    if config.network == "unet-draw" and config.latent_dim and isinstance(data, ImageSet):
        config = replace(config, latent_dim=_latent_dim(config, data))
    for note in getattr(data, "notes", ()) if not distributed.rank() else ():
        say(note)
    if config.classes is None:
        config = replace(config, classes=data.known if isinstance(data, ImageSet) else 0)
        if not config.classes:
            say("these images have no classes: the networks learn without labels")
    run = _Run(config, out, data, say, resume, command)
    with nullcontext() if distributed.rank() else files.claimed(out), run.begun():
        try:
            yield from run.updates(seconds, save_every)
        except (GeneratorExit, FloatingPointError):
            run.stop()
            run.keep({})
            raise
        run.keep({})  # first: judging takes minutes, and a stop must not cost the model
        if not distributed.rank() and is_judged(data, config, images):
            run.judge()


def _check(out: Path, seconds: float, resume: bool) -> None:
    if not seconds > 0:
        raise Refused(f"seconds must be above 0, got {seconds}")
    if resume:
        state.check_there(out)


class _Run:
    """A run in its directory: where it stands, and how it is saved, goes on and goes back."""

    def __init__(
        self, config: Config, out: Path, data: Law | ImageSet, say: Callable[[str], None], resume: bool, command: str
    ) -> None:
        self.command, self.commands = command, [command]  # and all that were not the one before
        self.config, self.out, self.data, self.resume = config, out, data, resume
        self.say = (lambda words: None) if distributed.rank() else say
        begun = replace(config, init="") if resume else config  # a resumed run has its own weights
        self.objective = new_objective(begun, data)
        self.fingerprint = _fingerprint(config, data)
        self.history = history_of(checkpoint.read_card(begun.init)) if begun.init else ()
        self.last, self.rollbacks = TrainStep(0, 0.0, 0.0, {}), 0
        self.saved: TrainStep | None = None

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Within, the run stands where the one in the directory stood, or at its beginning, and crashes are logged.

        Either is saved first, to see that it can be.
        """
        if self.resume:
            self.restore()
        elif state.holds_state(self.out):
            raise Refused(
                f"{self.out} already holds a run: continue it with --resume (fit: resume=True), "
                "or choose another directory"
            )
        else:
            checkpoint.check_free(self.out)
        distributed.agree(0)  # all have looked before one writes
        if not distributed.rank() and (crash := crashes.last(self.out)):
            self.say(f"{crash}; going on after update {self.last.step:,}")
        self.save()
        if is_table(self.config.data) and not distributed.rank() and not (self.out / "points.csv").exists():
            files.write(self.out / "points.csv", file_of(self.config.data).read_bytes())
        with crashes.logged(self.out):
            yield

    def save(self) -> None:
        """Write the state, once for all ranks, unless it is saved already; FloatingPointError if it is not finite."""
        if self.last is self.saved:
            return
        failure = None
        if not distributed.rank():
            overflows = self.objective.overflows
            saved = state.Saved(
                self.objective.state_dict(), self.last.step, self.last.seconds, self.rollbacks, self.fingerprint,
                self.history, overflows.known, overflows.in_a_row, self.commands,
            )  # fmt: skip
            try:
                state.save_state(self.out, saved, self.config)
            except FloatingPointError as error:
                failure = error
        if distributed.agree(failure is not None):  # all go back, or none
            raise failure or FloatingPointError(f"the state is not finite after update {self.last.step}")
        self.saved = self.last

    def stop(self) -> None:
        """Save the state, or go back to the one last saved where it is no longer finite."""
        try:
            self.save()
        except FloatingPointError as error:
            self.restore()
            self.say(f"{error}: what is kept is the run after update {self.last.step:,}")

    def restore(self) -> None:
        """Go back to the state last saved."""
        expected = {key: value for key, value in self.objective.state_dict().items() if not key.startswith("adam_")}
        saved = state.load_state(self.out, expected, self.config, self.fingerprint, self.say)
        self.objective.load_state_dict(saved.state)
        self.objective.overflows.restore(saved.skipped, saved.in_a_row)
        self.last, self.rollbacks = TrainStep(saved.step, saved.seconds, 0.0, {}), saved.rollbacks
        self.history = saved.history
        self.commands = [*saved.commands, *([self.command] if [*saved.commands[-1:]] != [self.command] else [])]

    def updates(self, seconds: float, save_every: float) -> Generator[TrainStep, None, None]:
        """Train to the end, which is saved; over again from the state last saved where that is not finite."""
        while True:
            seed, steps = self.seed(), self.config.steps
            updates = train(
                self.objective, self.batches(seed), seed=seed, steps=steps, seconds=seconds, start=self.last
            )
            try:
                for step in updates:
                    self.last = step
                    assert self.saved is not None  # since `begun`
                    if step.progress == 1 or step.seconds - self.saved.seconds > save_every:
                        self.save()
                        self.show()
                    yield step
                return
            except FloatingPointError as error:
                self.roll_back(error)

    def seed(self) -> int:
        """The config's; a fresh one after each time that the run went back."""
        if not self.rollbacks:
            return self.config.seed
        return int(np.random.SeedSequence((self.config.seed, self.rollbacks)).generate_state(1)[0])

    def batches(self, seed: int) -> Callable[[int, torch.Generator], tuple[Tensor, Tensor | None]]:
        """(step, noise) -> x_0 and its classes."""
        data, batch = self.data, self.config.batch
        if isinstance(data, ImageSet):
            return batches(data, batch, seed=seed, flip=self.config.flip)
        return lambda _, noise: (data.sample(batch, noise), None)

    def roll_back(self, error: FloatingPointError) -> None:
        """Go back to the state last saved; FloatingPointError, the report, where that was done often enough."""
        self.restore()
        distributed.agree(0)  # all have read before one writes
        if self.rollbacks == ROLLBACKS:
            self.saved = self.last
            raise FloatingPointError(
                f"{error}, after going back {ROLLBACKS} times: stopped. {self.out} holds the run after update "
                f"{self.last.step:,}, which is finite; lower learning rates or a larger gamma may hold it"
            ) from error
        self.rollbacks += 1
        self.objective.overflows.in_a_row = 0
        self.say(
            f"{error}: back to update {self.last.step:,}, on with fresh noise ({self.rollbacks} of {ROLLBACKS} times)"
        )
        self.save()

    def show(self) -> None:
        """Of images: a line of log.jsonl, and what the model draws by now in four steps from always the same noise."""
        if not isinstance(self.data, ImageSet) or distributed.rank():
            return
        with open(self.out / "log.jsonl", "a", encoding="utf-8") as log:
            log.write(
                json.dumps({"step": self.last.step, "seconds": round(self.last.seconds, 1), **self.last.losses}) + "\n"
            )
        if show(self.objective.denoiser, self.data, self.out) and self.last.progress == 1:
            self.say(
                "all samples are the same image, saturated: if the training diverged, lower learning rates may hold it"
            )

    def model(self, *, longer: bool = False) -> Denoiser:
        """A moving average as it is kept: images' files are large, and hold bfloat16."""
        average = copy.deepcopy(self.objective.longer if longer else self.objective.denoiser)
        assert average is not None  # there is a longer one where it is asked for
        return average.bfloat16().to(precision(self.objective.device)) if isinstance(self.data, ImageSet) else average

    def judge(self) -> None:
        """Keep the better one of two moving averages, judged once where they are still one and the same."""
        average, other = self.objective.denoiser, self.objective.longer
        two = other and not all(map(torch.equal, average.parameters(), other.parameters()))
        both = {
            longer: evaluate_model(self.model(longer=longer), self.data, self.config)
            for longer in ((False, True) if two else (False,))
        }
        better = min(both, key=lambda longer: _distance(both[longer]))
        self.keep(both[better], longer=better)

    def keep(self, metrics: dict[str, Any], *, longer: bool = False) -> None:
        """Write the model and its card, once for all ranks."""
        if distributed.rank():
            return
        made: dict[str, Any] = {
            "command": self.command,
            **({"commands": self.commands} if len(self.commands) > 1 else {}),
            "steps": self.last.step,
            "seconds": round(self.last.seconds, 1),
            "rollbacks": self.rollbacks,
            "skipped": self.objective.overflows.known,
            "hardware": hardware(),
            "torch": torch.__version__,
            "seen": self.last.step * self.config.batch,
            "data": self.fingerprint,
            "history": self.history,
            **({"ema_kept": self.config.ema_long if longer else self.config.ema} if self.config.ema_long else {}),
            **_classes(self.config, self.data),
            "go_on": f"the same command with --init {shlex.quote(str(self.out))}, another --out and another --seed "
            "begins with these weights",
            "metrics": metrics,
        }
        if metrics and self.config.objective == "regression" and isinstance(self.data, ImageSet):
            with suppress(Refused):  # a model of a few steps has none
                made["errors"] = denoising_errors(self.model(longer=longer), self.data)
        dtype = torch.bfloat16 if isinstance(self.data, ImageSet) else torch.float32
        opponent = self.objective.networks.get("d")
        model, shape = self.model(longer=longer), tuple(self.data.shape)
        checkpoint.save(self.out, model, self.config, shape=shape, made=made, discriminator=opponent, dtype=dtype)


def _classes(config: Config, data: Law | ImageSet) -> dict[str, Any]:
    """What a card says about classes: their names, and how many images each has."""
    if not config.classes or not isinstance(data, ImageSet):
        return {}
    return {"classes": [*data.names], "class_counts": data.counts}


def _distance(metrics: dict[str, dict[str, float | None]]) -> float:
    """The mean over T of a card's distances, infinite where one is None: the better of two averages has less."""
    of = [numbers.get("cfd", numbers.get("kl", 0.0)) for numbers in metrics.values()]
    return sum(math.inf if distance is None else distance for distance in of) / max(len(of), 1)


def _data(
    config: Config, images: str | ImageSet | None, size: int | None, reading: Callable[[int, int], None]
) -> Law | ImageSet:
    if config.network in registry.IMAGE_NETWORKS:
        if isinstance(images, ImageSet) and size:
            raise Refused(
                f"size is for images that are read from files, these are {images.shape[1]} x {images.shape[2]}"
            )
        data = images if isinstance(images, ImageSet) else load_images(images or config.data, size=size, watch=reading)
        return stacked_mnist(data, len(data), seed=0) if images and config.data == "stackedmnist" else data
    return law_of(config.data)


def table_of(data: str, out: Path, resume: bool) -> Table:
    """The table that a run learns: its file's, or the run's own copy where it is resumed and the file has moved."""
    kept = out / "points.csv"
    return read_table(data, kept if resume and not file_of(data).exists() and kept.exists() else None)


def _points(config: Config, out: Path, resume: bool) -> Law:
    """The law of a table's points, which a run of an earlier version goes on to see in one scale."""
    table = table_of(config.data, out, resume)
    law, _ = of_columns(table.points, table.names)
    if resume and (known := state.trained_on(out)) != fingerprint(law):
        with suppress(Refused):  # what other points are refused for is said where the state is read
            law, _ = of_columns(table.points, table.names, known)
    return law


def _latent_dim(config: Config, images: ImageSet) -> int:
    """As many numbers as an image has; Refused says what fits where that is too many."""
    (C, H, W), most = images.shape, Config.BOUNDS["latent_dim"][1]
    if C * H * W > most:
        multiple = config.patch * 2 ** (len(config.multipliers) - 1)
        side = math.isqrt(most // C) // multiple * multiple
        raise Refused(
            f"images of {H} x {W} are too large for this network, whose z is as large as they are: "
            f"at most {side} x {side} fit (--size {side}), or take --network unet --latent-dim 100"
        )
    return C * H * W


def _fingerprint(config: Config, data: Law | ImageSet) -> str:
    """What a run must find again to go on: images, or a file's points; a toy's name says it all."""
    if isinstance(data, ImageSet):
        return data.fingerprint()
    return fingerprint(data) if is_table(config.data) else ""
