"""Training the classifier that judges images: its weights, what it sees in the training images, and its card.

Image metrics compare samples with data in the features of a classifier of that very data, small enough to ship: no
download is needed, and the numbers are not to be confused with those in the features of an ImageNet network.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from .. import files
from ..data.images import ImageSet, from_uint8
from ..diffusion.gaussian import like
from ..diffusion.schedule import alpha_sigma
from ..errors import Refused
from ..machine import hardware, precision
from ..metrics.images import cfd, moments, observe, too_sure
from ..models import checkpoint
from ..models.classifier import Classifier
from ..models.layers import channels_last
from .trainer import TrainStep

__all__ = [
    "BATCH", "augmented", "finish", "finish_noisy", "fit_classifier", "new_classifier", "noised", "train_classifier",
]  # fmt: skip

BATCH = 128
RATE = 0.1  # the highest, reached after a fifth of the run
LEVELS = (-12.0, 8.0)  # log-SNRs that one of noisy images sees, evenly spread
SHIFT = 4  # pixels, the furthest that a colour image is moved


def fit_classifier(
    train: ImageSet,
    test: ImageSet,
    out: Path,
    *,
    width: int,
    epochs: int,
    seconds: float = math.inf,
    seed: int = 0,
    noisy: bool = False,
    command: str = "",
    measured_on: str = "the test split",
) -> Generator[TrainStep, None, None]:
    """Train a classifier and write it, with its card, into a directory: one record an update.

    A `noisy` one sees x_t instead of x_0, at log-SNRs in LEVELS, and learns p(class | x_t) so.
    `measured_on` says on the card what the test images are.
    Refused where the images have no labels, the two sets differ, one has fewer than two images, or `out` holds a model
    or cannot be written.
    """
    if train.labels is None or test.labels is None or not train.classes:
        raise Refused("a classifier needs images with classes, these have none")
    if len(test) < 2 or len(train) < 2:
        raise Refused(
            f"a classifier needs two images or more to learn and to be measured on, got {len(train)} and {len(test)}: "
            "none can be held out of classes of one image each"
        )
    if train.shape != test.shape:
        raise Refused(f"test images must be as the training images, {tuple(train.shape)}, got {tuple(test.shape)}")
    test = _as_named(test, train.classes)
    classifier = new_classifier(train, width=width, seed=seed, noisy=noisy)
    with files.claimed(out):
        checkpoint.check_free(out)
        for step in train_classifier(classifier, train, seed=seed, epochs=epochs, seconds=seconds):
            yield step
        made = {
            "classes": list(train.classes),
            "command": command,
            "seed": seed,
            "steps": step.step,
            "seconds": round(step.seconds, 1),
            "hardware": hardware(),
            "torch": torch.__version__,
            "measured_on": measured_on,
            "metrics": (finish_noisy if noisy else finish)(classifier, train, test),
        }
        checkpoint.save_classifier(out, classifier, made)


def _as_named(data: ImageSet, classes: tuple[str, ...]) -> ImageSet:
    """The same images with their labels counted in the order of `classes`; Refused where it has others."""
    if other := sorted(set(classes) ^ set(data.classes)):
        raise Refused(f"test images must be of the classes of the training images: only one of both has {other[0]!r}")
    if data.classes == classes:
        return data
    place = np.array([classes.index(name) for name in data.classes])
    return replace(data, labels=place[data.labels], classes=classes)


def new_classifier(data: ImageSet, *, width: int, seed: int, noisy: bool = False) -> Classifier:
    """A freshly initialised classifier of the data's classes."""
    with torch.device("meta"):  # the layers' own initialisation would draw from everyone's generator
        classifier = Classifier(data.shape, len(data.classes), width, noisy)
    classifier.to_empty(device="cpu").initialise(torch.Generator().manual_seed(seed))
    return channels_last(classifier)


def train_classifier(
    classifier: Classifier, data: ImageSet, *, seed: int, epochs: int, seconds: float = math.inf
) -> Generator[TrainStep, None, None]:
    """Updates for so many epochs or seconds, whichever is less: one record after each.

    SGD with Nesterov momentum; the rate rises and falls once (Smith, Topin 2018). Images of three channels are
    mirrored and shifted at random. FloatingPointError on a loss that is not finite.
    """
    assert data.labels is not None  # who has images without classes is refused before
    classifier.train()
    optimiser = torch.optim.SGD(classifier.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4, nesterov=True)
    noise, dtype = np.random.default_rng(seed), precision(torch.device("cpu"))
    batch = min(BATCH, len(data))
    epoch, step, spent, progress = len(data) // batch, 0, 0.0, 0.0
    while progress < 1:
        clock = time.perf_counter()
        if step % epoch == 0:
            order = noise.permutation(len(data))
        chosen = order[step % epoch * batch :][:batch]
        images = augmented(data.images[chosen], noise) if data.shape[0] == 3 else data.images[chosen]
        x, label = from_uint8(images).to(memory_format=torch.channels_last), torch.from_numpy(data.labels[chosen])
        middle = max(progress, 0.5 / (epochs * epoch))  # of the first update: at its start the rate would be zero
        optimiser.param_groups[0]["lr"] = RATE * min(middle / 0.2, (1 - middle) / 0.8)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = classifier(*noised(x, noise)) if classifier.noisy else classifier(x)
            loss = cross_entropy(logits.float(), label)
        if not math.isfinite(value := float(loss.detach())):
            raise FloatingPointError(f"the loss is {value} at update {step + 1}")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        step, spent = step + 1, spent + time.perf_counter() - clock
        progress = min(1.0, max(step / (epochs * epoch), spent / seconds))
        yield TrainStep(step, spent, progress, {"loss": value})
    classifier.eval()


def _round(classifier: Classifier) -> None:
    for parameter in classifier.parameters():
        parameter.data = parameter.data.bfloat16().float()


def finish(classifier: Classifier, train: ImageSet, test: ImageSet) -> dict[str, float]:
    """Round the weights to what a file keeps, take down what is seen in the training images, and measure on the test's.

    Returns accuracy, and the Frechet distance of the test images, which is the floor for as many samples.
    """
    _round(classifier)
    features, logits = observe(classifier, train.images)
    mean, covariance = moments(features)
    classifier.mean.copy_(mean)
    classifier.covariance.copy_(covariance)
    classifier.share.copy_(torch.bincount(logits.argmax(1), minlength=len(train.classes)) / len(train))
    features, logits = observe(classifier, test.images)
    correct = logits.argmax(1) == torch.from_numpy(test.labels)
    return {"accuracy": float(correct.double().mean()), "floor_cfd": cfd(classifier, features), "n": len(test)}


def noised(x_0: Tensor, noise: np.random.Generator) -> tuple[Tensor, Tensor]:
    """(x_t, its log-SNRs (B,)) of images (B, C, H, W), at levels drawn evenly from LEVELS."""
    level = torch.from_numpy(noise.uniform(*LEVELS, len(x_0)))
    a, sigma = (like(v, x_0) for v in alpha_sigma(level))
    eps = torch.from_numpy(noise.standard_normal(x_0.shape, np.float32))
    return a * x_0 + sigma * eps, level


def finish_noisy(classifier: Classifier, train: ImageSet, test: ImageSet) -> dict[str, Any]:
    """Round the weights to what a file keeps and measure on the test images, noised, at log-SNRs from -10 to 6.

    Returns lists, one number a level: the log-SNRs, accuracy, and by how much it is too sure (metrics.images).
    """
    _round(classifier)
    label, levels = torch.from_numpy(test.labels), torch.arange(-10.0, 7.0, 2.0)
    noise = torch.Generator().manual_seed(0)
    found: dict[str, Any] = {"log_snr": levels.tolist(), "accuracy": [], "too_sure": [], "n": len(test)}
    for level in levels.split(1):
        a, sigma = (like(v, torch.zeros(1, 1, 1, 1)) for v in alpha_sigma(level))
        x_0 = (from_uint8(part) for part in np.array_split(test.images, -(-len(test) // BATCH)))
        x_t = (a * x + sigma * torch.randn(x.shape, generator=noise) for x in x_0)
        with torch.no_grad():
            p = torch.cat([classifier(x, level).softmax(1) for x in x_t])
        found["accuracy"].append(round(float((p.argmax(1) == label).double().mean()), 4))
        found["too_sure"].append(round(too_sure(p, label), 4))
    return found


def augmented(images: np.ndarray, noise: np.random.Generator) -> np.ndarray:
    """Images (B, C, H, W), each mirrored or not, and shifted by up to SHIFT pixels each way, its border reflected."""
    B, _, H, W = images.shape
    down, right = noise.integers(0, 2 * SHIFT + 1, (2, B, 1))
    rows, columns = down + np.arange(H), right + np.arange(W)  # (B, H), (B, W)
    columns = np.where(noise.random((B, 1)) < 0.5, columns, columns[:, ::-1])
    wide = np.pad(images, ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)), "reflect").transpose(0, 2, 3, 1)
    return wide[np.arange(B)[:, None, None], rows[:, :, None], columns[:, None, :]].transpose(0, 3, 1, 2)
