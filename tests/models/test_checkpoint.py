import json
import struct
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_model, save_model

from ddgan import files
from ddgan.diffusion.levels import Levels
from ddgan.errors import Refused
from ddgan.explorer.catalogue import source_of
from ddgan.models import checkpoint, registry
from ddgan.models.config import Config
from ddgan.training.run import fit

CONFIG = Config("8-gaussians", width=8, depth=1)


@pytest.fixture
def model(tmp_path):
    denoiser = registry.new_generator(CONFIG, (2,))
    denoiser.levels = Levels((-10.0, 1.0), continuous=True)
    checkpoint.save(tmp_path, denoiser, CONFIG, shape=(2,), made={"seconds": 1.0})
    return tmp_path, denoiser


def test_a_model_comes_back_as_it_was(model):
    directory, denoiser = model
    loaded = checkpoint.load(directory)
    assert loaded.levels == denoiser.levels and loaded.card["seconds"] == 1.0
    x, level, z = torch.randn(5, 2), torch.zeros(5), torch.randn(5, 2)
    assert torch.equal(loaded(x, level, z), denoiser(x, level, z))


def _damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "flip":
        data[-1] ^= 1
    elif how == "truncate":
        data = data[: len(data) // 2]
    elif how == "empty":
        data = b""
    elif how == "foreign":
        data = b"PK\x03\x04 a zip"
    elif how == "header bomb":
        data = struct.pack("<Q", 2**62) + b"{}"
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    (
        "how",
        "trusting",
    ),  # trusting: the card was forged to match; then a flipped bit is another model, not a damaged one
    [
        ("flip", False),
        *((how, trusting) for how in ("truncate", "empty", "foreign", "header bomb") for trusting in (False, True)),
    ],
)
def test_damaged_weights_are_refused_in_a_sentence(model, how, trusting):
    directory, _ = model
    _damage(directory / "model.safetensors", how)
    if trusting:
        import hashlib

        card = json.loads((directory / "card.json").read_text())
        card["sha256"] = hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()
        (directory / "card.json").write_text(json.dumps(card))
    with pytest.raises(Refused) as error:
        checkpoint.load(directory)
    assert "model.safetensors" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "not json", "{}", '{"config": {"data": "x", "nope": 1}}', '{"config": {"data": 3}, "shape": [2]}'],
)
def test_a_foreign_card_is_refused_in_a_sentence(model, text):
    directory, _ = model
    (directory / "card.json").write_text(text)
    with pytest.raises(Refused, match=r"card\.json is not a card"):
        checkpoint.load(directory)


def test_a_card_that_leaves_out_what_is_as_always_has_it_all_the_same(model):
    directory, _ = model
    path = directory / "card.json"
    card = json.loads(path.read_text())
    path.write_text(
        json.dumps({**card, "config": {k: v for k, v in card["config"].items() if v != getattr(Config("x"), k, None)}})
    )
    assert "objective" not in json.loads(path.read_text())["config"]
    assert checkpoint.load(directory).card["config"] == card["config"]


def test_weights_that_are_not_finite_are_refused(tmp_path):
    denoiser = registry.new_generator(CONFIG, (2,))
    next(denoiser.parameters()).data[0, 0] = torch.nan
    checkpoint.save(tmp_path, denoiser, CONFIG, shape=(2,), made={})
    with pytest.raises(Refused, match="not finite"):
        checkpoint.load(tmp_path)


def test_an_unknown_model_is_a_sentence():
    with pytest.raises(Refused, match="no model 'nowhere'.*such as"):
        checkpoint.load("nowhere")
    with pytest.raises(Refused, match="such as 8-gaussians, "):
        checkpoint.load("8-gausian")


def test_a_run_that_has_not_ended_says_so(tmp_path):
    steps = fit(replace(CONFIG, steps=3), tmp_path, save_every=1e-9)
    next(steps), next(steps)
    with pytest.raises(Refused, match="has no model yet: it writes one when it ends, and --resume goes on"):
        source_of(str(tmp_path))
    steps.close()
    assert source_of(str(tmp_path)).models


def test_a_failed_write_leaves_the_old_file_and_says_so(model, monkeypatch):
    directory, denoiser = model
    before = (directory / "model.safetensors").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(Refused, match="cannot be written .No space left"):
        checkpoint.save(directory, denoiser, CONFIG, shape=(2,), made={})
    assert (directory / "model.safetensors").read_bytes() == before


def test_a_discriminator_is_kept_beside_its_model_and_checked(model, tmp_path):
    directory, denoiser = model
    with pytest.raises(Refused, match="without its discriminator"):
        checkpoint.load_discriminator(directory)
    d = registry.discriminator(CONFIG.network, (2,), width=CONFIG.width, depth=CONFIG.depth)
    checkpoint.save(tmp_path, denoiser, CONFIG, shape=(2,), made={}, discriminator=d)
    again = checkpoint.load_discriminator(tmp_path)
    x, level = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(5)
    assert torch.equal(d(x, x, level + 1, level), again(x, x, level + 1, level))
    with open(tmp_path / "discriminator.safetensors", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(Refused, match="damaged"):
        checkpoint.load_discriminator(tmp_path)


def test_every_shipped_model_loads_is_small_and_has_a_whole_card():
    names = sorted(path.parent.name for path in checkpoint.WEIGHTS.glob("*/model.safetensors"))
    assert names
    for name in names:
        card = checkpoint.load(name).card
        images = len(card["shape"]) == 3
        assert (checkpoint.WEIGHTS / name / "model.safetensors").stat().st_size < (32 * 2**20 if images else 200_000)
        assert {"command", "hardware", "seconds", "metrics", "sha256", "config", "steps"} <= set(card)
        assert card["metrics"], f"{name} was not judged"
        assert not images or (checkpoint.WEIGHTS / name / "samples.png").is_file(), f"{name} has no sheet of samples"
        assert (
            not images
            or f"--init weights/{name}" in card["go_on"]
            and card["seen"] == card["steps"] * card["config"]["batch"]
        )
        # a limit in time ends a run before its updates do, and brings its learning rates down
        run = card if card["steps"] else card["history"][-1]  # of an adjusted one
        timed = "--minutes" in run["command"] or "--seconds" in run["command"]
        assert timed or run["steps"] == card["config"]["steps"], f"{name} was not trained to the end"


def test_the_discriminator_has_a_width_of_its_own_where_the_config_gives_one():
    def sizes(**changes):
        return [v.shape for v in registry.new_discriminator(replace(CONFIG, **changes), (2,)).parameters()]

    assert sizes(d_width=32) == sizes(width=32) != sizes()


def test_a_network_without_a_card_reads_how_its_weights_are_kept(tmp_path):
    own, path = registry.new_generator(CONFIG, (2,)), tmp_path / "own.safetensors"
    with pytest.raises(Refused, match=r"^a network of your own has no card: safetensors.torch.save_model\(network"):
        checkpoint.save_file(str(path), own)
    save_model(own, path)
    load_model(again := registry.new_generator(CONFIG, (2,)), path)
    assert all(map(torch.equal, own.parameters(), again.parameters()))


def test_the_one_file_is_a_model_wherever_it_is_taken(tmp_path):
    denoiser = registry.new_generator(CONFIG, (2,))
    checkpoint.save(tmp_path / "run", denoiser, CONFIG, shape=(2,), made={})
    alone = (tmp_path / "run" / "model.safetensors").rename(tmp_path / "alone.safetensors")
    for mine, loaded in zip(denoiser.parameters(), checkpoint.load(alone).parameters(), strict=True):
        assert torch.equal(mine, loaded)
