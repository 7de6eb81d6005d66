"""What becomes of a model when its training has ended: it is judged and shown, and how it draws may be adjusted."""

from __future__ import annotations

import math
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import files
from ..data.images import OFFICIAL, SETS, ImageSet, load_images, sheet, stacked_mnist, to_uint8
from ..diffusion.denoiser import Denoiser
from ..diffusion.mixture import Law
from ..diffusion.sampler import Labels, draw, own_classes, seeds
from ..diffusion.schedule import Schedule
from ..diffusion.solver import ANCESTRAL, Renoise, Solver
from ..errors import Refused
from ..machine import device, hardware, precision
from ..metrics.images import score_set
from ..metrics.points import evaluate
from ..models import checkpoint
from ..models.config import Config
from ..models.unet import DrawUNet, UNet

__all__ = ["adjust", "evaluate_model", "history_of", "is_judged", "show"]

SHEET = 64  # images that samples.png shows
JUDGED, STACKED = 2000, 25_600  # images that a card's metrics are of; of StackedMNIST


def evaluate_model(
    denoiser: Denoiser, data: Law | ImageSet, config: Config, n: int = 10_000
) -> dict[str, dict[str, float | None]]:
    """The metrics on a card, at the T that a model is for: three samplings of n from seed 0 on, or one of images."""
    if isinstance(data, ImageSet) and config.data not in SETS:  # no classifier judges a stranger's images
        return {}
    solver: Solver = Renoise() if config.objective == "consistency" else ANCESTRAL
    stacked = config.data == "stackedmnist"
    few = (4,) if stacked else (1, 2, 4, 8)
    many = (4, 16, 64) if isinstance(data, Law) else (4, 16)

    def sampled(T: int, i: int) -> Tensor:
        (x_0,) = draw(Schedule.vp(T), denoiser, seeds(i, n), data.shape, n, solver)
        return x_0

    scores = {}
    for T in [config.T] if config.T is not None else many if config.objective == "regression" else few:
        if isinstance(data, Law):
            numbers = evaluate(data, n, partial(sampled, T), samplings=3)
        else:
            given, labels = range(STACKED if stacked else JUDGED), _labels(denoiser, data.counts)
            asked = [data.names[k] for k in labels(given).tolist()] if labels else []
            numbers = score_set(draw(Schedule.vp(T), denoiser, given, data.shape, labels=labels), config.data, asked)
            numbers.pop("right_by_class", None)
        scores[f"T={T}"] = {name: round(v, 6) if math.isfinite(v) else None for name, v in numbers.items()}
    return scores


def _labels(denoiser: Denoiser, counts: list[int]) -> Labels | None:
    """A class of its own for each sample, by the shares of the data; None where the denoiser knows no classes."""
    return partial(own_classes, weights=counts) if denoiser.classes else None


def is_judged(data: Law | ImageSet, config: Config, images: str | ImageSet | None) -> bool:
    """Whether a run is judged: on points, and on images of a known set, in their size alone."""
    if not isinstance(data, ImageSet):
        return True
    named = images is None and tuple(data.shape) == tuple(SETS.get(config.data, data.shape))
    return named or data.fingerprint() == OFFICIAL.get(config.data)


def show(denoiser: Denoiser, data: ImageSet, out: Path) -> bool:
    """Write samples.png: what a model draws, in its own steps or in four, always from the same noise.

    Returns whether that is one image again and again, nearly all of it at -1 or 1: as where a training diverged.
    """
    levels = denoiser.levels
    T = len(levels.values) if levels and not levels.continuous else 4
    with torch.no_grad():
        (x_0,) = draw(Schedule.vp(T), denoiser, range(SHEET), data.shape, labels=_labels(denoiser, data.counts))
    sheet(to_uint8(x_0), columns=8).save(out / "samples.png")
    return bool(x_0.std(0).mean() < 0.01 and (x_0.abs() > 0.99).float().mean() > 0.9)


def history_of(card: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """How a model's weights were made, by its card, the first run first."""
    made = {key: card[key] for key in ("command", "commands", "steps", "seconds", "seen", "hardware") if key in card}
    return (*card.get("history", ()), made)


def adjust(
    model: str | Path,
    out: Path,
    *,
    spread: float | None = None,
    guidance: float | None = None,
    images: str | None = None,
    command: str = "",
) -> dict[str, dict[str, float | None]]:
    """Write a model of images with another `spread` (see DrawUNet) or `guidance` (UNet); returns its metrics.

    Its weights stay. `images` says where the images are that it was trained on, if they cannot be found by name.
    Refused for networks without what is asked for and for other images, and where `out` holds a model or a run, or
    cannot be written.
    """
    checkpoint.check_free(out)
    denoiser = _adjusted(model, spread, guidance)
    card = checkpoint.card_of(denoiser)
    config, shape = Config.from_dict(card["config"]), tuple(card["shape"])
    data = load_images(images or config.data, size=shape[-1] if images and shape[-1] == shape[-2] else None)
    if images and config.data == "stackedmnist":
        data = stacked_mnist(data, len(data), seed=0)
    if card.get("data") not in (None, data.fingerprint()):
        raise Refused(f"{model} was trained on other images than {images or config.data}: give its own as --data")
    kept = ("data", "classes", "class_counts", "ema_kept")
    made = {
        **{name: card[name] for name in kept if name in card},
        "command": command,
        "steps": 0,
        "seconds": 0.0,
        "seen": 0,
        "hardware": hardware(),
        "torch": torch.__version__,
        "history": history_of(card),
        "go_on": f"the last training of the history with --init {shlex.quote(str(out))}, another --out and another "
        "--seed trains on from these weights, neither spread nor guided then",
    }
    opponent = checkpoint.load_discriminator(model) if checkpoint.has_discriminator(model) else None
    judged = denoiser.bfloat16().to(device(), precision(device()))
    with files.claimed(out):
        made["metrics"] = evaluate_model(judged, data, config) if is_judged(data, config, images) else {}
        checkpoint.save(out, judged, config, shape=shape, made=made, discriminator=opponent, dtype=torch.bfloat16)
        show(judged, data, out)
    return made["metrics"]


def _adjusted(model: str | Path, spread: float | None, guidance: float | None) -> Denoiser:
    """The model with this spread and guidance, None as it has them; Refused where it has none."""
    denoiser = checkpoint.load(model)
    asked = {name: v for name, v in (("spread", spread), ("guidance", guidance)) if v is not None}
    if not asked:
        raise Refused("nothing to adjust: give a spread, a guidance or both")
    if spread is not None and not (isinstance(denoiser, DrawUNet) and denoiser.latent_dim):
        raise Refused(f"only a DDGAN of images whose network is unet-draw has a spread, {model} is none")
    if guidance is not None and not (isinstance(denoiser, UNet) and denoiser.classes):
        raise Refused(f"only a model of images that knows classes has a guidance, {model} is none")
    for name, value in asked.items():
        if not 0 < value <= checkpoint.MAX_ADJUSTED:
            raise Refused(f"a {name} must be above 0 and at most {checkpoint.MAX_ADJUSTED:g}, got {value:g}")
        setattr(denoiser, name, value)
    return denoiser
