"""Who may import whom, read from the source with ast: for the modules that exist, whichever they are."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ddgan"

# a package imports only those above it in this list; beside them stand `ddgan` itself, `__main__` and app.py
PACKAGES = (
    "errors",  # what is not an answer
    "machine files",  # the computer, and files on it
    "diffusion",  # the equations
    "data",  # what x_0 is
    "models",  # networks and their files
    "metrics",  # samples against the truth
    "training",  # how weights come to be
    "explorer",  # a question -> arrays
    "views",  # arrays -> bytes
    "evidence",  # measurements
    "ui cli",  # Gradio, the terminal
    "__main__ app",
)
FLOOR = {name: floor for floor, names in enumerate(PACKAGES) for name in names.split()}
CORE = ("diffusion", "data", "models", "metrics", "training")
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
    """The absolute names that a file of `package` imports, wherever in the file:
    `torch.nn`, `ddgan.schedule.Schedule`.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            yield from (".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names)


@cache
def imports_of(path: Path) -> frozenset[str]:
    return frozenset(imports(ast.parse(path.read_text()), path.relative_to(ROOT).parts[:-1]))


FILES = sources()


def ours(names: Iterable[str]) -> set[str]:
    """Which of our modules; `ddgan` itself stands for the public names."""
    parts = [name.split(".") for name in names if name.split(".")[0] == "ddgan"]
    return {p[1] if len(p) > 1 and p[1] in FILES else "ddgan" for p in parts}


def is_module(name: str) -> bool:
    """Whether this absolute name is one of our modules or packages."""
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


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


SEEDS = {
    "torch.manual_seed",
    "torch.seed",
    "torch.random.manual_seed",
    "torch.cuda.manual_seed_all",
    "np.random.seed",
    "random.seed",
}


def unforked_seeds(tree: ast.AST) -> list[str]:
    """The calls that seed everyone's generator outside every `with torch.random.fork_rng(...)`."""
    forks = (n for n in ast.walk(tree) if isinstance(n, ast.With) and "fork_rng" in ast.unparse(n.items[0]))
    inside = {id(call) for fork in forks for _, call in calls(fork)}
    return [name for name, call in calls(tree) if name in SEEDS and id(call) not in inside]


@pytest.mark.parametrize("module", FILES)
def test_a_package_imports_only_what_lies_above_it_in_the_list(module):
    assert module in FLOOR, f"where does ddgan/{module} belong? Add it to PACKAGES"
    for path in FILES[module]:
        upward = {name for name in ours(imports_of(path)) - {module, "ddgan"} if FLOOR[name] >= FLOOR[module]}
        assert not upward or (module, upward) == ("__main__", {"cli"}), path


@pytest.mark.parametrize("module", FILES)
def test_what_a_module_takes_from_another_by_name_is_public_there(module):
    for name in set().union(*(imports_of(path) for path in FILES[module])):
        of, _, what = name.rpartition(".")
        if of.split(".")[0] == "ddgan" and not is_module(name) and of != "ddgan":
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
        heavy = HEAVY - {"PIL"} if module == "data" else HEAVY
        assert not heavy & {name.split(".")[0] for name in imports_of(path)}, path
        for name, call in calls(ast.parse(path.read_text())):
            forked = name == "torch.random.fork_rng" or name in SEEDS  # these have a test of their own
            assert name != "print" and (forked or not touches_global_randomness(name, call)), f"{path}:{call.lineno}"


@pytest.mark.parametrize("module", FILES)
def test_a_global_seed_is_set_only_inside_a_fork_of_the_random_state(module):
    """Networks are initialised from the global state: a run seeds it where `fork_rng` puts it back."""
    for path in FILES[module]:
        assert not unforked_seeds(ast.parse(path.read_text())), path
    seeds = [name for path in FILES[module] for name, _ in calls(ast.parse(path.read_text())) if name in SEEDS]
    assert seeds == (["torch.random.manual_seed"] if module == "training" else [])


@pytest.mark.parametrize("module", [m for m in ("ui", "cli", "app") if m in FILES])
def test_the_interface_imports_no_torch(module):
    for path in FILES[module]:
        assert "torch" not in {name.split(".")[0] for name in imports_of(path)}, path


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n    import torch.nn as nn", {"torch.nn"}),
        ("from . import mlp", {"ddgan.models.mlp"}),
        ("from ..diffusion.schedule import Schedule", {"ddgan.diffusion.schedule.Schedule"}),
        ("from .. import views, explorer", {"ddgan.views", "ddgan.explorer"}),
        ("from ddgan.explorer.session import Session", {"ddgan.explorer.session.Session"}),
    ],
)
def test_the_rules_see_every_way_to_import(source, expected):
    assert set(imports(ast.parse(source), ("ddgan", "models"))) == expected


def test_the_rules_tell_a_forked_seed_from_a_bare_one():
    assert unforked_seeds(ast.parse("torch.manual_seed(0)\nwith open(f):\n  np.random.seed(0)")) == [
        "torch.manual_seed",
        "np.random.seed",
    ]
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
