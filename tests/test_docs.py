"""The README files are true: commands parse, examples run, numbers are those of the cards and the evidence."""

import importlib
import inspect
import json
import pkgutil
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

import ddgan
from ddgan.cli import _request
from ddgan.cli.arguments import parser
from ddgan.diffusion.denoiser import GaussianDenoiser, MeanDenoiser
from ddgan.diffusion.gaussianity import bound, chain_kl, optimal
from ddgan.diffusion.sampler import draw, seeds
from ddgan.diffusion.schedule import CURVES, Schedule
from ddgan.diffusion.solver import DDIM, DPM, Heun
from ddgan.errors import Refused
from ddgan.evidence import read
from ddgan.evidence.bench.page import served
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.metrics.points import coverage
from ddgan.models.checkpoint import load
from ddgan.ui import about
from ddgan.ui.race import _QUESTION
from ddgan.views.stage import stars

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md", "weights/README.md", "assets/evidence/README.md", "ddgan/README.md", "ddgan/evidence/README.md",
    "ddgan/ui/README.md", ".github/CONTRIBUTING.md", ".github/CHANGELOG.md",
)  # fmt: skip
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in PAGES}
README, WEIGHTS, LIBRARY = TEXTS["README.md"], TEXTS["weights/README.md"], TEXTS["ddgan/README.md"]
EACH = pytest.mark.parametrize("page", PAGES)


def blocks(text, kind=r"\w*"):
    return re.findall(rf"```{kind}\n(.*?)```", text, re.S)


def commands(text):
    """What a README says of `python -m ddgan`, in blocks and in lines."""
    lines = [line for block in blocks(text) for line in block.splitlines() if line.startswith("python -m ddgan")]
    return lines + re.findall(r"`(python -m ddgan [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S))


@EACH
def test_every_command_parses_and_asks_for_what_there_is(page):
    for line in commands(TEXTS[page]):
        options = parser().parse_args(shlex.split(line, comments=True)[3:])
        if hasattr(options, "denoiser"):
            _request(options, denoisers="ddgan")


def test_the_commands_are_found():
    counts = {page: len(commands(text)) for page, text in TEXTS.items()}
    assert counts["README.md"] >= 7 and counts["weights/README.md"] >= 7 and counts["ddgan/README.md"] >= 20, counts
    assert counts["assets/evidence/README.md"] >= 10 and counts["ddgan/evidence/README.md"] >= 8, counts


@pytest.mark.slow
def test_the_python_examples_run(tmp_path, monkeypatch):
    (library,), (training, own, client) = blocks(README, "python"), blocks(LIBRARY, "python")
    others = [text for text in TEXTS.values() if text not in (README, LIBRARY)]
    assert not any(blocks(text, "python") for text in others), "these are not run"
    names = {}
    exec(library, names)
    assert names["last"].x_s.shape == (1000, 2)
    monkeypatch.chdir(tmp_path)
    exec(training, names)
    assert names["denoiser"].latent_dim == 2 and (tmp_path / "runs/live/card.json").is_file()
    exec(own, names)
    assert names["step"].step == 300 and names["own"].latent_dim == 2
    with served() as (address, _):
        exec(client.replace("http://127.0.0.1:7860/", address), names)
    assert names["states"].shape == (5, 500, 2)


def test_the_readme_is_short():
    assert 6000 <= len(README.encode()) <= 9000


def test_two_commands_set_up_and_run_or_test():
    run, test = [line for block in blocks(README) for line in block.splitlines() if line.startswith("python -m venv")]
    start = "python -m venv .venv && . .venv/bin/activate && pip install -r requirements.txt"
    assert run.startswith(start) and run.endswith(" && python app.py --browser")
    assert test.startswith(start) and test.endswith(" && python -m pytest tests -n 2")
    for line in (run, test):
        assert all((ROOT / name).is_file() for name in re.findall(r"-r (\S+)", line))
    (pattern,) = re.findall(r"grep -m1 '([^']+)' README.md", (ROOT / ".ci/run").read_text())
    assert re.search(pattern, README, re.M)[0] == test, "the same command is run from a clean checkout"


def test_the_front_matter_makes_a_space():
    front = dict(line.split(": ", 1) for line in README.split("---")[1].strip().splitlines() if ": " in line)
    assert front["sdk"] == "gradio" and front["app_file"] == "app.py" and (ROOT / "app.py").is_file()
    major, minor = map(int, front["sdk_version"].split(".")[:2])
    # one minor version: private parts are used
    assert f"gradio>={major}.{minor},<{major}.{minor + 1}\n" in (ROOT / "requirements.txt").read_text()
    assert len(front["short_description"].strip('"')) <= 60
    colors = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {front["colorFrom"], front["colorTo"]} <= colors and front["title"] and len(front["emoji"]) == 1
    assert front["python_version"] in ('"3.10"', '"3.12"'), "what ZeroGPU has; quoted, as 3.10 is 3.1"
    assert front["license"] == "apache-2.0" and front["header"] in ("mini", "default") and front["fullWidth"] == "true"
    picture = ROOT / front["thumbnail"]
    assert picture.parent == ROOT / "assets" and picture.stat().st_size < 1e6
    with Image.open(picture) as image:  # social networks want a still image that is about twice as wide as high
        assert image.width >= 600 and 1.5 < image.width / image.height < 2.1
        assert not getattr(image, "is_animated", False)
    assert "spaces" not in (ROOT / "requirements.txt").read_text(), "the Space brings its own"


def test_no_file_needs_lfs():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert all((ROOT / name).stat().st_size <= 10e6 for name in listed.stdout.splitlines() if (ROOT / name).is_file())


def _metrics(name, T):
    return json.loads((ROOT / "weights" / name / "card.json").read_text())["metrics"][f"T={T}"]


def test_a_shipped_card_and_its_copy_in_the_model_say_the_same_and_name_no_place_of_a_machine():
    copies = 0
    for path in (ROOT / "weights").glob("*/model.safetensors"):
        card = json.loads((path.parent / "card.json").read_text())
        with safe_open(path, "pt") as file:
            inside = json.loads((file.metadata() or {}).get("card", "null"))
        for told in (card, inside or {}):
            words = json.dumps([told.get(name) for name in ("config", "command", "go_on", "history")])
            assert not re.search(r"(?<![\w.])[/~]\w", words), path
        if inside:
            assert [inside["command"], inside["seen"]] == [card["command"], card["seen"]], path
            copies += 1
    assert copies


def test_the_results_are_what_the_cards_say():
    spots = re.findall(
        r"^\| `([\w-]+)` \| T = (\d+) \| (\d+) / (\d+) \| ([\d.]+) % \| ([\d.]+) \| ([\d.]+) \|$", WEIGHTS, re.M
    )
    for name, T, modes, of, on_mode, width, kl in spots:
        score = _metrics(name, T)
        assert (int(modes), int(of)) == (score["modes"], score["of_modes"]), name
        assert (on_mode, width, kl) == (
            f"{100 * score['on_mode']:.1f}",
            f"{score['width']:.2f}",
            f"{score['kl']:.4f}",
        ), name
    distances = re.findall(r"^\| `([\w-]+)` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", WEIGHTS, re.M)
    shipped = {card.parent.name for card in (ROOT / "weights").glob("*/model.safetensors")}
    images = re.findall(
        r"^\| `([\w-]+)` \| T = (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", WEIGHTS, re.M
    )
    for name, T, *numbers in images:
        keys = ("cfd", "floor_cfd", "precision", "recall", "class_kl")
        assert numbers == [f"{_metrics(name, T)[key]:.{4 if 'cfd' in key else 3}f}" for key in keys], (name, T)
    stacked = re.findall(r"^\| `([\w-]+)` \| T = (\d+) \| (\d+) / 1000 \| ([\d.]+) \|$", WEIGHTS, re.M)
    for name, T, modes, kl in stacked:
        assert (int(modes), kl) == (_metrics(name, T)["modes"], f"{_metrics(name, T)['kl']:.3f}"), name
    held_against = ("-regression", "-mixture", "-consistency", "-official")
    ddgans = {name for name in shipped if not name.endswith(held_against)}
    assert ddgans <= {name for name, *_ in spots + distances + images + stacked} <= shipped
    rows = re.findall(r"^\| `[\w-]+` \|.*$", WEIGHTS, re.M)
    assert len(rows) == len(spots + distances + images + stacked), (
        "a row that is none of these is compared with nothing"
    )
    for name, *ratios in distances:
        for T, ratio in zip((1, 2, 4, 8), ratios, strict=True):
            assert ratio == f"{_metrics(name, T)['sliced_w2'] / _metrics(name, T)['floor_sliced_w2']:.2f}", (name, T)


def test_the_levels_that_the_weights_name_are_where_a_shipped_model_ends():
    words = r"up to (\d+) steps of vp \((\d+) linear, (\d+) cosine, (\d+) geometric\)"
    (counts,) = re.findall(words, " ".join(WEIGHTS.split()))
    assert f"take at most {counts[0]} steps of `vp`" in " ".join(README.split())
    for family, T in zip(CURVES, map(int, counts), strict=True):
        load("25-gaussians").check(Schedule.named(family, T))
        with pytest.raises(Refused, match=f"choose {T} or fewer"):
            load("25-gaussians").check(Schedule.named(family, T + 1))


def _shares(denoiser, family):
    (line,) = re.findall(rf"^\| {denoiser} \| {family} \|.*$", README, re.M)
    return zip((1, 2, 4, 8, 16, 32, 64), (float(share) / 100 for share in re.findall(r"([\d.]+) %", line)), strict=True)


def test_the_first_table_agrees_with_the_evidence_to_the_error_of_10000_samples():
    rows = {r.row: r.numbers for r in read("oracle")}
    for heading, key in (("exact law", "exact"), ("best Gaussian", "gaussian")):
        for T, share in _shares(heading, "vp"):
            p = rows[f"T = {T}, std .018"][key]
            assert abs(share - p) < 5 * (p * (1 - p) / 10_000 + p * (1 - p) / 20_000) ** 0.5 + 0.001, (key, T)


@pytest.mark.slow
def test_the_first_table_names_the_schedule_on_which_the_best_gaussian_needs_few_steps():
    law = ddgan.toy("25-gaussians")
    for T, share in _shares("best Gaussian", "geometric"):
        (x_0,) = draw(Schedule.named("geometric", T), GaussianDenoiser(law), seeds(1, 10_000), (2,), at_once=10_000)
        p = coverage(x_0, law).on_mode  # of another seed than the table's
        assert abs(share - p) < 5 * (2 * p * (1 - p) / 10_000) ** 0.5 + 0.001, T


def test_the_second_table_has_the_bounds():
    law = ddgan.toy("25-gaussians")
    rows = re.findall(r"^\| bound on (\w+) \|(.*)\|$", README, re.M)
    assert [family for family, _ in rows] == ["vp", "geometric", "optimal"]
    for family, cells in rows:
        for T, cell in zip((1, 2, 4, 8, 16, 32, 64), cells.split("|"), strict=True):
            schedule = optimal(law, T) if family == "optimal" else Schedule.named(family, T)
            assert float(cell) == round(bound(law, schedule), 2), (family, T)


@pytest.mark.slow
def test_what_the_texts_say_of_four_steps_of_vp_is_measured():
    law = ddgan.toy("25-gaussians")
    for solver, percent in ((DDIM(), 3), (DPM(), 3), (Heun(), 1)):
        batches = draw(Schedule.vp(4), MeanDenoiser(law), seeds(0, 10_000), (2,), at_once=10_000, solver=solver)
        assert round(100 * coverage(next(batches), law).on_mode) == percent


def test_the_samples_of_best_gaussians_are_as_near_as_the_texts_say():
    law = ddgan.toy("25-gaussians")
    found = [chain_kl(law, schedule) for schedule in (optimal(law, 4), Schedule.vp(4))]
    assert [round(nats, 2) for nats in found] == [0.10, 4.67]
    assert "The samples' own KL is 0.10 nats at T = 4" in " ".join(README.split())
    assert "their own KL is 0.10 nats, on vp 4.67" in " ".join(_QUESTION.split())
    assert "the KL of its samples is .10 nats at T = 4" in inspect.getsource(about)


def test_chance_takes_the_star_from_the_exact_law_as_seldom_as_about_says():
    session, missed = Session(), []
    for seed in range(20):
        scored = []
        for name in ("exact", "ddgan"):
            request = Request("two-moons", (name,), 4, seed=seed)
            *_, last = session.run(request, name)
            score = session.score(request, last.x_s)
            scored.append((score["energy"], score["floor_energy"]))
        missed += [seed] * (not stars(scored)[0] and stars(scored)[1])
    assert 0 in missed and len(missed) <= 2, "one seed of 20, or by chance one more"
    assert "up to one seed of 20 chance takes the star" in " ".join(about._TEXT.split())
    assert "in up to one seed of 20 it" in (ROOT / "assets" / "stage.js").read_text(encoding="utf-8")


def test_the_weights_name_the_images_that_the_shipped_models_were_shown():
    def seen(name):
        card = json.loads((ROOT / "weights" / name / "card.json").read_text())
        return sum(run["seen"] for run in (*card["history"], card))

    for name in ("cifar10", "cifar10-regression"):
        assert f"{round(seen(name), -3):,}" in WEIGHTS, name
    ours, theirs = (f"{seen(name) / 1e6:.1f} million" for name in ("mnist-regression", "mnist"))
    assert f"The learned Gaussian saw {ours} images, the DDGAN {theirs}" in WEIGHTS


def test_the_library_advertises_what_ddgan_exports():
    table = LIBRARY.partition("| object |")[2].partition("\n\n")[0]
    names = [name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split(" | ")[0])]
    assert len(names) >= 15 and set(names) <= set(ddgan.__all__)


def test_the_version_is_the_newest_of_the_changelog_and_versions_fall():
    assert re.fullmatch(r"0\.\d+\.\d+", ddgan.__version__) and (ROOT / "ddgan/py.typed").is_file()
    changes = TEXTS[".github/CHANGELOG.md"]
    found = re.findall(r"^## \[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)$", changes, re.M)
    assert ".".join(found[0][:3]) == ddgan.__version__
    assert changes.index("## [Unreleased]") < changes.index(f"## [{ddgan.__version__}]")
    versions, dates = [tuple(map(int, numbers)) for *numbers, _ in found], [date for *_, date in found]
    assert versions == sorted(versions, reverse=True) and dates == sorted(dates, reverse=True)


def _modules():
    return [
        importlib.import_module(m.name)
        for m in pkgutil.walk_packages(ddgan.__path__, "ddgan.")
        if "__main__" not in m.name
    ]


def test_every_module_and_public_name_has_a_docstring_and_all_names_what_is_there():
    for module in _modules():
        assert module.__doc__, module.__name__
        own = {n for n, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__ and n[0] != "_"}
        own = {n for n in own if inspect.isclass(vars(module)[n]) or inspect.isfunction(vars(module)[n])}
        for name in own:
            assert inspect.getdoc(vars(module)[name]), f"{module.__name__}.{name}"
        for name in () if hasattr(module, "__path__") and not own else module.__all__:
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


def _anchors(text):
    heads = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@EACH
def test_what_is_linked_to_is_here(page):
    for link in re.findall(r"\]\(([^)]+)\)", re.sub(r"```.*?```", "", TEXTS[page], flags=re.S)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path
        assert target.is_file(), link
        assert not anchor or anchor in _anchors(target.read_text(encoding="utf-8")), link


@EACH
def test_lines_of_prose_fit_120_columns_and_no_code_is_broken_in_two(page):
    prose = [line for line in re.sub(r"```.*?```", "", TEXTS[page], flags=re.S).splitlines() if line[:1] != "|"]
    assert not [line for line in prose if line.count("`") % 2]
    assert page == "assets/evidence/README.md" or max(map(len, prose)) <= 120  # that one is made of results
