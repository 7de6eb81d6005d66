"""Who may import whom, read from the source with ast: for the modules that exist, whichever they are."""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ddgan"

CORE = ("gaussian", "schedule", "mixture", "denoiser", "sampler", "networks", "losses", "trainer", "data", "metrics", "checkpoint", "gaussianity", "archives", "image_metrics", "classifier")
MAY_IMPORT = {  # from the bottom up
    "archives": "",
    "config": "",
    "gaussian": "",
    "losses": "",
    "machine": "",
    "ranks": "",
    "recorded": "",
    "turns": "",
    "images": "archives",
    "schedule": "gaussian",
    "mixture": "gaussian schedule",
    "data": "config mixture",
    "denoiser": "mixture schedule",
    "gaussianity": "mixture schedule",
    "metrics": "mixture",
    "networks": "denoiser gaussian schedule",
    "request": "data denoiser images schedule",
    "sampler": "denoiser gaussian schedule",
    "candidates": "denoiser images sampler schedule",
    "checkpoint": "config denoiser networks schedule",
    "trainer": "denoiser gaussian losses ranks recorded sampler schedule",
    "image_metrics": "checkpoint images networks",
    "official": "checkpoint config denoiser networks schedule",
    "classifier": "checkpoint image_metrics images machine networks trainer",
    "fit": "checkpoint config data denoiser image_metrics images machine metrics mixture networks ranks request sampler schedule trainer",
    "session": "candidates checkpoint config data denoiser image_metrics images machine metrics mixture networks request sampler schedule trainer turns",
    "posterior": "metrics mixture request sampler session",
    "studio": "checkpoint config data denoiser fit machine metrics mixture request sampler schedule session trainer turns",
    "views": "config data gaussianity mixture posterior request schedule session studio",
    "bench": "checkpoint config data denoiser fit images machine metrics networks recorded request sampler schedule session trainer views",
    "gallery": "candidates config images request session views",
    "evidence": "bench checkpoint config data denoiser fit gaussian image_metrics images machine metrics mixture posterior request sampler schedule session trainer",
    "picture": "gallery images request session views",
    "export": "checkpoint image_metrics images picture request sampler session turns views",
    "cli": "archives bench checkpoint classifier config evidence export fit images machine metrics networks official picture ranks request schedule session trainer",
    "reply": "export posterior request session studio",
    "snippet": "export reply request",
    "__main__": "cli",
    "ui": "config data evidence export gallery gaussianity images machine picture posterior reply request schedule session snippet studio turns views",
    "app": "ui",
}
HEAVY = {"gradio", "plotly", "PIL", "tqdm"}


def sources() -> dict[str, list[Path]]:
    """Module or subpackage of ddgan, and app -> its files."""
    files: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        files.setdefault(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), []).append(path)
    if (ROOT / "app.py").exists():
        files["app"] = [ROOT / "app.py"]
    files.pop("__init__")
    return files


def imports(tree: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """The absolute names that a file of `package` imports, wherever in the file: `torch.nn`, `ddgan.schedule.Schedule`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            yield from (".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names)


def imports_of(path: Path) -> set[str]:
    return set(imports(ast.parse(path.read_text()), path.relative_to(ROOT).parts[:-1]))


def ours(names: set[str]) -> set[str]:
    """Which of our modules; `ddgan` itself stands for the public names."""
    parts = [name.split(".") for name in names if name.split(".")[0] == "ddgan"]
    return {p[1] if len(p) > 1 and p[1] in sources() else "ddgan" for p in parts}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call by its dotted name."""
    return ((ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call))


def touches_global_randomness(name: str, call: ast.Call) -> bool:
    """A seed set for everyone, or a draw from the generator that everyone shares."""
    draws = {"bernoulli", "multinomial", "normal", "poisson", "rand", "randint", "randn", "randperm"}
    module, _, function = name.rpartition(".")
    if module in ("np.random", "numpy.random"):
        return function not in ("default_rng", "Generator", "PCG64", "Philox", "SeedSequence")
    if module == "torch" and function.removesuffix("_like") in draws:
        return "generator" not in {keyword.arg for keyword in call.keywords}
    return module in ("random", "torch.random") or (module in ("torch", "torch.cuda") and "seed" in function)


SEEDS = {"torch.manual_seed", "torch.seed", "torch.random.manual_seed", "torch.cuda.manual_seed_all", "np.random.seed", "random.seed"}


def unforked_seeds(tree: ast.AST) -> list[str]:
    """The calls that seed everyone's generator outside every `with torch.random.fork_rng(...)`."""
    forks = (n for n in ast.walk(tree) if isinstance(n, ast.With) and "fork_rng" in ast.unparse(n.items[0]))
    inside = {id(call) for fork in forks for _, call in calls(fork)}
    return [name for name, call in calls(tree) if name in SEEDS and id(call) not in inside]


FILES = sources()


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_only_what_lies_below_it(module):
    assert module in MAY_IMPORT, f"who may ddgan/{module} import? Add it to the table"
    allowed = {module, *MAY_IMPORT[module].split()}
    for path in FILES[module]:
        assert ours(imports_of(path)) <= allowed, path


@pytest.mark.parametrize("module", FILES)
def test_what_a_module_takes_from_another_by_name_is_public_there(module):
    for name in set().union(*(imports_of(path) for path in FILES[module])):
        of, _, what = name.rpartition(".")
        if of.startswith("ddgan.") and not isinstance(getattr(import_module(of), what), ModuleType):
            assert what in import_module(of).__all__, name


def test_no_two_modules_import_each_other_even_through_others():
    below = {name: set().union(*(ours(imports_of(path)) for path in paths)) - {name} for name, paths in FILES.items()}
    while below:
        free = [name for name, needs in below.items() if not needs & below.keys()]
        assert free, f"a circle of imports among {sorted(below)}"
        for name in free:
            del below[name]


@pytest.mark.parametrize("module", [m for m in CORE if m in FILES])
def test_the_core_imports_no_interface_prints_nothing_and_leaves_global_randomness_alone(module):
    for path in FILES[module]:
        assert not HEAVY & {name.split(".")[0] for name in imports_of(path)}, path
        for name, call in calls(ast.parse(path.read_text())):
            assert name != "print" and not touches_global_randomness(name, call), f"{path}:{call.lineno}"


@pytest.mark.parametrize("module", FILES)
def test_a_global_seed_is_set_only_inside_a_fork_of_the_random_state(module):
    """Networks are initialised from the global state: fit seeds it where `fork_rng` puts it back."""
    for path in FILES[module]:
        assert not unforked_seeds(ast.parse(path.read_text())), path
    seeds = [name for path in FILES[module] for name, _ in calls(ast.parse(path.read_text())) if name in SEEDS]
    assert seeds == (["torch.random.manual_seed"] if module == "fit" else [])


@pytest.mark.parametrize("module", [m for m in ("ui", "cli", "app") if m in FILES])
def test_the_interface_imports_no_torch(module):
    for path in FILES[module]:
        assert "torch" not in {name.split(".")[0] for name in imports_of(path)}, path


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n    import torch.nn as nn", {"torch.nn"}),
        ("from . import mlp", {"ddgan.networks.mlp"}),
        ("from ..schedule import Schedule", {"ddgan.schedule.Schedule"}),
        ("from .. import views, export", {"ddgan.views", "ddgan.export"}),
        ("from ddgan.session import Session", {"ddgan.session.Session"}),
    ],
)
def test_the_rules_see_every_way_to_import(source, expected):
    assert set(imports(ast.parse(source), ("ddgan", "networks"))) == expected


def test_the_rules_tell_a_forked_seed_from_a_bare_one():
    assert unforked_seeds(ast.parse("torch.manual_seed(0)\nwith open(f):\n  np.random.seed(0)")) == ["torch.manual_seed", "np.random.seed"]
    assert unforked_seeds(ast.parse("with torch.random.fork_rng():\n  torch.random.manual_seed(0)")) == []


@pytest.mark.parametrize(
    ("source", "touches"),
    [
        ("torch.manual_seed(0)", True),
        ("torch.cuda.manual_seed_all(0)", True),
        ("np.random.seed(0)", True),
        ("np.random.randn(3)", True),
        ("random.shuffle(x)", True),
        ("torch.randn(3)", True),
        ("torch.randn_like(x)", True),
        ("torch.randn(3, generator=noise)", False),
        ("torch.Generator().manual_seed(0)", False),
        ("noise.manual_seed(0)", False),
        ("np.random.default_rng(0)", False),
    ],
)
def test_the_rules_tell_global_randomness_from_a_generator(source, touches):
    assert any(touches_global_randomness(*found) for found in calls(ast.parse(source))) == touches
