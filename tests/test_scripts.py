"""The page's scripts: their own tests, their lint, and that each is one function with what it needs before it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ddgan.ui.canvas import script

ROOT = Path(__file__).parents[1]
ESLINT = os.environ.get("ESLINT") or shutil.which("eslint")
SCRIPTS = [
    *sorted((ROOT / "assets").glob("*.js")),
    *sorted((ROOT / "tests" / "js").glob("*.mjs")),
    ROOT / ".eslint.config.mjs",
]


def run(tool: str | None, *words: str, text: str = "") -> None:
    """Run a tool at the top of the repository; without it the test is skipped, in CI failed."""
    if tool is None:
        (pytest.fail if os.environ.get("DDGAN_CI") else pytest.skip)("node, or ESLint, is needed")
    done = subprocess.run([tool, *words], cwd=ROOT, input=text, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pure_parts_keep_their_laws():
    run(shutil.which("node"), "--test", "tests/js/")


@pytest.mark.parametrize(
    "name",
    [
        "page",
        "stage",
        "image_grid",
        "posterior",
        "image_posterior",
        "image_classes",
        "image_step",
        "image_tree",
        "why",
        "race",
        "training",
        "points_board",
        "paint",
        "code",
    ],
)
def test_a_script_with_what_it_shares_is_the_body_of_one_function(name):
    """Also no name is declared twice, which only shows where all parts are together."""
    run(
        shutil.which("node"),
        "--check",
        "-",
        text=f"async (element, trigger, props, server, upload, watch) => {{\n{script(name)}\n}};",
    )


def test_the_lint_finds_nothing():
    run(ESLINT, "-c", ".eslint.config.mjs", "assets", "tests/js")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_lines_have_120_columns_at_most(path):
    long = [i for i, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if len(line) > 120]
    assert not long, f"{path}: lines {long}"
