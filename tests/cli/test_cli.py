import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddgan.checkpoint import load_classifier
from ddgan.cli import main
from ddgan.image_metrics import judge_images
from ddgan.images import ImageSet
from ddgan.request import Request
from ddgan.session import Session

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
        (["evaluate", "rings", "--denoiser", "magic"], "a denoiser must be one of exact, ddgan"),
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
        (["train", "mnist", "--out", "x", "--latent-dim", "100"], "--network unet takes any"),
        (["train", "mnist", "--out", "x", "--network", "skip"], "the network of mnist must be one of unet, unet-draw"),
        (["train", "rings", "--out", "x", "--network", "unet"], "the network of rings must be one of plain, skip"),
        (["train", "rings-regression", "--out", "x", "--objective", "ddgan"], "the DDGAN is the preset rings"),
        (["train", "rings", "--out", "x", "--T", "4", "--clean", "1"], "clean must be above 0 and below 1"),
        (["data", "mnist", "--size", "0"], "--size must be at least 1, got 0"),
        (["evaluate", "mnist", "--fid"], "FID is measured against cifar10, stackedmnist; mnist is of grey images"),
        (["evaluate", "mnist", "--samplings", "3"], "images are judged once"),
        (["evaluate", "rings", "--fid"], "FID is measured against cifar10, stackedmnist; rings is of points"),
        (["evaluate", "rings", "--denoiser", "official"], "the authors' model is of cifar10, and not of rings"),
        (["evaluate", "x" * 300], "data must be one of"),
        (["export", "rings", "--denoiser", "exact", "--out", "x.bmp"], "an export ends in .webp, .gif"),
        (["export", "rings", "--denoiser", "exact", "--out", "x.png", "--t", "5"], "t must be in 0..4, got 5"),
        (["export", "rings", "--denoiser", "exact", "--out", "x.gif", "--t", "2"], "t chooses the step of a .png"),
        (["export", "rings", "--denoiser", "exact", "--out", "x.png", "--glide", "2"], "glide is of animations"),
        (["export", "rings", "--denoiser", "exact", "-n", "9", "--out", "/proc/none/x.png"], "cannot be written"),
        (["export", "rings", "--denoiser", "exact", "-n", "9000", "--out", "x.png"], "at most 5000 points"),
        (["nonsense"], "invalid choice"),
        ([], "required"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(capsys, tmp_path, monkeypatch, words, expected):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words)
    assert code == 2 and not out
    assert expected in err and err.startswith("ddgan: ") and err.count("\n") == 1


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


@pytest.mark.slow
def test_sigterm_saves_a_run_that_resumes(tmp_path):
    command = [sys.executable, "-m", "ddgan", "train", "8-gaussians", "--out", str(tmp_path / "run"), "--batch", "16"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True)
    while "update" not in (line := process.stderr.read(30)):
        assert line, "the run ended before its first update"
    process.send_signal(signal.SIGTERM)
    assert process.wait(25) == 130
    finish = [*command, "--resume", "--seconds", "0.001"]
    assert subprocess.run(finish, env=environment, capture_output=True).returncode == 0


def test_train_classifier_writes_a_classifier_that_judges(capsys, monkeypatch, tmp_path):
    noise = np.random.default_rng(0)
    data = ImageSet(noise.integers(0, 256, (40, 1, 8, 8), dtype=np.uint8), np.arange(40) % 2, ("a", "b"))
    monkeypatch.setattr("ddgan.cli.load_images", lambda name, split: data)
    words = "train-classifier", "mnist", "--out", tmp_path, "--width", 2
    code, out, err = run(capsys, *words, "--epochs", 2)
    assert code == 0 and out.strip() == f"{tmp_path}/classifier.safetensors" and "update 2  100%" in err
    assert judge_images(data.images, load_classifier(tmp_path))["cfd"] == pytest.approx(0, abs=1e-5)
    assert run(capsys, *words, "--minutes", 0) == (2, "", "ddgan: --minutes must be above 0, got 0\n")
