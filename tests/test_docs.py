"""The README is true: its commands parse, its example runs, its numbers are those on the cards."""

import importlib
import inspect
import json
import pkgutil
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import ddgan
from ddgan.bench import served
from ddgan.checkpoint import load
from ddgan.cli import _request, parser
from ddgan.evidence import read
from ddgan.schedule import FAMILIES, Schedule

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.S)


def test_every_command_of_the_readme_parses_and_asks_for_what_there_is():
    lines = [line for _, text in BLOCKS for line in text.splitlines() if line.startswith("python -m ddgan")]
    lines += [line for line in re.findall(r"`(python -m ddgan [^`]+)`", README) if line != "python -m ddgan evidence"]  # a heading
    assert len(lines) >= 30
    for line in lines:
        options = parser().parse_args(shlex.split(line, comments=True)[3:])
        if hasattr(options, "denoiser"):
            _request(options, denoisers="ddgan")


@pytest.mark.slow
def test_the_python_examples_of_the_readme_run():
    library, client = [text for kind, text in BLOCKS if kind == "python"]
    names = {}
    exec(library, names)
    assert names["last"].x_s.shape == (1000, 2)
    with served() as (address, _):
        exec(client.replace("http://127.0.0.1:7860/", address), names)
    assert names["states"].shape == (5, 500, 2)


def test_the_front_matter_makes_a_space():
    front = dict(line.split(": ", 1) for line in README.split("---")[1].strip().splitlines() if ": " in line)
    assert front["sdk"] == "gradio" and front["app_file"] == "app.py" and (ROOT / "app.py").is_file()
    minor = ".".join(front["sdk_version"].split(".")[:2])
    assert f"gradio>={minor}," in (ROOT / "requirements.txt").read_text()
    assert len(front["short_description"].strip('"')) <= 60
    colors = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {front["colorFrom"], front["colorTo"]} <= colors and front["title"] and len(front["emoji"]) == 1
    assert front["python_version"] in ('"3.10"', '"3.12"'), "what ZeroGPU has; quoted, as 3.10 is 3.1"
    assert front["license"] == "apache-2.0" and front["header"] in ("mini", "default") and front["fullWidth"] == "true"
    assert "spaces" not in (ROOT / "requirements.txt").read_text(), "the Space brings its own"


def test_no_file_needs_lfs():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert all((ROOT / name).stat().st_size <= 10e6 for name in listed.stdout.splitlines() if (ROOT / name).is_file())


def _metrics(name, T):
    return json.loads((ROOT / "weights" / name / "card.json").read_text())["metrics"][f"T={T}"]


def test_the_results_are_what_the_cards_say():
    spots = re.findall(r"^\| `([\w-]+)` \| T = (\d+) \| (\d+) / (\d+) \| ([\d.]+) % \| ([\d.]+) \| ([\d.]+) \|$", README, re.M)
    for name, T, modes, of, on_mode, width, kl in spots:
        score = _metrics(name, T)
        assert (int(modes), int(of)) == (score["modes"], score["of_modes"]), name
        assert (on_mode, width, kl) == (f"{100 * score['on_mode']:.1f}", f"{score['width']:.2f}", f"{score['kl']:.4f}"), name
    distances = re.findall(r"^\| `([\w-]+)` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", README, re.M)
    shipped = {card.parent.name for card in (ROOT / "weights").glob("*/model.safetensors")}
    images = re.findall(r"^\| `([\w-]+)` \| T = (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", README, re.M)
    for name, T, *numbers in images:
        keys = ("cfd", "floor_cfd", "precision", "recall", "class_kl")
        assert numbers == [f"{_metrics(name, T)[key]:.{4 if 'cfd' in key else 3}f}" for key in keys], (name, T)
    stacked = re.findall(r"^\| `([\w-]+)` \| T = (\d+) \| (\d+) / 1000 \| ([\d.]+) \|$", README, re.M)
    for name, T, modes, kl in stacked:
        assert (int(modes), kl) == (_metrics(name, T)["modes"], f"{_metrics(name, T)['kl']:.3f}"), name
    ddgans = {name for name in shipped if not name.endswith(("-regression", "-official"))}
    assert ddgans <= {name for name, *_ in spots + distances + images + stacked} <= shipped
    rows = re.findall(r"^\| `[\w-]+` \|.*$", README.partition("## Results")[2].partition("## Evidence")[0], re.M)
    assert len(rows) == len(spots + distances + images + stacked), "a row that is none of these is compared with nothing"
    for name, *ratios in distances:
        for T, ratio in zip((1, 2, 4, 8), ratios, strict=True):
            assert ratio == f"{_metrics(name, T)['sliced_w2'] / _metrics(name, T)['floor_sliced_w2']:.2f}", (name, T)


def test_the_levels_that_the_readme_names_are_where_a_shipped_model_ends():
    (counts,) = re.findall(r"up to (\d+) of vp \((\d+) linear, (\d+) cosine, (\d+) geometric\)", README)
    for family, T in zip(FAMILIES, map(int, counts), strict=True):
        load("25-gaussians").check(Schedule.named(family, T))
        with pytest.raises(ValueError, match="trained on noise levels"):
            load("25-gaussians").check(Schedule.named(family, T + 1))


def test_the_first_table_agrees_with_the_evidence_to_the_error_of_10000_samples():
    rows = {r.row: r.numbers for r in read("oracle")}
    for heading, key in (("exact law", "exact"), ("best Gaussian", "gaussian"), ("DDPM: exact mean", "mean")):
        (line,) = re.findall(rf"^\| {heading}.*$", README, re.M)
        for T, share in zip((1, 2, 4, 8, 16, 32, 64), re.findall(r"([\d.]+) %", line), strict=True):
            p = rows[f"T = {T}, std .018"][key]
            assert abs(float(share) / 100 - p) < 5 * (p * (1 - p) / 10_000 + p * (1 - p) / 20_000) ** 0.5 + 0.001, (key, T)


def test_the_limits_name_the_images_that_the_shipped_models_were_shown():
    for name in ("cifar10", "cifar10-regression"):
        card = json.loads((ROOT / "weights" / name / "card.json").read_text())
        seen = sum(run["seen"] for run in (*card["history"], card))
        assert f"{round(seen, -3):,}" in README.rpartition("## Limits")[2], name


def _modules():
    return [importlib.import_module(m.name) for m in pkgutil.walk_packages(ddgan.__path__, "ddgan.") if "__main__" not in m.name]


def test_every_module_and_public_name_has_a_docstring_and_all_names_what_is_there():
    for module in _modules():
        assert module.__doc__, module.__name__
        own = {n for n, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__ and n[0] != "_"}
        own = {n for n in own if inspect.isclass(vars(module)[n]) or inspect.isfunction(vars(module)[n])}
        for name in own:
            assert inspect.getdoc(vars(module)[name]), f"{module.__name__}.{name}"
        for name in module.__all__:
            assert hasattr(module, name), f"{module.__name__}.__all__ names {name}"
    for name in ddgan.__all__:
        value = getattr(ddgan, name)
        assert inspect.getdoc(value), name
        for method, body in inspect.getmembers(value, inspect.isfunction) if inspect.isclass(value) else []:
            if method[0] != "_" and body.__module__.startswith("ddgan") and method not in ("forward",):
                assert inspect.getdoc(body), f"{name}.{method}"


def test_the_top_level_holds_what_it_should():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    visible = {line.split("/")[0] for line in listed.stdout.splitlines() if line[0] != "."}
    assert visible == {"app.py", "ddgan", "weights", "assets", "requirements.txt", "tests", "README.md", "LICENSE"}


def test_what_the_readme_links_to_is_here():
    local = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert local and all((ROOT / link).is_file() for link in local)
