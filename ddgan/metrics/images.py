"""How close image samples are to a data set, in the features of a classifier of that data set.

    CFD          classifier Frechet distance: between Gaussians fitted to the features of samples and of training images
    precision    the share of samples that lie where real images do
    recall       the share of real images that lie where samples do
    class KL     whether every class gets its share
    clear        the share of samples that the classifier is sure of: its likeliest class has more than CLEAR
    right        of samples asked for by class: the share whose likeliest class is the one that was asked for

A distance means something beside its floor, what as many unseen real images score. None of these numbers compares with
one in the features of an ImageNet network, or of another classifier.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..data.images import SETS, ImageSet, find_images, from_uint8, load_images, to_uint8
from ..diffusion.denoiser import Denoiser
from ..diffusion.gaussian import like
from ..diffusion.schedule import alpha_sigma
from ..errors import Refused
from ..models.checkpoint import load_classifier
from ..models.classifier import Classifier

__all__ = [
    "NEIGHBOUR",
    "Moments",
    "cfd",
    "classifier_of",
    "clear",
    "class_kl",
    "denoising_errors",
    "fid",
    "frechet",
    "moments",
    "nearest",
    "observe",
    "precision_recall",
    "score_images",
    "score_set",
    "stacked_modes",
    "too_sure",
]

CHUNK = 256  # images or rows at a time
MEASURED = 1000  # images that denoising errors are of
NEIGHBOUR = 3  # of an image, whose distance says what is near it
CLEAR = 0.95  # the probability of its likeliest class above which an image is clear


class Moments(NamedTuple):
    """The Gaussian fitted to features: mean (F,) and covariance (F, F), in float64."""

    mean: Tensor
    covariance: Tensor


def moments(features: Tensor) -> Moments:
    """Mean and unbiased covariance of features (N, F); Refused for fewer than two."""
    if len(features) < 2:
        raise Refused(f"a covariance needs at least 2 samples, got {len(features)}")
    mean = features.double().mean(0)
    centred = features.double() - mean
    return Moments(mean, centred.T @ centred / (len(features) - 1))


def frechet(a: Moments, b: Moments) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2): the squared W2 distance of two Gaussians.

    Two symmetric eigenvalue problems, so that singular covariances, from fewer samples than features, do no harm
    (Dowson, Landau 1982).
    """
    root = _root(a.covariance)
    cross = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp(min=0).sqrt().sum()
    distance = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * cross
    return float(distance.clamp(min=0))  # nan stays nan


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def precision_recall(real: Tensor, fake: Tensor, k: int = NEIGHBOUR) -> tuple[float, float]:
    """Shares of the fake (N, F) within the real manifold, and of the real (M, F) within the fake one.

    A set's manifold is the union of balls around its points, each as wide as the way to the point's k-th nearest
    neighbour (Kynkaanniemi et al. 2019). Refused where a set has no k-th neighbour.
    """
    if min(len(real), len(fake)) <= k:
        raise Refused(f"neighbour {k} needs more than {k} samples, got {len(real)} and {len(fake)}")
    real, fake = real - real.mean(0), fake - real.mean(0)  # cdist takes differences of squares: the smaller, the finer
    return _within(fake, real, k), _within(real, fake, k)


def _within(x: Tensor, centres: Tensor, k: int) -> float:
    """The share of x (N, F) in any of the balls around centres (M, F)."""
    radius = torch.cat([torch.cdist(c, centres).kthvalue(k + 1).values for c in centres.split(CHUNK)])  # first: itself
    return float(torch.cat([(torch.cdist(part, centres) <= radius).any(1) for part in x.split(CHUNK)]).double().mean())


def class_kl(logits: Tensor, share: Tensor) -> float:
    """KL(histogram of the likeliest class of logits (N, K) || share (K,)), in nats."""
    own = torch.bincount(logits.argmax(1), minlength=len(share)).double() / len(logits)
    return float((torch.xlogy(own, own) - torch.xlogy(own, share.double())).sum())


def clear(logits: Tensor) -> float:
    """The share of logits (N, K) whose likeliest class has a probability above CLEAR."""
    return float((logits.softmax(1).amax(1) > CLEAR).double().mean())


def _obeyed(logits: Tensor, known: Sequence[str], asked: Sequence[str]) -> dict[str, Any]:
    """How many samples are of the class that each was asked for, by name; nothing where one is not known."""
    if not asked or not set(asked) <= set(known):
        return {}
    right: dict[str, list[bool]] = {name: [] for name in known if name in set(asked)}
    for name, found in zip(asked, logits.argmax(1).tolist(), strict=True):
        right[name].append(known[found] == name)
    shares = {name: sum(of) / len(of) for name, of in right.items()}
    return {"right": sum(map(sum, right.values())) / len(asked), "right_by_class": shares}


def stacked_modes(samples: np.ndarray, classifier: Classifier) -> tuple[int, float]:
    """How many of StackedMNIST's 1000 classes samples (N, 3, 28, 28) hit, and KL(histogram || equal shares) in nats.

    The class is 100 a + 10 b + c of the digits that a classifier of MNIST sees in the channels; N = 25,600 is usual.
    """
    digits = observe(classifier, samples.reshape(-1, 1, *samples.shape[2:]))[1].argmax(1).view(-1, 3)
    counts = torch.bincount(digits @ torch.tensor([100, 10, 1]), minlength=1000)
    share = counts.double() / len(samples)
    return int((counts > 0).sum()), float(torch.xlogy(share, 1000 * share).sum())


def nearest(x: Tensor | np.ndarray, data: ImageSet, k: int) -> tuple[Tensor, Tensor]:
    """The k images of the data nearest to each of x (B, C, H, W): their places (B, k), and how far they are.

    The distance is the root mean square over pixels and channels, in grey levels, 0..255. x is uint8 or in [-1, 1].
    """
    x = torch.from_numpy(_as_uint8(x, data.shape)).flatten(1).double()
    if not 1 <= k <= len(data):
        raise Refused(f"k must be in 1..{len(data)}, the number of images, got {k}")
    parts = torch.from_numpy(data.images).flatten(1).split(CHUNK)
    distance, place = torch.cat([torch.cdist(x, part.double()) for part in parts], 1).topk(k, largest=False)
    return place, distance / x.shape[1] ** 0.5


@torch.no_grad()
def observe(classifier: Classifier, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """(features (N, F), logits (N, K)) of uint8 images (N, C, H, W), in float32 whatever the processor."""
    parts = [classifier.features(from_uint8(images[i : i + CHUNK])) for i in range(0, len(images), CHUNK)]
    features = torch.cat(parts)
    return features, classifier.head(features)


def too_sure(p: Tensor, label: Tensor) -> float:
    """The mean probability of the likeliest class minus the share of items of that class: 0 is as sure as right."""
    sure, likeliest = p.max(1)
    return float(sure.double().mean() - (likeliest == label).double().mean())


@torch.no_grad()
def denoising_errors(denoiser: Denoiser, data: ImageSet) -> dict[str, Any]:
    """E|x_0 - x̂(x_t)|^2 over MEASURED images, the first, summed over pixels, at log-SNRs from -10 to 8 that it knows.

    {"levels": rising, "squared": one each, "n"}: what gaussianity.optimal_for_means finds a schedule from. Refused
    for a model that knows fewer than two of them, or only those of its own steps.
    """
    if denoiser.levels and not denoiser.levels.continuous:
        raise Refused(
            "errors are measured at log-SNRs from -10 to 8, and this model knows those of its own steps alone"
        )
    known = denoiser.levels.values if denoiser.levels else (-math.inf, math.inf)
    levels = [v for v in np.linspace(-10.0, 8.0, 37).tolist() if min(known) <= v <= max(known)]
    if len(levels) < 2:
        raise Refused("errors are measured at log-SNRs from -10 to 8, and this model knows fewer than two of them")
    noise, squared = torch.Generator().manual_seed(0), torch.zeros(len(levels))
    n = min(MEASURED, len(data))
    for images in np.array_split(data.images[:n], -(-n // 100)):
        x_0 = from_uint8(images)
        eps = torch.randn(x_0.shape, generator=noise)
        for i, value in enumerate(levels):
            level = torch.full((len(x_0),), value)
            a, sigma = (like(v, x_0) for v in alpha_sigma(level))
            asked = (v.to(denoiser.device) for v in (a * x_0 + sigma * eps, level, x_0.new_zeros(len(x_0), 0)))
            squared[i] += (x_0 - denoiser(*asked).cpu()).square().sum()
    found = (squared / n).tolist()
    return {"levels": levels, "squared": [float(f"{v:.5g}") for v in found], "n": n}


def score_images(
    samples: Tensor | np.ndarray,
    classifier: Classifier,
    *,
    train: ImageSet | None = None,
    test: ImageSet | None = None,
    asked: Sequence[str] = (),
) -> dict[str, Any]:
    """The metrics of samples (N, C, H, W), uint8 or in [-1, 1], by a classifier that knows its training images.

    With `train` it has precision and recall against the first N training images, with `test` the floor: what the first
    N test images score, or floor_n if there are fewer. With `asked`, the class of each sample by name, it has the share
    that is `right`, over all and `right_by_class`. Refused for samples of another shape, or not finite.
    """
    images = _as_uint8(samples, classifier.shape)
    n, (features, logits) = len(images), observe(classifier, images)
    numbers: dict[str, Any] = {"n": n, "cfd": cfd(classifier, features), "class_kl": class_kl(logits, classifier.share)}
    numbers |= {"clear": clear(logits), **_obeyed(logits, classifier.card.get("classes", ()), asked)}
    if train is not None:
        numbers["precision"], numbers["recall"] = precision_recall(_features(classifier, train, n), features)
    return numbers | (_floor(classifier, train, test, n) if test is not None else {})


@lru_cache(maxsize=4)
def _floor(classifier: Classifier, train: ImageSet | None, test: ImageSet, n: int) -> dict[str, float]:
    """The metrics of the first n test images: what a perfect sampler would score."""
    features = _features(classifier, test, n)
    floor: dict[str, float] = {"floor_n": len(test)} if len(test) < n else {}
    floor["floor_cfd"] = cfd(classifier, features)
    with torch.no_grad():
        floor["floor_clear"] = clear(classifier.head(features))
    if train is not None:
        floor["floor_precision"], floor["floor_recall"] = precision_recall(_features(classifier, train, n), features)
    return floor


def score_set(
    batches: Iterable[Tensor], name: str, asked: Sequence[str] = (), judge: Classifier | None = None
) -> dict[str, Any]:
    """score_images of samples in [-1, 1], (B, C, H, W) at a time, by the shipped classifier of the image set `name`.

    A `judge` stands for that. The samples are compared with the set if it is on this machine. For stackedmnist their
    modes are counted, by the classifier of mnist. Refused where there is no such classifier.
    """
    classifier = judge or classifier_of("mnist" if name == "stackedmnist" else name)
    samples = np.concatenate([_as_uint8(x, x.shape[1:]) for x in batches])
    if name == "stackedmnist" and not judge:
        modes, kl = stacked_modes(samples, classifier)
        return {"n": len(samples), "modes": modes, "kl": kl}
    return score_images(samples, classifier, train=_known(name, "train"), test=_known(name, "test"), asked=asked)


@lru_cache(maxsize=4)
def classifier_of(name: str) -> Classifier:
    """The shipped classifier of an image set, one object for all who ask; Refused where there is none.

    The features that `_features` keeps are those of one object.
    """
    if not name:
        raise Refused(
            "this model was trained on images of its own, which no classifier here can judge: "
            "train-classifier makes one for evaluate --classifier"
        )
    return load_classifier(f"{name}-classifier")


@lru_cache(maxsize=4)
def _known(name: str, split: str) -> ImageSet | None:
    """A set by name, None where it is not here; its first images are of all classes, whatever their order on disk."""
    if name not in SETS or not find_images(name, split):
        return None
    data = load_images(name, split=split)
    if data.labels is None or (np.diff(data.labels) < 0).any():
        return data
    return data.part(np.random.default_rng(0).permutation(len(data)))


def cfd(classifier: Classifier, features: Tensor) -> float:
    """The Frechet distance of features (N, F) to the training images', as a share of the latter's total variance."""
    real = Moments(classifier.mean.double(), classifier.covariance.double())
    return frechet(moments(features), real) / float(real.covariance.trace())


def fid(batches: Iterable[Tensor | np.ndarray], n: int, data: ImageSet) -> float:
    """FID as published, of n samples, 50,000 or more, in the features of Inception, which torch-fidelity fetches.

    The batches are drawn only where torch-fidelity is there. Refused for fewer samples, images without colour, or
    where torch-fidelity is missing or cannot fetch its network.
    """
    if n < 50_000:
        raise Refused(f"FID needs 50,000 samples, got {n:,}")
    if data.shape[0] != 3:
        raise Refused(f"FID needs images in colour, got {tuple(data.shape)}")
    try:
        from torch_fidelity import calculate_metrics

        samples = np.concatenate([_as_uint8(x, data.shape) for x in batches])
        sets = [_Images(images) for images in (samples, data.images)]
        numbers = calculate_metrics(
            input1=sets[0], input2=sets[1], fid=True, cuda=torch.cuda.is_available(), save_cpu_ram=True, verbose=False
        )
    except ImportError as error:
        raise Refused("FID needs torch-fidelity: pip install torch-fidelity") from error
    except OSError as error:
        raise Refused(f"torch-fidelity cannot fetch its network ({error})") from error
    return float(numbers["frechet_inception_distance"])


class _Images(Dataset[Tensor]):
    """uint8 images, one by one, as torch-fidelity reads them."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = torch.from_numpy(images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


@lru_cache(maxsize=4)
def _features(classifier: Classifier, data: ImageSet, n: int) -> Tensor:
    """The features of the first n images, computed once."""
    return observe(classifier, data.images[:n])[0]


def _as_uint8(x: Tensor | np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Images (N, *shape), uint8 or in [-1, 1], as uint8; Refused for others."""
    if tuple(x.shape[1:]) != tuple(shape) or not len(x):
        raise Refused(f"images must have shape (N, {', '.join(map(str, shape))}), got {tuple(x.shape)}")
    x = torch.as_tensor(x)
    if x.dtype == torch.uint8:
        return x.numpy(force=True)
    if not (x.is_floating_point() and x.isfinite().all()):
        raise Refused("images must be uint8, or finite numbers in [-1, 1]")
    return to_uint8(x)
