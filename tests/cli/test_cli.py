import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from plotly.offline import get_plotlyjs

from ddgan.cli import main
from ddgan.data.images import ImageSet
from ddgan.explorer.posterior import Question
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.metrics.images import score_images
from ddgan.models.checkpoint import load, load_classifier
from ddgan.models.config import Config, preset
from ddgan.views.code import snippets
from ddgan.views.landscape import MARK, page

TINY = ["--width", "8", "--depth", "1", "--batch", "16", "--steps", "6"]


def run(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_run_is_evaluated_by_the_model_that_it_holds(capsys):
    code, out, err = run(capsys, "evaluate", "rings-regression", "-n", 200)
    assert code == 0 and out.startswith("regression "), err


def test_sample_writes_the_sessions_arrays(capsys, tmp_path):
    out = tmp_path / "x.npz"
    assert run(capsys, "sample", "rings", "--denoiser", "exact", "--T", 3, "--seed", 5, "-n", 40, "--out", out)[0] == 0
    steps = list(Session().run(Request("rings", ("exact",), T=3, seed=5, n=40), "exact"))
    with np.load(out) as file:
        assert file["x"].shape == (40, 2) and file["states"].shape == (4, 40, 2)
        assert np.array_equal(file["x"], steps[-1].x_s.numpy())
        assert np.array_equal(file["states"][0], steps[0].x_t.numpy())
        assert np.array_equal(file["predicted"], torch.stack([step.x_0 for step in steps]).numpy())


@pytest.mark.parametrize(
    "how", [{"schedule": "log-snr", "span": (-9.0, 4.0)}, {"denoisers": ("exact", "heun"), "budget": "nfe"}]
)
def test_the_command_that_the_page_copies_makes_the_same_samples(capsys, tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    request = Request(**{"data": "rings", "denoisers": ("exact",), "T": 3, "n": 5, **how})
    code, _, err = run(capsys, *shlex.split(snippets(request, "http://h/")["cli"])[3:])
    assert code == 0, err
    with np.load("arrays.npz") as file:
        for name in request.denoisers:
            *_, last = Session().run(request, name)
            assert np.array_equal(file[f"{name}.states"][-1], last.x_s.numpy())


def test_no_option_is_taken_for_another_whose_name_it_begins(capsys):
    code, _, err = run(capsys, "evaluate", "25-gaussians", "--near", "2000")
    assert code == 2 and "--near" in err
    assert json.loads(run(capsys, "evaluate", "rings", "--denoiser", "exact", "--n", 300, "--json")[1])["n"] == 300


def test_evaluate_prints_one_json_object_and_nothing_else(capsys):
    code, out, err = run(capsys, "evaluate", "25-gaussians", "--denoiser", "exact", "-n", 4000, "--json")
    numbers = json.loads(out)
    assert code == 0 and not err
    assert numbers["modes"] == 25 and numbers["on_mode"] > 0.998 and numbers["kl"] < 0.02
    # two samples of the law, and samples of the exact denoiser against one, are the same kind of pair
    assert numbers["sliced_w2"] < 2 * numbers["floor_sliced_w2"]
    assert numbers["energy"] < 2 * numbers["floor_energy"]


def test_a_run_is_trained_resumed_sampled_and_exported(capsys, tmp_path):
    out = tmp_path / "run"
    assert run(capsys, "train", "8-gaussians", "--out", out, "--T", 2, *TINY)[0] == 0
    assert run(capsys, "train", "8-gaussians", "--out", out, "--T", 2, *TINY)[0] == 2
    assert run(capsys, "train", "8-gaussians", "--out", out, "--T", 2, *TINY, "--resume")[0] == 0
    assert run(capsys, "sample", out, "--T", 2, "-n", 9, "--out", tmp_path / "x.npz")[0] == 0
    picture = tmp_path / "x.webp"
    assert run(capsys, "export", out, "--denoiser", "exact,ddgan", "--T", 2, "-n", 50, "--out", picture)[0] == 0
    with Image.open(picture) as image:
        assert image.n_frames == 3 and image.width > 600


@pytest.mark.parametrize(
    "words, expected",
    [
        (["evaluate", "nowhere"], "data must be one of"),
        (["evaluate", "rings", "--T", "0"], "T must be a whole number in 1..1000, got 0"),
        (["evaluate", "rings", "--T", "two"], "T must be a number, got 'two'"),
        (["evaluate", "rings", "--seed", "nan"], "seed must be a finite number"),
        (["evaluate", "rings", "--denoiser", "magic"], "a denoiser must be one of exact, flow, ddgan"),
        (["evaluate", "rings", "--schedule", "steep"], "schedule must be one of vp"),
        (["evaluate", "rings", "--span", "3,1"], "two rising numbers"),
        (["evaluate", "rings", "-n", "1e9"], "n must be a whole number in 1..100000"),
        (["evaluate", "missing.csv", "--denoiser", "exact"], "missing.csv cannot be read"),
        (["sample", "rings", "--denoiser", "exact", "-n", "4", "--out", "/proc/none/x.npz"], "cannot be written"),
        (["sample", "rings", "--denoiser", "exact", "--out", "x.txt"], "--out must end in .npz"),
        (["sample", "rings"], "--out"),
        (["sample", "cifar10", "--T", "40", "-n", "100000", "--out", "x.npz"], "holds at most 250,000,000 numbers"),
        (["train", "rings", "--out", "/proc/none", "--steps", "1"], "cannot be written"),
        (["train", "26-gaussians", "--out", "x"], "the preset must be one of"),
        (["train", "rings", "--out", "x", "--loss", "hinge"], "loss must be one of r1r2, paper, rpgan"),
        (["train", "rings", "--out", "x", "--lr-g", "nan"], "lr_g must be in"),
        (["train", "rings", "--out", "x", "--T", "0"], "T must be in 1..1000, got 0"),
        (["train", "rings", "--out", "x", "--seconds", "nan"], "--seconds must be above 0"),
        (["train", "rings", "--out", "x", "--minutes", "-1"], "--minutes must be above 0, got -1"),
        (["train", "rings", "--out", "x", "--data", "photos.zip"], "--data and --size are for images"),
        (["train", "rings", "--out", "x", "--classes"], "--classes is for images, this is ddgan of rings"),
        (["train", "mnist", "--out", "x", "--unlabelled", ".2"], "--unlabelled is for networks with --classes"),
        (["train", "rings-regression", "--out", "x", "--lr-d", "1e-3"], "--lr-d is for a DDGAN, this is regression of"),
        (["train", "mnist", "--out", "x", "--latent-dim", "100"], "--network unet takes any"),
        (["train", "mnist", "--out", "x", "--network", "skip"], "the network of mnist must be one of unet, unet-draw"),
        (["train", "rings", "--out", "x", "--network", "unet"], "the network of rings must be one of plain, skip"),
        (
            ["train", "rings-regression", "--out", "x", "--objective", "ddgan"],
            "objective regression: that of ddgan is rings",
        ),
        (
            ["train", "rings-mixture", "--out", "x", "--objective", "consistency"],
            "that of consistency is rings-consistency",
        ),
        (["train", "mnist", "--out", "x", "--loss", "r1r2"], "loss r1r2 takes D's slope from a finite difference"),
        (
            ["export", "rings", "--denoiser", "exact", "--out", "x.html", "--hold", "0"],
            "--hold is for pictures and films",
        ),
        (["train", "mnist", "--out", "x", "--objective", "mixture"], "the mixture objective is for points"),
        (
            ["train", "rings-mixture", "--out", "x", "--latent-dim", "2"],
            "latent has 3 numbers, one more than the data, got 2",
        ),
        (["train", "rings", "--out", "x", "--T", "4", "--clean", "1"], "clean must be above 0 and below 1"),
        (["train-classifier", "mnist", "--out", "x", "--seed", "-1"], "--seed must be a whole number in 0..2147483647"),
        (["data", "mnist", "--size", "0"], "--size must be at least 1, got 0"),
        (["evaluate", "mnist", "--fid"], "FID is measured against cifar10, stackedmnist; mnist is of grey images"),
        (["evaluate", "mnist", "--samplings", "3"], "images are judged once"),
        (["evaluate", "mnist", "-n", "3"], "images are judged by at least 4 samples, got n = 3"),
        (["evaluate", "rings", "--fid"], "FID is measured against cifar10, stackedmnist; rings is of points"),
        (["evaluate", "rings", "--denoiser", "official"], "the authors' model is of CIFAR-10, and not of rings"),
        (["evaluate", "x" * 300], "data must be one of"),
        (["export", "rings", "--denoiser", "exact", "--out", "x.bmp"], "an export ends in .webp, .gif"),
        (["export", "rings", "--denoiser", "exact", "--out", "x.png", "--t", "5"], "t must be in 0..4, got 5"),
        (["export", "rings", "--denoiser", "exact", "--out", "x.gif", "--t", "2"], "t chooses the step of a .png"),
        (["export", "rings", "--denoiser", "exact", "--out", "x.png", "--glide", "2"], "glide is for animations"),
        (["export", "rings", "--denoiser", "exact", "-n", "9", "--out", "/proc/none/x.png"], "cannot be written"),
        (["export", "rings", "--denoiser", "exact", "-n", "9000", "--out", "x.png"], "at most 5000 points"),
        (["export", "rings", "--denoiser", "exact", "--out", "x.png", "--at", "1,0,0,x_0"], "--at is for an .html"),
        (["export", "rings", "--denoiser", "exact", "--out", "x.html", "--t", "2"], "an .html shows the law of --at"),
        (["export", "rings", "--denoiser", "exact", "--out", "x.html", "--at", "9,0,0,x_0"], "in 1..4, got 9"),
        (["export", "rings", "--denoiser", "exact", "--out", "x.html", "--at", "1,0,x_0"], "x must be 2 numbers"),
        (
            ["export", "rings", "--denoiser", "exact", "--out", "x.html", "--layers", "x0"],
            "--layers is for pictures and",
        ),
        (
            ["export", "rings", "--denoiser", "exact", "--out", "x.npz", "--hold", "2"],
            "--hold is for pictures of points",
        ),
        (["export", "mnist", "--out", "x.png", "--layers", "x0"], "--layers is for pictures of points"),
        (["export", "4-gaussians-1d", "--out", "x.html"], "a landscape needs two coordinates"),
        (["export", "mnist", "--out", "x.html"], "the law of MNIST has no closed form"),
        (["export", "rings", "--denoiser", "exact", "--out", "/proc/none/x.html"], "cannot be written"),
        (["nonsense"], "invalid choice"),
        ([], "required"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(capsys, tmp_path, monkeypatch, words, expected):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words)
    assert code == 2 and not out
    assert expected in err and err.startswith("ddgan: ") and err.count("\n") == 1


@pytest.mark.parametrize("denoiser, used", [("ddim", True), ("exact", False), ("exact,ddim", True)])
def test_an_eta_that_nobody_uses_is_said(capsys, denoiser, used):
    code, _, err = run(capsys, "evaluate", "rings", "--denoiser", denoiser, "--eta", ".5", "--T", 2, "-n", 200)
    assert code == 0 and ("--eta changes nothing here: it is for ddim and learned-ddim" in err) is not used


@pytest.mark.parametrize("words", [["stackedmnist"], ["stackedmnist-gan", "--T", 1]])
def test_thousands_of_classes_are_counted(capsys, words):
    code, out, err = run(capsys, "evaluate", *words, "-n", 8)
    assert code == 0 and re.fullmatch(r"ddgan +n 8  modes [1-8]  kl [.0-9]+\n", out), err


@pytest.mark.parametrize("content", ["a,b\nc,d\n", "1,2\n", "1,2\n1,nan\n", "1,2\n1,2\n", "1,2\n3\n", "", "\x00\xff"])
def test_a_csv_that_is_no_set_of_points_is_one_sentence(capsys, tmp_path, content):
    path = tmp_path / "mine.csv"
    path.write_bytes(content.encode("latin-1"))
    code, _, err = run(capsys, "evaluate", path, "--denoiser", "exact")
    assert code == 2 and err.count("\n") == 1


def test_every_command_takes_a_table_says_how_it_was_read_and_chooses_its_columns(capsys, tmp_path):
    path = tmp_path / "POINTS.TXT"
    path.write_text("id;age;income\n" + "\n".join(f"{i};{20 + i % 50},5;{1000 * (i * 37 % 90)}" for i in range(60)))
    code, _, err = run(capsys, "evaluate", path, "--denoiser", "exact")
    assert (
        code == 2
        and "3 columns of numbers, id, age and income: choose two, as in --columns 1,2" in err
        and err.count("\n") == 1
    )
    of = path, "--columns", "age,income"
    said = (
        "ddgan: POINTS.TXT: 60 points, columns age and income, semicolons between columns, header skipped, "
        "decimal comma\n"
    )
    code, _, err = run(capsys, "sample", *of, "--denoiser", "exact", "-n", 400, "--out", tmp_path / "X.NPZ")
    assert code == 0 and said in err
    with np.load(tmp_path / "X.NPZ") as file:
        assert file["axes"].tolist() == ["age", "income"]
        age, income = (file["centre"] + file["unit"] * file["x"]).T
    assert 15 < age.min() and age.max() < 75 and 80_000 < income.max() < 100_000
    for words in [
        ("evaluate", *of, "--denoiser", "exact", "-n", 50),
        ("export", *of, "--denoiser", "exact", "-n", 50, "--out", tmp_path / "X.PNG"),
    ]:
        code, _, err = run(capsys, *words)
        assert code == 0 and said in err
    code, _, err = run(capsys, "train", *of, "--out", tmp_path / "run", *TINY)
    assert code == 0 and said in err
    assert run(capsys, "evaluate", tmp_path / "run", "-n", 50, "--T", 1)[0] == 0
    assert run(capsys, "evaluate", "rings", "--columns", "1,2")[0] == 2


def test_a_single_column_is_trained_on_as_data_on_a_line(capsys, tmp_path):
    path = tmp_path / "line.csv"
    path.write_text(",length\n" + "\n".join(f"{i},{i % 7}.5" for i in range(40)))
    assert run(capsys, "train", path, "--out", tmp_path / "run", *TINY)[0] == 0
    path.unlink()
    assert run(capsys, "train", path, "--out", tmp_path / "run", *TINY, "--resume")[0] == 0
    assert run(capsys, "export", tmp_path / "run", "--T", 1, "-n", 50, "--out", tmp_path / "line.png")[0] == 0


@pytest.mark.parametrize("words", [[], ["--at", "2,-0.5,1,x_s", "--address", "https://example.org/"]])
def test_the_law_at_one_x_t_is_written_as_a_landscape(capsys, tmp_path, words):
    out = tmp_path / "x.html"
    assert run(capsys, "export", "25-gaussians", "--out", out, *words)[0] == 0
    asked = Question.of_words(Request(), words[1] if words else "1,0.3,0.2,x_0")
    whole = page(Session(), asked, "https://example.org/" if words else "").replace(MARK, get_plotlyjs())
    assert out.read_text(encoding="utf-8") == whole


def test_a_table_and_a_trained_run_have_landscapes(capsys, tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("\n".join(f"{i % 7},{i % 5 + 0.5}" for i in range(60)))
    assert run(capsys, "export", path, "--denoiser", "exact", "--out", tmp_path / "points.html")[0] == 0
    assert run(capsys, "train", path, "--out", tmp_path / "run", *TINY)[0] == 0
    assert run(capsys, "export", tmp_path / "run", "--T", 2, "--out", tmp_path / "run.html")[0] == 0
    texts = [(tmp_path / f"{name}.html").read_text(encoding="utf-8") for name in ("points", "run")]
    assert ["DDGAN: 8,000 draws" in text for text in texts] == [False, True]


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "far"), [(1, True), (0.004, False)])
def test_a_run_that_ends_far_from_the_data_says_so(capsys, tmp_path, rate, far):
    how = ["--steps", 100, "--width", 32, "--lr-g", rate, "--lr-d", rate, "--out", tmp_path]
    code, _, err = run(capsys, "train", "25-gaussians-live", *how)
    assert code == 0 and ("no sample lies on a mode of the data: if the training diverged" in err) is far


@pytest.mark.slow
def test_sigterm_saves_a_run_that_resumes(tmp_path):
    command = [sys.executable, "-m", "ddgan", "train", "8-gaussians", "--out", str(tmp_path / "run"), "--batch", "16"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True)
    while "update" not in (line := process.stderr.read(30)):
        assert line, "the run ended before its first update"
    process.send_signal(signal.SIGTERM)
    assert process.wait(25) == 130
    finish = [*command, "--resume", "--seconds", "0.001"]
    assert subprocess.run(finish, env=environment, capture_output=True).returncode == 0


@pytest.mark.slow
def test_a_reader_who_has_enough_is_told_of_no_error():
    reads, writes = os.pipe()
    os.close(reads)
    command, environment = [sys.executable, "-m", "ddgan", "presets", "--json"], {**os.environ, "PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    ended = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, env=environment, text=True)
    os.close(writes)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_train_classifier_writes_a_classifier_that_judges(capsys, monkeypatch, tmp_path):
    noise = np.random.default_rng(0)
    data = ImageSet(noise.integers(0, 256, (40, 1, 28, 28), dtype=np.uint8), np.arange(40) % 2, ("a", "b"))
    monkeypatch.setattr("ddgan.cli.load_images", lambda name, **how: data)
    words = "train-classifier", "mnist", "--out", tmp_path, "--width", 2
    code, out, err = run(capsys, *words, "--epochs", 2)
    assert code == 0 and out.strip() == f"{tmp_path}/classifier.safetensors" and "update 2  100%" in err
    assert score_images(data.images, load_classifier(tmp_path))["cfd"] == pytest.approx(0, abs=1e-5)
    evaluate = "evaluate", "--classifier", tmp_path, "--T", 1, "-n", 8, "--json"
    own, shipped = (json.loads(run(capsys, *words, "mnist")[1]) for words in (evaluate, ["evaluate", *evaluate[3:]]))
    assert own["n"] == 8 and own["cfd"] != shipped["cfd"]
    sentence = r"ddgan: the classifier is of images (1, 28, 28), the data are (2,)"
    assert run(capsys, *evaluate, "rings") == (2, "", sentence + "\n")
    assert run(capsys, *words, "--minutes", 0) == (2, "", "ddgan: --minutes must be above 0, got 0\n")


def test_the_hint_about_threads_is_printed_by_the_first_process_alone_and_counts_all(capsys, monkeypatch, tmp_path):
    noise = np.random.default_rng(0)
    data = ImageSet(noise.integers(0, 256, (20, 1, 8, 8), dtype=np.uint8), np.arange(20) % 2, ("a", "b"))
    monkeypatch.setattr("ddgan.cli.load_images", lambda name, **how: data)

    def hint(cores, processes, rank):
        monkeypatch.setattr("ddgan.cli.cores", lambda: cores)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))  # as torchrun sets them
        monkeypatch.setenv("RANK", str(rank))
        out = tmp_path / f"{cores}-{processes}-{rank}"
        code, _, err = run(capsys, "train-classifier", "mnist", "--out", out, "--width", 2, "--epochs", 1)
        assert code == 0, err
        return [line for line in err.splitlines() if "--threads" in line]

    assert hint(4, 1, 0) == ["ddgan: training on one of 4 cores; --threads 4 uses all of them"]
    assert hint(4, 2, 0) == ["ddgan: training on 2 of 4 cores; --threads 2 uses all of them"]
    assert hint(5, 2, 0) == ["ddgan: training on 2 of 5 cores; --threads 2 uses 4 of them"]
    assert hint(4, 2, 1) == hint(4, 4, 0) == []


def test_errors_are_not_measured_on_images_of_another_set(capsys, monkeypatch, tmp_path):
    noise, out = np.random.default_rng(0), tmp_path / "run"
    (tmp_path / "set").mkdir()
    for i in range(4):
        Image.fromarray(noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "set" / f"{i}.png")
    words = ["--objective", "regression", "--width", 16, "--batch", 2, "--steps", 1]
    assert run(capsys, "train", "cifar10", "--data", tmp_path / "set", "--out", out, *words)[0] == 0
    assert run(capsys, "errors", out, "--data", tmp_path / "set")[0] == 0
    before = (out / "card.json").read_bytes()
    others = ImageSet(noise.integers(0, 256, (4, 3, 8, 8), dtype=np.uint8))
    monkeypatch.setattr("ddgan.cli.load_images", lambda name, **how: others)
    code, _, err = run(capsys, "errors", out)
    assert code == 2 and "was trained on images of its own: give them as --data" in err
    others = ImageSet(others.images[:, :1])
    code, _, err = run(capsys, "errors", out, "--data", "mnist")
    assert code == 2 and "images of 3 x 8 x 8, these are of 1 x 8 x 8" in err
    assert (out / "card.json").read_bytes() == before


@pytest.mark.slow
def test_a_training_of_images_runs_on_as_many_cores_as_asked_and_repeats_bit_for_bit(capsys, monkeypatch, tmp_path):
    noise = np.random.default_rng(0)
    (tmp_path / "set").mkdir()
    for i in range(8):
        Image.fromarray(noise.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / "set" / f"{i}.png")
    monkeypatch.setattr("ddgan.cli.cores", lambda: 2)
    words = ["train", "cifar10", "--data", tmp_path / "set", "--size", 16, "--width", 16, "--batch", 8, "--steps", 2]
    said = [run(capsys, *words, "--threads", n, "--out", tmp_path / out) for n, out in ((2, "a"), (2, "b"), (1, "c"))]
    assert [code for code, _, _ in said] == [0, 0, 0], said
    assert ["--threads 2 uses all" in err for _, _, err in said] == [False, False, True]
    first, second, alone = (load(tmp_path / out) for out in "abc")
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
    told = [model.card["hardware"].split(", ")[-1] for model in (first, second, alone)]
    assert told == ["2 thread(s)", "2 thread(s)", "1 thread(s)"]
    code, _, err = run(capsys, *words, "--threads", 3, "--out", tmp_path / "d")
    assert code == 2 and "--threads must be from 1 to 2, the cores of this computer, got 3" in err


NOBODY = """
import getpass, os, pwd
def unknown(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = unknown
from ddgan.cli import main
from ddgan.machine import give_user_a_name
for words in ("presets", "sample rings --denoiser exact -n 5 --out x.npz", "evaluate rings -n 50"):
    assert main(words.split()) == 0, words
from ddgan import ui
ui.build()
give_user_a_name()
assert getpass.getuser() == f"uid-{os.getuid()}"
assert os.listdir() == ["x.npz"], os.listdir()
"""


@pytest.mark.slow
def test_a_user_without_a_home_a_name_or_an_entry_gets_all_that_others_get(tmp_path):
    """As a container has it that runs under any number; nothing is written to a directory called ~."""
    known = {"HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_CACHE_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in known} | {
        "PYTHONPATH": str(Path(__file__).parents[2])
    }
    command = [sys.executable, "-c", NOBODY]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["regression", "mixture", "consistency"])
def test_an_objective_on_a_toy_is_trained_as_its_preset_says(tmp_path, objective):
    assert main(["train", "rings", "--objective", objective, "--steps", "1", "--out", str(tmp_path / "run")]) == 0
    config = json.loads((tmp_path / "run" / "card.json").read_text())["config"]
    assert Config.from_dict(config) == replace(preset(f"rings-{objective}"), steps=1)
