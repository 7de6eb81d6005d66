"""How the source looks: functions fit a screen, lines fit 120 columns."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(ROOT.glob("ddgan/**/*.py"))}
SCREEN = 60  # lines of a function
COLUMNS = 120


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Each function's name, and its lines from `def` to its end."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("path", SOURCES)
def test_a_function_fits_a_screen(path):
    assert not {f"{path}:{name}": lines for name, lines in functions(SOURCES[path]) if lines > SCREEN}


@pytest.mark.parametrize("path", SOURCES)
def test_a_line_fits_its_columns(path):
    lines = enumerate(SOURCES[path].splitlines(), 1)
    assert not [f"{path}:{number}" for number, line in lines if len(line) > COLUMNS]


def test_the_rule_counts_a_function_within_another_on_its_own():
    source = "def outer():\n    async def inner():\n        pass\n\n    return inner\n"
    assert dict(functions(source)) == {"outer": 5, "inner": 2}
