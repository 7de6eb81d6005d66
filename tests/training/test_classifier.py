"""The classifier that judges images: it learns, comes back from its file as it was, and is what its card says."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from ddgan.data.images import ImageSet, from_uint8, load_images
from ddgan.diffusion.schedule import alpha_sigma
from ddgan.errors import Refused
from ddgan.metrics.images import observe
from ddgan.models import checkpoint
from ddgan.models.classifier import Classifier
from ddgan.training.classifier import (
    LEVELS,
    augmented,
    finish,
    finish_noisy,
    fit_classifier,
    new_classifier,
    noised,
    train_classifier,
)


def images(n: int, shape: tuple[int, ...] = (1, 12, 12), seed: int = 0) -> ImageSet:
    noise = np.random.default_rng(seed)
    return ImageSet(noise.integers(0, 256, (n, *shape), dtype=np.uint8), np.arange(n) % 3, ("a", "b", "c"))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 8)])
def test_logits_are_the_head_of_the_features(shape):
    data = images(5, shape)
    classifier = new_classifier(data, width=2, seed=0).eval()
    x = from_uint8(data.images)
    assert classifier.features(x).shape == (5, 16) and classifier(x).shape == (5, 3)
    assert torch.equal(classifier(x), classifier.head(classifier.features(x)))


def test_a_classifier_of_noisy_images_is_told_the_level_and_no_other_is():
    data = images(4)
    noisy, other = (new_classifier(data, width=2, seed=0, noisy=told).eval() for told in (True, False))
    torch.nn.init.normal_(noisy.head.weight, generator=torch.Generator().manual_seed(0))
    x, level = from_uint8(data.images), torch.tensor([-3.0])
    assert noisy(x, level).shape == (4, 3) and torch.equal(noisy(x, level), noisy(x, level.expand(4)))
    assert not torch.allclose(noisy(x, level), noisy(x, level + 5))
    for ask in (lambda: noisy(x), lambda: other(x, level), lambda: observe(noisy, data.images)):
        with pytest.raises(Refused, match="log-SNR"):
            ask()


def test_noised_images_are_signal_and_noise_of_their_levels():
    x_0 = torch.full((4000, 1, 8, 8), 0.5)
    x_t, level = noised(x_0, np.random.default_rng(0))
    a, sigma = alpha_sigma(level)
    assert level.min() >= LEVELS[0] and level.max() <= LEVELS[1] and abs(level.mean() + 2) < 0.3
    eps = ((x_t - a.view(-1, 1, 1, 1) * x_0) / sigma.view(-1, 1, 1, 1)).flatten(1)
    assert abs(eps.mean()) < 0.01 and abs(eps.var() - 1) < 0.01


@pytest.mark.slow
def test_under_noise_it_learns_how_sure_it_may_be(tmp_path):
    """Black and white images, as many of each: in much noise one half is right, in little noise one alone."""
    label = np.arange(400) % 2
    pixels = (255 * label[:, None, None, None] * np.ones((1, 1, 8, 8))).astype(np.uint8)
    train = ImageSet(pixels, label, ("black", "white"))
    list(fit_classifier(train, train, tmp_path, width=4, epochs=40, noisy=True, seed=0))
    classifier = checkpoint.load_classifier(tmp_path)
    metrics = classifier.card["metrics"]
    assert classifier.card["noisy"] and metrics == finish_noisy(classifier, train, train)
    at = dict(zip(metrics["log_snr"], metrics["accuracy"], strict=True))
    assert at[6.0] > 0.99 and 0.4 < at[-10.0] < 0.75, "at log-SNR -10 the best guess is right in 66 %"
    x_t = torch.randn(500, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    p = classifier(x_t, torch.tensor([-12.0])).softmax(1)
    assert (p.max(1).values.mean() < 0.75) and classifier(from_uint8(pixels), torch.tensor([8.0])).softmax(
        1
    ).max() > 0.95


@pytest.mark.slow
def test_it_learns_one_batch_by_heart_whatever_the_labels():
    data = images(48)
    classifier = new_classifier(data, width=4, seed=0)
    steps = list(train_classifier(classifier, data, seed=0, epochs=40))
    assert [step.step for step in steps] == list(range(1, 41)) and steps[-1].progress == 1
    assert steps[0].losses["loss"] == pytest.approx(np.log(3), rel=1e-3) and steps[-1].losses["loss"] < 0.1
    assert (observe(classifier, data.images)[1].argmax(1).numpy() == data.labels).all()


def test_a_training_is_a_function_of_its_seed_and_leaves_everyones_generator_alone():
    data, before = images(48, (3, 8, 8)), torch.random.get_rng_state()
    trained = []
    for seed in (0, 0, 1):
        classifier = new_classifier(data, width=2, seed=seed)
        list(train_classifier(classifier, data, seed=seed, epochs=3))
        trained.append(classifier.stem.conv.weight)
    assert torch.equal(trained[0], trained[1]) and not torch.equal(trained[0], trained[2])
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_augmented_image_is_the_image_mirrored_or_not_and_shifted():
    size = 16
    column = np.broadcast_to(np.arange(size, dtype=np.uint8), (400, 3, size, size))
    moved = augmented(column, np.random.default_rng(0))
    assert moved.shape == column.shape and (moved[:, 0] == moved[:, 2]).all() and (moved[:, :, :1] == moved).all()
    middle = moved[:, 0, 0, size // 2 - 1 : size // 2 + 1].astype(int)  # out of the border's reach
    forward = middle[:, 1] > middle[:, 0]
    assert 150 < forward.sum() < 250 and set(middle[forward, 0] - (size // 2 - 1)) == set(range(-4, 5))


@pytest.fixture
def fitted(tmp_path):
    train, test = images(60), images(40, seed=1)
    list(fit_classifier(train, test, tmp_path, width=2, epochs=2, seed=3, command="the command"))
    return tmp_path, train, test


def test_a_classifier_comes_back_with_its_card_as_it_was_judged(fitted):
    directory, train, test = fitted
    classifier = checkpoint.load_classifier(directory)
    card = json.loads((directory / "card.json").read_text())
    assert classifier.card == card and (card["command"], card["seed"], card["classes"]) == (
        "the command",
        3,
        ["a", "b", "c"],
    )
    assert {"hardware", "seconds", "torch", "sha256", "parameters"} <= set(card)
    stored = classifier.covariance.clone()
    assert finish(classifier, train, test) == card["metrics"]
    torch.testing.assert_close(classifier.covariance, stored)
    assert float(classifier.share.sum()) == pytest.approx(1) and float(stored.trace()) > 0


def test_a_file_of_a_classifier_keeps_parameters_in_two_bytes(fitted):
    card = json.loads((fitted[0] / "card.json").read_text())
    assert (fitted[0] / "classifier.safetensors").stat().st_size < 2 * card["parameters"] + 12_000


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("card.json", b"{}", "card.json is not the card of a classifier"),
        ("card.json", b"[", "card.json is not the card of a classifier"),
        ("card.json", {"shape": [1, 4, 4]}, "card.json is not the card of a classifier"),
        ("card.json", {"width": 10**9}, "card.json is not the card of a classifier"),
        ("card.json", {"width": 0}, "card.json is not the card of a classifier"),
        ("card.json", {"shape": [1, 12]}, "card.json is not the card of a classifier"),
        ("card.json", {"classes": []}, "card.json is not the card of a classifier"),
        ("card.json", {"classes": ["a"] * 10_001}, "card.json is not the card of a classifier"),
        ("card.json", {"width": 4}, "does not hold the weights that its card describes"),
        ("classifier.safetensors", b"", "is damaged"),
    ],
)
def test_a_damaged_classifier_is_refused_in_a_sentence(fitted, name, content, words):
    path = fitted[0] / name
    path.write_bytes(
        content if isinstance(content, bytes) else json.dumps(json.loads(path.read_text()) | content).encode()
    )
    with pytest.raises(Refused, match=words) as error:
        checkpoint.load_classifier(fitted[0])
    assert "\n" not in str(error.value)


def test_a_classifier_is_no_model_and_a_model_no_classifier(fitted):
    with pytest.raises(Refused, match="card.json is not a card of this project"):
        checkpoint.load(fitted[0])
    with pytest.raises(Refused, match="25-gaussians/card.json is not the card of a classifier"):
        checkpoint.load_classifier("25-gaussians")
    with pytest.raises(Refused, match="already holds a model"):
        next(fit_classifier(*fitted[1:], fitted[0], width=2, epochs=1))


def test_images_without_classes_or_of_two_kinds_are_refused(tmp_path):
    data = images(4)
    for train, test, words in [
        (ImageSet(data.images), data, "needs images with classes"),
        (data, images(4, (1, 8, 8)), r"must be as the training images, \(1, 12, 12\), got \(1, 8, 8\)"),
        (data, replace(data, images=data.images[:0], labels=data.labels[:0]), "none can be held out"),
        (
            data,
            replace(data, images=data.images[:1], labels=data.labels[:1]),
            "two images or more to learn and to be",
        ),
        (replace(data, images=data.images[:1], labels=data.labels[:1]), data, "got 1 and "),
        (images(4, (1, 4, 9)), images(4, (1, 4, 9)), r"at least 8 x 8, got \(1, 4, 9\)"),
    ]:
        with pytest.raises(Refused, match=words):
            next(fit_classifier(train, test, tmp_path, width=2, epochs=1))


def of_classes(count: int) -> ImageSet:
    return replace(images(4, (1, 8, 8)), classes=tuple(map(str, range(count))))


def test_what_is_trained_can_be_loaded_up_to_the_most_classes_and_more_are_refused_before(tmp_path):
    most = Classifier.MOST_CLASSES
    list(fit_classifier(of_classes(most), of_classes(most), tmp_path / "most", width=1, epochs=1))
    assert len(checkpoint.load_classifier(tmp_path / "most").share) == most
    more = of_classes(most + 1)
    with pytest.raises(Refused, match="knows 1 to 10,000 classes, got 10,001"):
        next(fit_classifier(more, more, tmp_path / "more", width=1, epochs=1))
    wide = images(2, (1, 8, 1025))
    with pytest.raises(Refused, match=r"in 1..1024, got images \(1, 8, 1025\)"):
        next(fit_classifier(wide, wide, tmp_path / "more", width=1, epochs=1))
    assert not (tmp_path / "more").exists()


@pytest.mark.parametrize("noisy", [False, True])
def test_test_images_are_judged_by_the_names_of_their_classes_in_whatever_order(tmp_path, noisy):
    label, order = np.arange(60) % 3, np.array([1, 2, 0])  # the numbers of "b", "c" and "a"
    grey = (120 * label[:, None, None, None] * np.ones((1, 1, 8, 8))).astype(np.uint8)
    data, other = ImageSet(grey, label, ("a", "b", "c")), ImageSet(grey, np.argsort(order)[label], ("b", "c", "a"))
    assert [other.classes[k] for k in other.labels] == [data.classes[k] for k in data.labels]
    for name, test in (("same", data), ("other", other)):
        list(fit_classifier(data, test, tmp_path / name, width=4, epochs=20, noisy=noisy))
    same, moved = (checkpoint.load_classifier(tmp_path / name).card for name in ("same", "other"))
    assert moved["metrics"] == same["metrics"] and moved["classes"] == same["classes"] == ["a", "b", "c"]
    assert np.max(same["metrics"]["accuracy"]) > 0.6, "more than one class is told from others"


@pytest.mark.slow
@pytest.mark.skipif("DDGAN_DATA" not in os.environ, reason="needs the data sets")
@pytest.mark.parametrize(("data", "wanted"), [("mnist", 0.99), ("cifar10", 0.9)])
def test_a_shipped_classifier_is_as_accurate_as_its_card_says(data, wanted):
    """Five images of 10,000 may fall on the other side of a decision on another processor."""
    classifier, test = checkpoint.load_classifier(f"{data}-classifier"), load_images(data, split="test")
    accuracy = (observe(classifier, test.images)[1].argmax(1).numpy() == test.labels).mean()
    assert accuracy > wanted and accuracy == pytest.approx(classifier.card["metrics"]["accuracy"], abs=5e-4)


@pytest.mark.slow
@pytest.mark.skipif("DDGAN_DATA" not in os.environ, reason="needs the data sets")
def test_the_shipped_classifier_of_noisy_digits_is_as_sure_as_it_is_right():
    classifier, test = checkpoint.load_classifier("mnist-noisy-classifier"), load_images("mnist", split="test")
    few = ImageSet(test.images[:2000], test.labels[:2000], test.classes)
    found, card = finish_noisy(classifier, few, few), classifier.card["metrics"]
    assert found["accuracy"] == pytest.approx(card["accuracy"], abs=0.04)
    right = found["accuracy"]
    assert right[0] < 0.2 and right[-1] > 0.98 and right == pytest.approx(sorted(right), abs=0.01)
    assert all(abs(v) < 0.05 for v in card["too_sure"])
