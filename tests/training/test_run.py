"""Training into a directory: images resume bit for bit,
and neither ranks nor parts of a batch change what is learned.
"""

import importlib
import io
import json
import math
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddgan.data.images import ImageSet, batches, from_uint8, read_images
from ddgan.data.toys import toy
from ddgan.errors import Refused
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.models.checkpoint import load, load_discriminator
from ddgan.models.config import Config, preset
from ddgan.training.finish import evaluate_model
from ddgan.training.run import fit, new_objective
from ddgan.training.state import load_state
from ddgan.training.trainer import Adversarial, Descent, Objective, train

ROOT = Path(__file__).parents[2]
TINY = replace(preset("mnist"), width=16, d_width=16, batch=8, steps=4, every=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty 28 x 28 images: a bright square somewhere on black."""
    directory, noise = tmp_path_factory.mktemp("squares"), np.random.default_rng(0)
    for i in range(40):
        image, (y, x) = np.zeros((28, 28), np.uint8), noise.integers(4, 16, 2)
        image[y : y + 8, x : x + 8] = 200
        Image.fromarray(image).save(directory / f"{i}.png")
    return directory


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """Two classes of 28 x 28 images: the left half bright, or the right."""
    directory = tmp_path_factory.mktemp("sides")
    for i in range(20):
        for name, half in (("left", slice(14)), ("right", slice(14, 28))):
            (directory / name).mkdir(exist_ok=True)
            image = np.zeros((28, 28), np.uint8)
            image[:, half] = 180 + i
            Image.fromarray(image).save(directory / name / f"{i}.png")
    return directory


def state(config: Config, out: Path) -> dict[str, torch.Tensor]:
    known = load(out).card
    return load_state(out, {}, replace(config, classes=known["config"]["classes"]), known["data"])[0]


def trained(config: Config, images: Path | ImageSet, out: Path, **options) -> dict[str, torch.Tensor]:
    list(fit(config, out, images=str(images) if isinstance(images, Path) else images, **options))
    return state(config, out)


@pytest.mark.slow
@pytest.mark.parametrize("with_classes", [False, True])
def test_images_resume_bit_for_bit(folder, sides, tmp_path, with_classes):
    """With classes, a falling penalty and two moving averages, too."""
    config = replace(TINY, classes=None, anneal=0.1, ema_long=0.01) if with_classes else TINY
    images = sides if with_classes else folder
    whole = trained(config, images, tmp_path / "whole")
    steps = fit(config, tmp_path / "broken", images=str(images))
    next(steps), next(steps)
    steps.close()
    resumed = trained(config, images, tmp_path / "broken", resume=True)
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[key], resumed[key]) for key in whole)


def overflowing(config: Config, data: ImageSet) -> Objective:
    objective = new_objective(config, data)
    objective.networks["g"].first.weight.register_hook(lambda gradient: gradient * float("nan"))
    return objective


@pytest.mark.slow
def test_a_card_counts_the_skipped_steps_of_the_whole_run_and_those_in_a_row_over_a_break(
    folder, tmp_path, monkeypatch
):
    module, said = importlib.import_module("ddgan.training.run"), []
    monkeypatch.setattr(module, "precision", lambda device: torch.bfloat16)
    monkeypatch.setattr("ddgan.training.trainer.OVERFLOWS", 3)
    with monkeypatch.context() as here:
        here.setattr(module, "new_objective", overflowing)
        steps = fit(TINY, tmp_path / "run", images=str(folder))
        next(steps), next(steps)
        steps.close()
        shutil.copytree(tmp_path / "run", tmp_path / "other")
        next(steps := fit(TINY, str(tmp_path / "other"), images=str(folder), resume=True, say=said.append))
        steps.close()
    assert "overflowed in each of the 3 updates up to 3: back to update 2" in said[0] and len(said) == 1
    list(fit(TINY, tmp_path / "run", images=str(folder), resume=True))
    card = load(tmp_path / "run").card
    assert card["steps"] == 4 and card["skipped"] == 2


@pytest.mark.slow
def test_a_run_goes_on_with_the_data_that_it_began_with_and_no_other(folder, tmp_path):
    def one(brightness, directory):
        directory.mkdir()
        for i in range(8):
            Image.new("L", (28, 28), brightness + i).save(directory / f"{i}.png")
        return directory

    trained(TINY, folder, tmp_path / "run")
    with pytest.raises(Refused, match="was trained on other data"):
        list(fit(TINY, tmp_path / "run", images=str(one(100, tmp_path / "other")), resume=True))
    points = tmp_path / "points.csv"
    points.write_text("0,0\n1,1\n0,1\n")
    config = Config(str(points), width=8, depth=1, batch=16, steps=2)
    list(fit(config, tmp_path / "line"))
    points.write_text("0,0\n1,1\n0,2\n")
    with pytest.raises(Refused, match="was trained on other data"):
        list(fit(config, tmp_path / "line", resume=True))


@pytest.mark.slow
def test_the_points_decide_whether_a_run_goes_on_not_the_path_of_their_file(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    points = tmp_path / "here" / "points.csv"
    points.write_text("0.5,0\n1,1\n0,1\n")
    config = Config("points.csv", width=8, depth=1, batch=16, steps=4)
    monkeypatch.chdir(tmp_path / "here")
    steps = fit(config, tmp_path / "run")
    next(steps), steps.close()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "copy.TXT").write_text("x;y\n0,5;0\n1;1\n0;1\n")
    for path in (points, "here/points.csv", "here/../copy.TXT"):
        list(fit(replace(config, data=str(path)), tmp_path / "run", resume=True))
        assert load(tmp_path / "run").card["seen"] == 4 * 16
    with pytest.raises(Refused, match="another configuration: width 8 there and 9 now"):
        list(fit(replace(config, data=str(points), width=9), tmp_path / "run", resume=True))
    points.write_text("0.5,0\n1,1\n0,2\n")
    with pytest.raises(Refused, match="trained on other data"):
        list(fit(replace(config, data=str(points)), tmp_path / "run", resume=True))


def test_images_of_ones_own_go_by_no_others_name(folder, tmp_path):
    trained(TINY, folder, tmp_path)
    assert load(tmp_path).card["metrics"] == {}, "what is not MNIST is not judged as MNIST"
    with pytest.raises(Refused, match="images of its own, which no classifier here can judge"):
        Session().evaluate(Request(str(tmp_path), ("ddgan",), T=1, n=4), "ddgan")
    with pytest.raises(
        Refused, match="FID is measured against cifar10, stackedmnist; .* is of images that have no name here"
    ):
        Session().evaluate(Request(str(tmp_path), ("ddgan",), T=1, n=50_000), "ddgan", watch=pytest.fail, with_fid=True)


@pytest.mark.slow
def test_images_in_memory_are_trained_on_as_their_files_are(folder, tmp_path):
    images = read_images(folder)
    kept = [trained(TINY, data, tmp_path / str(i)) for i, data in enumerate((folder, images))]
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])
    with pytest.raises(Refused, match="^size is for images that are read from files, these are 28 x 28$"):
        next(fit(TINY, tmp_path / "other", images=images, size=16))


@pytest.mark.parametrize("loss", ["r1r2", "rpgan"])
def test_finite_differences_are_refused_for_images(folder, tmp_path, loss):
    with pytest.raises(Refused, match=f"loss {loss} takes D's slope from a finite difference, too rough for images"):
        next(fit(replace(TINY, loss=loss), tmp_path, images=str(folder)))
    with pytest.raises(Refused, match="too rough for images"):  # before any image is looked for
        next(fit(replace(TINY, loss=loss), tmp_path, images="nowhere"))


def test_a_model_is_not_written_over(folder, tmp_path):
    trained(TINY, folder, tmp_path)
    card = (tmp_path / "card.json").read_bytes()
    for path in tmp_path.glob("state*"):
        path.unlink()  # as of what is shipped
    with pytest.raises(Refused, match="already holds a model: choose another directory"):
        next(fit(TINY, tmp_path, images=str(folder)))
    assert (tmp_path / "card.json").read_bytes() == card


@pytest.mark.slow
def test_images_are_cropped_and_digits_stacked_on_request(folder, tmp_path):
    list(fit(replace(TINY, steps=1), tmp_path / "small", images=str(folder), size=16))
    assert load(tmp_path / "small").card["shape"] == [1, 16, 16]
    digits = tmp_path / "digits"
    for i in range(8):
        (digits / str(i)).mkdir(parents=True)
        Image.new("L", (28, 28), 30 * i).save(digits / str(i) / "a.png")
    trained(replace(preset("stackedmnist"), width=16, d_width=16, batch=8, steps=1), digits, tmp_path / "stacked")
    assert load(tmp_path / "stacked").card["shape"] == [3, 28, 28]


def test_the_file_holds_the_moving_average_rounded_to_bfloat16(folder, tmp_path):
    kept = trained(TINY, folder, tmp_path)
    model = load(tmp_path)
    assert model.card["dtype"] == "bfloat16" and model.levels.continuous
    for name, value in model.state_dict().items():
        assert torch.equal(value, kept[f"ema.{name}"].bfloat16().float()), name


@pytest.mark.parametrize("objective", ["ddgan", "regression"])
def test_a_batch_in_parts_gives_the_gradients_of_the_whole(objective, monkeypatch):
    """One update in float32; Adam's first step has size lr whatever the gradient, so its first moments are compared."""
    data = ImageSet(np.random.default_rng(0).integers(0, 256, (16, 1, 28, 28), np.uint8))
    latent_dim = 0 if objective == "regression" else TINY.latent_dim
    config = replace(TINY, objective=objective, latent_dim=latent_dim, batch=16)
    moments = []
    for accumulate in (1, 4):
        monkeypatch.setattr(importlib.import_module("ddgan.training.run"), "precision", lambda device: torch.float32)
        run = new_objective(replace(config, accumulate=accumulate), data)
        x_0, label = batches(data, 16, seed=0, flip=False)(0, torch.Generator())
        run.update(x_0, torch.Generator().manual_seed(0), 0.0, label)
        moments.append({key: value for key, value in run.state_dict().items() if key.endswith("exp_avg")})
    whole, parts = moments
    for name in whole:
        torch.testing.assert_close(
            parts[name], whole[name], rtol=1e-3, atol=1e-6 + 1e-3 * float(whole[name].abs().max())
        )


def test_a_batch_that_cannot_be_cut_says_so(tmp_path):
    """Before anything is written: the directory is free for another try."""
    with pytest.raises(Refused, match="a batch of 16 cannot be cut into 3 equal parts"):
        next(fit(Config("rings", width=8, depth=1, batch=16, accumulate=3, steps=1), tmp_path / "a"))
    assert not (tmp_path / "a").exists()


def test_a_stop_while_the_model_is_judged_does_not_cost_the_model(tmp_path, monkeypatch):
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("ddgan.training.run"), "evaluate_model", stopped)
    with pytest.raises(KeyboardInterrupt):
        list(fit(Config("8-gaussians", width=8, depth=1, batch=16, steps=3), tmp_path))
    assert load(tmp_path).card["steps"] == 3 and load(tmp_path).card["metrics"] == {}


def test_a_run_that_is_closed_when_its_weights_are_not_finite_keeps_those_last_saved(tmp_path, monkeypatch):
    config, update, said = Config("8-gaussians", width=8, depth=1, batch=16, steps=9), Adversarial.update, []

    def poisoned(self, *given, **more):
        losses = update(self, *given, **more)
        if self.updates == 5:
            next(self.generator.parameters()).data.fill_(torch.nan)
        return losses

    list(fit(config, tmp_path / "whole"))
    with monkeypatch.context() as here:
        here.setattr(Adversarial, "update", poisoned)
        steps = fit(config, tmp_path / "run", save_every=math.inf, say=said.append)
        for step in steps:
            if step.step == 5:
                break
        steps.close()
    assert load(tmp_path / "run").card["steps"] == 0 and "what is kept is the run after update 0" in said[0]
    list(fit(config, tmp_path / "run", resume=True))
    resumed, whole = (load(tmp_path / run).state_dict() for run in ("run", "whole"))
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


def test_a_run_goes_back_to_its_beginning_where_nothing_was_saved_since(tmp_path, monkeypatch):
    update, said = Adversarial.update, []

    def broken(self, *given, **more):
        if self.updates == 5 and not said:
            raise FloatingPointError("the loss is nan")
        return update(self, *given, **more)

    monkeypatch.setattr(Adversarial, "update", broken)
    config = Config("8-gaussians", width=8, depth=1, batch=16, steps=9)
    list(fit(config, tmp_path, save_every=math.inf, say=said.append))
    assert "back to update 0" in said[0] and load(tmp_path).card["steps"] == 9


@pytest.mark.slow
def test_a_card_says_how_its_weights_came_about_and_how_to_go_on(folder, tmp_path):
    trained(TINY, folder, tmp_path / "a", command="first")
    trained(replace(TINY, init=str(tmp_path / "a"), steps=2), folder, tmp_path / "b", command="second")
    steps = fit(replace(TINY, init=str(tmp_path / "b")), tmp_path / "c d", images=str(folder), command="third")
    next(steps), steps.close()
    list(
        fit(replace(TINY, init=str(tmp_path / "b")), tmp_path / "c d", images=str(folder), command="third", resume=True)
    )
    card = load(tmp_path / "c d").card
    assert [(run["command"], run["seen"]) for run in card["history"]] == [("first", 32), ("second", 16)] and card[
        "seen"
    ] == 32
    assert f"--init '{tmp_path / 'c d'}'" in card["go_on"]


def test_a_card_has_all_commands_of_a_run_that_was_resumed_with_another(tmp_path):
    config, made = Config("8-gaussians", width=8, depth=1, batch=16, steps=6), tmp_path / "run"

    def run(command: str, out: Path, resume: bool = True) -> dict:
        """Two updates, a stop; the card."""
        steps = fit(config, out, command=command, resume=resume)
        next(steps), next(steps), steps.close()
        return load(out).card

    assert "commands" not in run("--minutes 1", made, resume=False)
    assert "commands" not in run("--minutes 1", made)
    (made / "card.json").unlink()  # as where the run was killed
    list(fit(config, made, command="--minutes 2", resume=True))
    card = load(made).card
    assert (card["command"], card["commands"]) == ("--minutes 2", ["--minutes 1", "--minutes 2"])
    list(fit(replace(config, init=str(made)), tmp_path / "next", command="next"))
    assert load(tmp_path / "next").card["history"][0]["commands"] == card["commands"]


@pytest.mark.slow
def test_a_run_goes_on_without_the_model_that_it_began_with_and_without_the_file_of_its_points(folder, tmp_path):
    trained(TINY, folder, tmp_path / "a")
    points = tmp_path / "points.csv"
    points.write_text("0,0\n1,1\n0,1\n")
    dots = Config(str(points), width=8, depth=1, batch=16, steps=4)
    ways = {"images": (replace(TINY, init=str(tmp_path / "a"), steps=4), {"images": str(folder)}), "points": (dots, {})}
    for name, (config, where) in ways.items():
        list(fit(config, tmp_path / f"{name}-whole", **where))
        steps = fit(config, tmp_path / name, **where)
        next(steps), steps.close()
    shutil.rmtree(tmp_path / "a")
    points.unlink()
    for name, (config, where) in ways.items():
        list(fit(config, tmp_path / name, resume=True, **where))
        resumed, whole = (load(tmp_path / run) for run in (name, f"{name}-whole"))
        assert all(torch.equal(v, resumed.state_dict()[key]) for key, v in whole.state_dict().items())
        assert resumed.card["history"] == whole.card["history"]


def test_images_of_a_known_set_in_another_size_are_not_judged(tmp_path, monkeypatch):
    monkeypatch.setenv("DDGAN_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    with zipfile.ZipFile(tmp_path / "data" / "mnist-train.zip", "w") as file:
        for i in range(8):
            picture = io.BytesIO()
            Image.new("L", (28, 28), 20 * i).save(picture, "png")
            file.writestr(f"{i}.png", picture.getvalue())
    list(fit(TINY, tmp_path / "run", size=8))
    assert load(tmp_path / "run").card["metrics"] == {} and load(tmp_path / "run").card["shape"] == [1, 8, 8]


def test_a_folder_of_images_is_not_judged_by_what_stands_beside_it(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "photos")
    (tmp_path / "photos-classifier").mkdir()
    list(fit(replace(TINY, data=str(tmp_path / "photos")), tmp_path / "run"))
    assert load(tmp_path / "run").card["metrics"] == {}


@pytest.mark.slow
def test_weights_of_another_network_are_refused_in_a_sentence(folder, tmp_path):
    trained(TINY, folder, tmp_path)
    same_shapes = Config("8-gaussians", width=8, depth=1, batch=16, steps=1)
    list(fit(same_shapes, tmp_path / "skip"))
    with pytest.raises(Refused, match=r"another network: network skip there and v now$"):
        next(fit(replace(same_shapes, network="v", init=str(tmp_path / "skip")), tmp_path / "v"))
    with pytest.raises(Refused, match=r"another network: width 16 there and 32 now$"):
        new_objective(replace(TINY, width=32, init=str(tmp_path)), ImageSet(np.zeros((8, 1, 28, 28), np.uint8)))


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.mark.slow
def test_no_rank_leaves_before_the_last_has_judged(tmp_path):
    script = tmp_path / "judge.py"
    script.write_text(
        "import sys, time\nfrom pathlib import Path\nfrom ddgan.training import distributed as ranks\n"
        "judged = Path(sys.argv[1])\n"
        "with ranks.joined():\n    me = ranks.rank()\n    if me == 0:\n        time.sleep(2)\n        judged.touch()\n"
        "assert judged.exists(), f'rank {me} left early'\n"
    )
    done = subprocess.run(
        [*TORCHRUN, script, tmp_path / "judged"], env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_rank_that_fails_ends_the_others_without_a_traceback(tmp_path):
    script = tmp_path / "fail.py"
    script.write_text(
        "from ddgan.training import distributed as ranks\ntry:\n    with ranks.joined():\n"
        "        if ranks.rank() == 0:\n            raise ValueError('no room')\n"
        "except (ValueError, OSError) as error:\n    raise SystemExit(str(error))\n"
    )
    done = subprocess.run([*TORCHRUN, script], env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode and "no room" in done.stderr and "RuntimeError" not in done.stderr, done.stderr


@pytest.mark.parametrize("times", [pytest.param(3, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.soak)])
def test_short_runs_of_two_ranks_all_end_with_their_metrics(tmp_path, times):
    for i in range(times):
        command = [
            *TORCHRUN,
            "-m",
            "ddgan",
            *"train 25-gaussians --steps 5 --batch 64 --out".split(),
            str(tmp_path / str(i)),
        ]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0 and len(load(tmp_path / str(i)).card["metrics"]) == 4, f"run {i}: {done.stderr}"


@pytest.mark.slow
def test_two_ranks_learn_what_one_process_does(folder, tmp_path):
    """One update on the same global batch in float32.
    Adam's first step has size lr whatever the gradient: moments tell.
    """
    words = "train mnist --width 16 --d-width 16 --batch 8 --every 2 --steps 1".split()
    script = tmp_path / "float32.py"  # rounding to bfloat16 would hide what is compared
    script.write_text(
        "import importlib, torch\nfrom ddgan.cli import main\n"
        "importlib.import_module('ddgan.training.run').precision = lambda device: torch.float32\n"
        "raise SystemExit(main())\n"
    )
    for out, start in {"one": [sys.executable], "two": TORCHRUN}.items():
        command = [*start, str(script), *words, "--data", str(folder), "--out", str(tmp_path / out)]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    config = replace(preset("mnist"), width=16, d_width=16, batch=8, every=2, steps=1)
    one, two = (state(config, tmp_path / name) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        if name.endswith("exp_avg"):
            torch.testing.assert_close(
                two[name], one[name], rtol=0, atol=1e-6 + 1e-2 * float(one[name].abs().max()), msg=name
            )


def test_an_objective_has_every_setting_of_its_config():
    law = toy("8-gaussians")
    config = Config(
        "8-gaussians", T=2, width=8, depth=1, loss="paper", lr_g=1e-3, lr_d=2e-3, gamma=0.3, every=3, ema=0.07,
        clean=0.9, accumulate=2, decay="cosine",
    )  # fmt: skip
    made = new_objective(config, law)
    assert ({name: player.lr for name, player in made.players.items()}, made.gamma, made.every) == (
        {"g": 1e-3, "d": 2e-3},
        0.3,
        3,
    )
    assert made.descent == Descent(ema=0.07, accumulate=2, decay="cosine", unlabelled=config.unlabelled)
    assert made.pairs.schedule.T == 2
    assert made.pairs.weights.tolist() == pytest.approx([0.9, 0.1])
    anywhere = new_objective(replace(config, T=None), law).pairs
    assert (anywhere.clean, anywhere.first) == (0.9, 20)
    regression = new_objective(replace(config, T=None, objective="regression", latent_dim=0), law)
    assert {name: player.lr for name, player in regression.players.items()} == {"g": 1e-3}
    assert (regression.descent.ema, regression.pairs.clean) == (0.07, 0.9)
    assert regression.pairs.first == 1, "it has to serve long chains"


def test_a_run_begins_with_both_networks_of_the_model_that_it_is_given(folder, tmp_path):
    trained(TINY, folder, tmp_path / "first")
    first = {"g": load(tmp_path / "first"), "d": load_discriminator(tmp_path / "first")}
    run = new_objective(replace(TINY, init=str(tmp_path / "first")), ImageSet(np.zeros((8, 1, 28, 28), np.uint8)))
    for network, weights in first.items():
        for name, value in run.networks[network].state_dict().items():
            if name not in ("mean", "basis", "variance", "rest"):  # of the run's own images
                assert torch.equal(value.cpu(), weights.state_dict()[name]), f"{network}.{name}"


def test_a_run_that_begins_with_given_weights_draws_from_the_gaussian_of_its_own_images(folder, tmp_path):
    trained(TINY, folder, tmp_path / "first")
    few = ImageSet(np.random.default_rng(0).integers(0, 256, (8, 1, 28, 28), np.uint8))
    fresh, begun = (new_objective(replace(TINY, init=init), few) for init in ("", str(tmp_path / "first")))
    x_t, level = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.full((2,), -6.0)
    z = torch.randn(2, 784, generator=torch.Generator().manual_seed(1))
    for of in ("generator", "denoiser"):
        mine, theirs = (getattr(objective, of)._input(x_t, level, z) for objective in (begun, fresh))
        torch.testing.assert_close(mine, theirs)


def test_the_file_of_points_holds_the_moving_average(tmp_path):
    config = Config("8-gaussians", width=8, depth=1, batch=16, steps=3)
    list(fit(config, tmp_path))
    kept = load_state(tmp_path, {}, config).state
    for name, value in load(tmp_path).state_dict().items():
        assert torch.equal(value, kept[f"ema.{name}"]), name


def test_a_card_is_judged_by_three_samplings_of_their_own_noise(monkeypatch):
    found = []

    def evaluate(law, n, sampled, samplings):
        found.append([sampled(i) for i in range(samplings)])
        return {"modes": 8}

    monkeypatch.setattr(importlib.import_module("ddgan.training.finish"), "evaluate", evaluate)
    config, law = Config("8-gaussians", T=2, width=8, depth=1), toy("8-gaussians")
    assert evaluate_model(new_objective(config, law).denoiser, law, config, n=20) == {"T=2": {"modes": 8}}
    ((a, b, c),) = found
    assert len(a) == 20 and torch.cdist(a, b).min() > 0 and torch.cdist(b, c).min() > 0


@pytest.mark.parametrize("flip", [False, True])
def test_images_are_mirrored_where_the_config_says_so(folder, tmp_path, monkeypatch, flip):
    def counted(data, batch, *, seed, flip):
        asked.append(flip)
        return batches(data, batch, seed=seed, flip=flip)

    asked = []
    monkeypatch.setattr(importlib.import_module("ddgan.training.run"), "batches", counted)
    trained(replace(TINY, steps=1, flip=flip), folder, tmp_path)
    assert asked == [flip]


def test_a_network_begins_with_the_mean_of_its_images():
    data = ImageSet(np.random.default_rng(0).integers(0, 256, (50, 1, 28, 28), np.uint8))
    generator = new_objective(TINY, data).networks["g"]
    torch.testing.assert_close(generator.mean.cpu(), from_uint8(data.images).flatten(1).mean(0))


def test_images_are_shown_at_every_save_and_a_save_is_due_by_the_clock(folder, tmp_path):
    steps = fit(TINY, tmp_path, images=str(folder), save_every=0)
    for k in (1, 2):
        next(steps)
        lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == list(range(1, k + 1)) and {"d", "g", "seconds"} < set(lines[-1])
    assert load_state(tmp_path, {}, TINY, read_images(folder).fingerprint()).step == 2
    with Image.open(tmp_path / "samples.png") as shown:
        assert shown.size == (8 * 29 - 1, 8 * 29 - 1)
    steps.close()


@pytest.mark.parametrize("diverged", [True, False])
def test_a_run_of_images_that_ends_in_one_saturated_image_says_so_once(folder, tmp_path, monkeypatch, diverged):
    said = []
    if diverged:  # as a network does whose weights have grown without bound
        monkeypatch.setattr("ddgan.models.unet.UNet.forward", lambda self, x_t, level, z: x_t.new_ones(x_t.shape))
        monkeypatch.setattr(Adversarial, "_learn", lambda self, *_, **__: {"g": torch.zeros(())})
    list(fit(TINY, tmp_path / "run", images=str(folder), say=said.append, save_every=0))
    assert [words for words in said if "lower learning rates" in words] == [
        "all samples are the same image, saturated: if the training diverged, lower learning rates may hold it"
    ] * diverged


def test_a_resumed_run_goes_on_counting_its_seconds(tmp_path):
    config = Config("8-gaussians", width=8, depth=1, batch=16, steps=4)
    steps = fit(config, tmp_path)
    next(steps)
    before = next(steps)
    steps.close()
    after = next(fit(config, tmp_path, resume=True))
    assert (after.step, before.step) == (3, 2) and after.seconds > before.seconds


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_a_run_of_no_time_is_refused_and_one_that_is_not_there_leaves_no_directory(tmp_path, seconds):
    with pytest.raises(Refused, match="^seconds must be above 0, got "):
        next(fit(Config("8-gaussians"), tmp_path / "run", seconds=seconds))
    with pytest.raises(Refused, match="^there is no run to resume in "):
        next(fit(Config("8-gaussians"), tmp_path / "run", resume=True))
    assert not list(tmp_path.iterdir())


def test_a_run_takes_as_many_classes_as_its_images_have_and_its_card_names_them(sides, tmp_path):
    list(fit(replace(TINY, classes=None), tmp_path / "run", images=str(sides)))
    model = load(tmp_path / "run")
    assert model.card["classes"] == ["left", "right"] and model.classes == model.card["config"]["classes"] == 2
    assert load_discriminator(tmp_path / "run").classes == 2


def test_a_model_without_classes_is_the_beginning_of_one_with_them_that_starts_as_good(sides, tmp_path):
    list(fit(TINY, tmp_path / "first", images=str(sides)))
    config = replace(TINY, classes=2, init=str(tmp_path / "first"))
    objective = new_objective(config, read_images(sides), torch.device("cpu"))
    first = load(tmp_path / "first").to(torch.float32)
    with torch.random.fork_rng():
        x_t, z = torch.randn(3, 1, 28, 28), torch.randn(3, first.latent_dim)
    first.fit(from_uint8(read_images(sides).images))  # as the run's own: a file rounds mean and covariance
    level, label = torch.zeros(3), torch.tensor([0, 1, 2])
    told = objective.networks["g"].to(torch.float32)(x_t, level, z, label)
    torch.testing.assert_close(told, first(x_t, level, z))


def test_images_without_classes_train_without_labels_and_that_is_said(folder, tmp_path):
    said = []
    list(fit(replace(TINY, classes=None), tmp_path / "run", images=str(folder), say=said.append))
    assert load(tmp_path / "run").classes == 0 and said == [
        "these images have no classes: the networks learn without labels"
    ]


def test_another_number_of_classes_than_the_images_have_is_refused(sides, tmp_path):
    with pytest.raises(Refused, match="labels of 3 classes were asked for, these data have 2"):
        list(fit(replace(TINY, classes=3), tmp_path / "run", images=str(sides)))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unet", "unet-draw"])
def test_regression_with_classes_converges_to_the_mean_of_the_class_and_of_all_without(sides, kind):
    """At pure noise E[x_0 | x_T, class] is the mean image of the class, E[x_0 | x_T] that of all:
    here 60 updates of 16.
    """
    config = Config(
        "sides", objective="regression", network=kind, width=16, depth=1, multipliers=(1, 2), patch=2, latent_dim=0,
        classes=2, unlabelled=0.3, batch=16, lr_g=5e-3, ema=0.05, T=1, steps=60,
    )  # fmt: skip
    data = read_images(sides)
    objective = new_objective(config, data)
    for _ in train(objective, batches(data, 16, seed=0, flip=False), seed=0, steps=60):
        pass
    with torch.no_grad():
        means = objective.denoiser(
            torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0)),
            torch.full((3,), -10.0),
            torch.zeros(3, 0),
            torch.tensor([0, 1, 2]),
        )
    true = torch.stack([from_uint8(data.images[data.labels == k]).mean(0) for k in (0, 1)])
    true = torch.cat([true, true.mean(0, keepdim=True)])
    assert float((means - true).square().mean().sqrt()) < 0.25 < float((true[0] - true[1]).square().mean().sqrt())


def test_an_average_whose_distance_is_not_finite_is_not_the_one_that_is_kept(tmp_path, monkeypatch):
    found = iter([{"T=4": {"kl": None}}, {"T=4": {"kl": 0.5}}])
    monkeypatch.setattr("ddgan.training.run.evaluate_model", lambda *_: next(found))
    config = Config("25-gaussians", width=8, depth=1, batch=8, steps=2, ema_long=0.9)
    assert len(list(fit(config, tmp_path))) == 2
    assert load(tmp_path).card["ema_kept"] == config.ema_long


def test_two_averages_that_are_one_and_the_same_yet_are_judged_once(tmp_path, monkeypatch):
    judged = []
    monkeypatch.setattr(
        "ddgan.training.run.evaluate_model", lambda *asked: judged.append(asked) or {"T=4": {"kl": 0.5}}
    )
    config = Config("25-gaussians", width=8, depth=1, batch=8, steps=9, ema_long=0.01)
    list(fit(config, tmp_path))
    assert len(judged) == 1 and load(tmp_path).card["ema_kept"] == config.ema


@pytest.mark.parametrize("network", ["unet", "unet-draw"])
def test_a_network_of_images_refuses_a_table_of_points_in_a_sentence(tmp_path, network):
    table = tmp_path / "points.csv"
    table.write_text("x,y\n" + "".join(f"{i},{i * i % 7}\n" for i in range(20)))
    with pytest.raises(Refused, match="the network of points.csv must be one of plain, skip, .*, got unet"):
        next(fit(replace(preset("mnist"), data=str(table), network=network), tmp_path / "run"))
