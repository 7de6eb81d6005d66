"""The authors' CIFAR-10 checkpoint becomes our model, on state dicts of its names and shapes that are made here."""

import json
import math
import pickle
from collections import OrderedDict

import pytest
import torch
from torch import Tensor

from ddgan.cli import main
from ddgan.diffusion.schedule import Schedule
from ddgan.errors import Refused
from ddgan.models import checkpoint, official, registry
from ddgan.models.config import Config

SMALL = Config("cifar10", T=4, network="unet-indexed", width=16, depth=1, multipliers=(1, 2), latent_dim=5)
Shapes = dict[str, tuple[int, ...]]
# what the official modules, at this small size and with the weights of `state`, gave for `inputs`: these pixels of
# each item
PIXELS = [0, 41, 100, 191]
GOLDEN = [
    [-0.308201, -0.219212, -0.244726, 0.217702],
    [-0.342906, -0.413169, -0.421252, 0.214747],
    [-0.336805, -0.217915, -0.304226, 0.153108],
    [-0.312471, -0.344053, -0.427128, 0.277485],
]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(official, "CIFAR10", SMALL)
    monkeypatch.setattr(official, "SHAPE", (3, 8, 8))


def table(config: Config) -> Shapes:
    """Name -> shape of every tensor of the official generator:
    an account of the architecture that knows nothing of our code.
    """
    width, style, level = config.width, 2 * config.width, 4 * config.width

    def layer(outputs: int, *inputs: int, name: str = "") -> Shapes:
        return {f"{name}weight": (outputs, *inputs), f"{name}bias": (outputs,)}

    def block(i: int, o: int, resampled: bool = False) -> Shapes:
        return {
            **layer(2 * i, style, name="GroupNorm_0.style."),
            **layer(o, i, 3, 3, name="Conv_0."),
            **layer(o, level, name="Dense_0."),
            **layer(2 * o, style, name="GroupNorm_1.style."),
            **layer(o, o, 3, 3, name="Conv_1."),
            **(layer(o, i, 1, 1, name="Conv_2.") if i != o or resampled else {}),
        }

    def attention(c: int) -> Shapes:
        matrices = {f"NIN_{i}.{kind}": shape for i in range(4) for kind, shape in (("W", (c, c)), ("b", (c,)))}
        return {**layer(c, name="GroupNorm_0."), **matrices}

    stack, skips, now, pyramid = [layer(level, width), layer(level, level), layer(width, 3, 3, 3)], [width], width, 3
    last = len(config.multipliers) - 1
    for i, m in enumerate(config.multipliers):
        for _ in range(config.depth):
            stack += [block(now, m * width), *([attention(m * width)] if i == 1 else [])]
            skips.append(now := m * width)
        if i < last:
            stack += [block(now, now, resampled=True), layer(now, pyramid, 3, 3, name="Conv2d_0.")]
            skips.append(pyramid := now)
    stack += [block(now, now), attention(now), block(now, now)]
    for i, m in reversed(list(enumerate(config.multipliers))):
        for _ in range(config.depth + 1):
            stack.append(block(now + skips.pop(), m * width))
            now = m * width
        stack += [attention(now)] if i == 1 else []
        stack += [block(now, now, resampled=True)] if i else []
    stack += [layer(now), layer(3, now, 3, 3)]
    shapes = {f"all_modules.{n}.{name}": shape for n, names in enumerate(stack) for name, shape in names.items()}
    for n in range(5):
        shapes |= layer(style, config.latent_dim if n == 0 else style, name=f"z_transform.{2 * n + 1}.")
    return shapes


def state(config: Config = SMALL) -> OrderedDict[str, Tensor]:
    """Such tensors, filled by a formula: sines, scaled to keep the size of what passes through."""
    tensors = OrderedDict()
    for n, (name, shape) in enumerate(table(config).items()):
        wave = torch.sin(torch.arange(math.prod(shape), dtype=torch.float64) ** 1.5 + n).reshape(shape)
        fan_in = shape[0] if name.endswith(".W") else math.prod(shape[1:])
        tensors[name] = (1.4 * fan_in**-0.5 * wave if len(shape) > 1 else 0.3 * wave).float()
    return tensors


def inputs(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """x_t, levels of t = 1..4, z."""
    x_t = torch.cos(torch.arange(4 * 3 * 8 * 8, dtype=torch.float64) ** 1.3 + seed).reshape(4, 3, 8, 8).float()
    z = torch.cos(torch.arange(4 * 5, dtype=torch.float64) ** 1.7 + seed).reshape(4, 5).float()
    return x_t, Schedule.vp(4).level(torch.arange(1, 5)).float(), z


@pytest.fixture
def imported(tmp_path):
    torch.save(state(), tmp_path / "netG_1200.pth")
    official.convert(tmp_path / "netG_1200.pth", tmp_path / "out")
    return tmp_path


def test_the_imported_model_gives_what_the_official_network_gives(imported):
    x_0 = checkpoint.load(imported / "out")(*inputs())
    torch.testing.assert_close(x_0.flatten(1)[:, PIXELS], torch.tensor(GOLDEN), rtol=0, atol=1e-4)


def test_every_tensor_of_the_full_size_checkpoint_has_its_place_and_fills_the_paper_s_network(monkeypatch):
    monkeypatch.undo()
    with torch.device("meta"):
        network = registry.new_generator(official.CIFAR10, official.SHAPE)
    places = {name: tuple(place.shape) for name, place in official.slots(network).items()}
    assert places == table(official.CIFAR10)
    assert (
        sum(math.prod(shape) for shape in places.values()) == sum(p.numel() for p in network.parameters()) == 48_432_515
    )


def test_an_imported_model_says_whose_it_is_and_which_steps_it_knows(imported):
    denoiser = checkpoint.load(imported / "out")
    assert "non-commercial" in denoiser.card["license"] and "NVlabs" in denoiser.card["source"]
    denoiser.check(Schedule.vp(4))
    with pytest.raises(Refused, match="T = 1, 2 or 4 alone: choose one of these"):
        denoiser.check(Schedule.vp(8))


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_names_may_have_the_prefix_of_distributed_training_and_the_file_either_format(tmp_path, imported, prefix, old):
    prefixed = {f"{prefix}{name}": value for name, value in state().items()}
    torch.save(prefixed, tmp_path / "other.pth", _use_new_zipfile_serialization=not old)
    assert main(["import-official", str(tmp_path / "other.pth"), "--out", str(tmp_path / "other")]) == 0
    ours, theirs = (checkpoint.load(tmp_path / name).state_dict() for name in ("out", "other"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


class _Code:
    def __reduce__(self):
        return exec, ("raise SystemExit('code in a checkpoint was run')",)


def _padded(what: object) -> bytes:
    """A pickle as large as the checkpoint."""
    return pickle.dumps([what, b"\0" * sum(4 * value.numel() for value in state().values())])


def _saved(path, change) -> None:
    tensors = state()
    change(tensors)
    torch.save(tensors, path)


WRONG = {
    "a missing tensor": (lambda p: _saved(p, lambda s: s.pop("all_modules.2.bias")), "it lacks all_modules.2.bias"),
    "a foreign tensor": (lambda p: _saved(p, lambda s: s.update(extra=torch.zeros(1))), "it has extra"),
    "another shape": (
        lambda p: _saved(p, lambda s: s.update({"all_modules.2.weight": s["all_modules.2.weight"].mT[:, :, :, :2]})),
        r"all_modules.2.weight is torch.float32 \(16, 3, 3, 2\), wanted torch.float32 \(16, 3, 3, 3\)",
    ),
    "whole numbers": (
        lambda p: _saved(p, lambda s: s.update({"z_transform.1.bias": torch.zeros(32).int()})),
        "torch.int32",
    ),
    "another size": (
        lambda p: torch.save({"a": torch.zeros(9)}, p),
        "wanted the CIFAR-10 generator, netG_1200.pth, of about",
    ),
    "code": (lambda p: p.write_bytes(_padded(_Code())), "not a checkpoint of tensors by name"),
    "a pickle": (lambda p: p.write_bytes(_padded({})), "not a checkpoint of tensors by name"),
    "noise": (lambda p: p.write_bytes(_padded({})[::-1]), "not a checkpoint of tensors by name"),
    "nothing": (lambda p: None, "cannot be read"),
    "a folder": (lambda p: p.mkdir(), "wrong.pth"),
}


@pytest.mark.parametrize("what", WRONG)
def test_another_file_is_refused_in_a_sentence_and_nothing_is_written(tmp_path, capsys, what):
    make, words = WRONG[what]
    make(path := tmp_path / "wrong.pth")
    with pytest.raises(Refused, match=words):
        official.convert(path, tmp_path / "out")
    assert main(["import-official", str(path), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_directory_that_holds_a_model_is_left_alone(imported):
    card = (imported / "out" / "card.json").read_text()
    with pytest.raises(Refused, match="already holds a model"):
        official.convert(imported / "netG_1200.pth", imported / "out")
    assert (imported / "out" / "card.json").read_text() == card and json.loads(card)["shape"] == [3, 8, 8]
