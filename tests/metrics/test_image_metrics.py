"""Metrics of images: closed forms, and what they promise of equal, disjoint and reordered sets."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from ddgan.data.images import ImageSet, from_uint8
from ddgan.data.toys import toy
from ddgan.diffusion.denoiser import GaussianDenoiser
from ddgan.diffusion.sampler import draw
from ddgan.diffusion.schedule import Schedule
from ddgan.errors import Refused
from ddgan.metrics.images import (
    Moments,
    _known,
    class_kl,
    clear,
    denoising_errors,
    fid,
    frechet,
    moments,
    nearest,
    observe,
    precision_recall,
    score_images,
    score_set,
    stacked_modes,
)
from ddgan.models.checkpoint import load
from ddgan.training.classifier import finish, new_classifier
from ddgan.training.pairs import Consecutive


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(n: int, seed: int) -> Moments:
    """A random mean and a random positive definite covariance."""
    factor = randn(n, n, seed=seed)
    return Moments(randn(n, seed=seed + 1), factor @ factor.T)


def images(n: int, shape: tuple[int, ...] = (3, 8, 8), seed: int = 0) -> ImageSet:
    noise = np.random.default_rng(seed)
    return ImageSet(noise.integers(0, 256, (n, *shape), dtype=np.uint8), np.arange(n) % 2, ("even", "odd"))


def test_frechet_of_diagonal_gaussians_is_the_distance_of_means_and_of_standard_deviations():
    a, b = (
        Moments(randn(5), torch.diag(randn(5, seed=1) ** 2)),
        Moments(randn(5, seed=2), torch.diag(randn(5, seed=3) ** 2)),
    )
    expected = (a.mean - b.mean).square().sum() + (randn(5, seed=1).abs() - randn(5, seed=3).abs()).square().sum()
    assert frechet(a, b) == pytest.approx(float(expected), rel=1e-9)


def test_frechet_is_the_trace_formula_with_the_root_of_the_product():
    """sqrt(C_a C_b) has the square roots of the product's eigenvalues, from a solver for matrices of any kind."""
    a, b = gaussian(20, 0), gaussian(20, 10)
    root = torch.linalg.eigvals(a.covariance @ b.covariance).real.sqrt().sum()
    expected = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * root
    assert frechet(a, b) == pytest.approx(float(expected), rel=1e-9) and frechet(a, b) == pytest.approx(frechet(b, a))


@pytest.mark.parametrize("n", [5, 400], ids=["singular", "regular"])
def test_frechet_is_zero_for_equal_samples_and_a_shift_adds_its_square(n):
    x = randn(n, 20)
    assert frechet(moments(x), moments(x.flip(0))) == pytest.approx(0, abs=1e-6)
    assert frechet(moments(x), moments(x + 0.5)) == pytest.approx(20 * 0.25, rel=1e-6)


def test_moments_are_those_of_numpy():
    x = randn(50, 4)
    assert np.allclose(moments(x).covariance, np.cov(x.T.numpy())) and np.allclose(moments(x).mean, x.numpy().mean(0))
    with pytest.raises(Refused, match="at least 2 samples, got 1"):
        moments(x[:1])


def test_precision_and_recall_are_one_for_equal_sets_and_zero_for_disjoint_ones():
    x = randn(300, 8).float()
    assert precision_recall(x, x.flip(0)) == (1, 1) and precision_recall(x, x + 1000) == (0, 0)


def test_samples_of_one_of_two_clusters_are_precise_and_recall_half():
    x, y = randn(200, 4), randn(200, 4, seed=1)
    precision, recall = precision_recall(torch.cat([x, x + 100]), y)
    backwards = precision_recall(y, torch.cat([x, x + 100]))
    assert precision > 0.8 and 0.4 < recall <= 0.5 and backwards == (recall, precision)


def test_precision_and_recall_do_not_depend_on_order_chunks_or_a_common_shift():
    x, y = randn(300, 6), randn(280, 6, seed=1) * 1.5
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    assert precision_recall(x, y) == precision_recall(x[order], y.flip(0)) == precision_recall(x + 1e4, y + 1e4)


def test_a_ball_reaches_to_the_kth_neighbour():
    """On a line, real 0, 1, 3, 6: the ball around 0 has radius 1 with k = 1, and 3 with k = 2."""
    real, fake = torch.tensor([[0.0], [1], [3], [6]]), torch.tensor([[-0.9], [-2.9], [-9], [6]])
    assert precision_recall(real, fake, k=1)[0] == 0.5 and precision_recall(real, fake, k=2)[0] == 0.75
    with pytest.raises(Refused, match="more than 4 samples, got 4 and 4"):
        precision_recall(real, fake, k=4)


@pytest.mark.parametrize(("classes", "kl"), [([0, 1, 0, 1], 0), ([0, 0, 0, 0], np.log(2)), ([2, 2, 2, 2], np.inf)])
def test_class_kl_is_that_of_the_histogram(classes, kl):
    logits = torch.nn.functional.one_hot(torch.tensor(classes), 3).float()
    assert class_kl(logits, torch.tensor([0.5, 0.5, 0])) == pytest.approx(kl)


def test_the_nearest_images_are_exact_and_in_grey_levels():
    data = images(600)
    place, distance = nearest(data.images[[3, 590]], data, 2)
    others = np.sqrt(((data.images.astype(float) - data.images[3]) ** 2).mean((1, 2, 3)))
    assert place[:, 0].tolist() == [3, 590] and distance[:, 0].tolist() == [0, 0]
    assert place[0, 1] == np.argsort(others)[1] and float(distance[0, 1]) == pytest.approx(np.sort(others)[1])
    assert torch.equal(nearest(from_uint8(data.images[[3, 590]]), data, 2)[0], place)
    with pytest.raises(Refused, match=r"k must be in 1\.\.600"):
        nearest(data.images[:1], data, 601)


@pytest.fixture(scope="module")
def judge():
    """An untrained classifier that has seen 200 images."""
    data = images(200)
    classifier = new_classifier(data, width=2, seed=0).eval()
    numbers = finish(classifier, data, images(100, seed=1))
    return classifier, data, numbers


def test_the_training_images_themselves_are_at_distance_zero_and_unseen_ones_at_the_floor(judge):
    classifier, data, numbers = judge
    seen = score_images(data.images, classifier, train=data, test=images(100, seed=1))
    assert seen["cfd"] == pytest.approx(0, abs=1e-5) and seen["class_kl"] == pytest.approx(0, abs=1e-6)
    assert seen["precision"] == seen["recall"] == 1 and seen["n"] == 200
    assert seen["floor_cfd"] == numbers["floor_cfd"] > seen["cfd"]


def test_images_are_judged_as_the_uint8_that_they_become(judge):
    classifier, data, _ = judge
    as_uint8 = score_images(data.images, classifier)
    assert as_uint8 == score_images(from_uint8(data.images) * 1.001, classifier)
    assert as_uint8 == score_images(torch.from_numpy(data.images), classifier)


def test_darker_images_are_further_than_the_floor(judge):
    classifier, data, _ = judge
    dark = score_images(data.images // 4, classifier, test=images(100, seed=1))
    assert dark["cfd"] > 5 * dark["floor_cfd"]


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (torch.zeros(4, 1, 8, 8), r"shape \(N, 3, 8, 8\), got \(4, 1, 8, 8\)"),
        (torch.zeros(0, 3, 8, 8), r"got \(0, 3, 8, 8\)"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.int64), "must be uint8"),
        (torch.full((4, 3, 8, 8), torch.nan), "finite numbers in"),
        (torch.zeros(1, 3, 8, 8), "at least 2 samples"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_a_sentence(judge, samples, words):
    with pytest.raises(Refused, match=words):
        score_images(samples, judge[0])


def test_fid_is_torch_fidelitys_and_says_what_it_needs(monkeypatch):
    data, samples = images(9), np.zeros((50_000, 3, 8, 8), np.uint8)
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(Refused, match="pip install torch-fidelity"):
        fid(iter(lambda: pytest.fail("drawn in vain"), None), 50_000, data)

    def calculate_metrics(input1, input2, fid, **_):
        assert fid and len(input1) == 50_000 and torch.equal(input2[3], torch.from_numpy(data.images[3]))
        return {"frechet_inception_distance": 3.75}

    monkeypatch.setitem(sys.modules, "torch_fidelity", SimpleNamespace(calculate_metrics=calculate_metrics))
    assert fid([samples[:20_000], samples[20_000:]], 50_000, data) == 3.75
    with pytest.raises(Refused, match="50,000 samples, got 9"):
        fid(iter(lambda: pytest.fail("drawn in vain"), None), 9, data)


@pytest.mark.parametrize("labels, moved", [([0, 0, 0, 1, 1, 1, 2, 2, 2], True), ([2, 0, 1, 2, 0, 1, 2, 0, 1], False)])
def test_the_images_that_are_compared_are_of_all_classes(monkeypatch, labels, moved):
    data = replace(images(9), labels=np.array(labels), classes=("a", "b", "c"))
    monkeypatch.setattr("ddgan.metrics.images.find_images", lambda name, split: Path("here"))
    monkeypatch.setattr("ddgan.metrics.images.load_images", lambda name, split: data)
    _known.cache_clear()
    known = _known("mnist", "test")
    _known.cache_clear()
    assert (known is not data) == moved and len(set(known.labels[:4].tolist())) > 1
    place = {image.tobytes(): label for image, label in zip(data.images, labels, strict=True)}
    assert [place[image.tobytes()] for image in known.images] == known.labels.tolist()


def test_stacked_modes_counts_classes_of_three_digits():
    """A classifier that reads a digit off the brightness: every class once is KL 0, one class alone log 1000."""
    reader = SimpleNamespace(
        features=lambda x: (x.flatten(1).mean(1, keepdim=True) + 1) * 127.5 / 20,
        head=lambda f: -(f - torch.arange(10.0)).abs(),
    )
    digits = np.stack(np.meshgrid(*[np.arange(10)] * 3, indexing="ij"), -1).reshape(-1, 3)
    samples = np.broadcast_to(20 * digits[..., None, None], (1000, 3, 28, 28)).astype(np.uint8)
    assert stacked_modes(samples, reader) == (1000, pytest.approx(0, abs=1e-9))
    assert stacked_modes(samples[:1], reader) == (1, pytest.approx(np.log(1000)))
    assert stacked_modes(samples[:500], reader)[0] == 500


def test_copies_of_few_training_images_are_precise_and_recall_little_as_samples_and_as_floor(judge):
    classifier, data, _ = judge
    few = ImageSet(np.repeat(data.images[:4], 20, 0))
    for numbers, name in [
        (score_images(few.images, classifier, train=data), ""),
        (score_images(data.images[:80], classifier, train=data, test=few), "floor_"),
    ]:
        assert numbers[f"{name}precision"] == 1 and numbers[f"{name}recall"] < 0.1


def test_the_cfd_is_the_frechet_distance_as_a_share_of_the_variance_and_the_floor_that_of_as_many_images(judge):
    classifier, data, _ = judge
    dark, test = data.images[:90] // 4, images(100, seed=1)
    real = Moments(classifier.mean.double(), classifier.covariance.double())
    due = frechet(moments(observe(classifier, dark)[0]), real) / float(real.covariance.trace())
    numbers = score_images(dark, classifier, test=test)
    assert numbers["cfd"] == pytest.approx(due) and "floor_n" not in numbers
    assert numbers["floor_cfd"] == score_images(test.images[:90], classifier)["cfd"]
    assert score_images(data.images, classifier, test=test)["floor_n"] == 100


def test_a_set_is_judged_against_its_training_images_with_the_floor_of_its_test_images(judge, monkeypatch):
    classifier, data, _ = judge
    sets = {"train": data, "test": images(100, seed=1)}
    monkeypatch.setattr("ddgan.metrics.images.classifier_of", lambda name: classifier)
    monkeypatch.setattr("ddgan.metrics.images._known", lambda name, split: sets[split])
    parts = map(from_uint8, np.split(data.images // 4, 4))
    assert score_set(parts, "mnist") == score_images(data.images // 4, classifier, **sets)


def test_precision_and_recall_are_against_as_many_training_images(judge):
    classifier, data, _ = judge
    numbers = score_images(data.images[:50], classifier, train=data)
    assert numbers["recall"] == numbers["precision"] == 1, "the first 50, of which these are all"


@pytest.mark.slow
def test_a_model_of_one_step_has_no_errors_to_find_a_schedule_from():
    model = GaussianDenoiser(toy("25-gaussians"))
    model.levels = Consecutive(Schedule.vp(1)).levels()
    with pytest.raises(Refused, match="errors are measured at log-SNRs from -10 to 8, and this model knows"):
        denoising_errors(model, ImageSet(np.zeros((2, 1, 4, 4), np.uint8)))


def test_a_set_that_is_not_finite_is_refused_and_not_taken_for_black():
    with pytest.raises(Refused, match="^images must be uint8, or finite numbers"):
        score_set([torch.zeros(8, 1, 28, 28), torch.full((8, 1, 28, 28), torch.nan)], "mnist")


@pytest.mark.slow
def test_shipped_digits_are_digits():
    """64 of them: .14 where all is well, .34 with the halves of a pixel block exchanged."""
    x = torch.cat(list(draw(Schedule.vp(4), load("mnist"), range(64), (1, 28, 28))))
    assert score_set([x], "mnist")["cfd"] < 0.2


def test_an_image_is_clear_where_its_likeliest_class_has_more_than_95_hundredths():
    p = torch.tensor([[0.96, 0.04], [0.94, 0.06], [0.5, 0.5], [0.01, 0.99]])
    assert clear(p.log()) == 0.5


def test_samples_asked_for_by_class_are_right_where_the_classifier_sees_that_class(judge):
    classifier, data, _ = judge
    classifier.card = {"classes": ["even", "odd"]}
    seen = [("even", "odd")[k] for k in observe(classifier, data.images)[1].argmax(1).tolist()]
    asked = ["even", *seen[1:]]
    numbers = score_images(data.images, classifier, test=images(100, seed=1), asked=asked)
    wrong = int(seen[0] == "odd")
    assert numbers["right"] == 1 - wrong / 200 and 0 <= numbers["floor_clear"] <= 1
    assert numbers["right_by_class"]["even"] == 1 - wrong / asked.count("even")
    assert "right" not in score_images(data.images, classifier, asked=["cat"] * 200), "it knows no cats"
    assert "right" not in score_images(data.images, classifier)
