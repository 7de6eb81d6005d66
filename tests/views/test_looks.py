"""Colours, marks and limits stand once, in ddgan/views/looks.py:
scripts, style sheet, exports and figures have them from there.
"""

import json
import re
from pathlib import Path

import pytest

from ddgan.data.points import MAX_NAMED
from ddgan.evidence import figures
from ddgan.explorer.plane import LIMIT
from ddgan.ui.canvas import script
from ddgan.views import looks, picture, stage

ROOT = Path(__file__).parents[2]
HOME = ROOT / "ddgan" / "views" / "looks.py"
SCRIPTS = sorted((ROOT / "assets").glob("*.js"))
PAGE = [*SCRIPTS, ROOT / "assets" / "app.css"]
PYTHON = [path for path in sorted((ROOT / "ddgan").rglob("*.py")) if path != HOME]
OF_THEMES = {colour for pair in looks.COLOURS.values() for colour in pair}
EVERY = OF_THEMES | {*looks.HEAT} | {mark.colour for mark in looks.SERIES.values() if mark.colour.startswith("#")}


def written_again(text: str) -> set[str]:
    """The colours of the tables that a text has too, as #rrggbb or as three numbers."""
    triplets = {tuple(map(int, found)) for found in re.findall(r"\b(\d{1,3}), ?(\d{1,3}), ?(\d{1,3})\b", text)}
    return {colour for colour in EVERY if colour in text.lower() or looks.rgb(colour) in triplets}


@pytest.mark.parametrize("path", [*PAGE, *PYTHON], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_colour_of_the_tables_stands_a_second_time(path):
    assert not written_again(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("text", ["color: #0072B2", "rgb(0, 114, 178)", "[[0,114,178]]"])
def test_the_rule_sees_every_way_to_write_a_colour(text):
    assert written_again(text) and not written_again("#0072b, 0, 114, 1780")


def test_what_the_page_uses_is_in_the_table_and_the_table_holds_no_more():
    text = "".join(path.read_text(encoding="utf-8") for path in PAGE)
    handed = set(re.findall(r"--look-([\w-]+):", looks.css()))
    named = set(re.findall(r"var\(--look-([\w-]+)\)", text)) | set(re.findall(r"\bcolours?\(?\)?\('([\w-]+)'\)", text))
    listed = re.findall(r"themeOf\(([^)]*)\)", text)
    named |= {name for names in listed for name in re.findall(r"'([\w-]+)'", names)}
    shades = {name for name in handed if name.startswith("shade-")}
    assert named <= handed and handed - named == shades and len(listed) == 4
    assert "colour(`shade-${i}`)" in text and "var(--look-shade-${" in text
    others = {name for name in re.findall(r"var\(--([\w-]+)", text) if re.match("stage|why|draw|live", name)}
    assert others <= set(re.findall(r"--([\w-]+):", text)), "a property that nobody sets"


def test_both_themes_have_every_property():
    light, dark = looks.css().splitlines()
    assert light.startswith(":root {") and dark.startswith(".dark {")
    assert re.findall(r"--look-[\w-]+", light) == re.findall(r"--look-[\w-]+", dark)
    assert "--look-sample: #0072b2;" in light and "--look-sample: #62bdf2;" in dark


def test_every_script_has_the_limits_from_python():
    for name in ("stage", "image_grid", "posterior", "why", "paint"):
        first, _, rest = script(name).partition("\n")
        handed = json.loads(first.removeprefix("const LOOKS = ").removesuffix(";"))
        assert (
            handed["limit"] == LIMIT and handed["followed"] == looks.FOLLOWED and len(handed["heat"]) == len(looks.HEAT)
        )
        assert set(re.findall(r"LOOKS\.(\w+)", rest)) <= handed.keys()
    for path in SCRIPTS:
        assert (
            not re.search(r"\blimit\s*[:=]\s*[\d.]", path.read_text(encoding="utf-8"), re.I)
            or path.stem == "points_board"
        ), path


def test_layers_metrics_and_the_most_points_of_a_board_are_those_of_the_library():
    text = (ROOT / "assets" / "stage.js").read_text(encoding="utf-8")
    layers, metrics = (
        re.search(rf"const {name} = \[(.*?)^\];", text, re.M | re.S)[1] for name in ("LAYERS", "METRICS")
    )
    assert re.findall(r"^  \['(\w+)', .*?(true|false)", layers, re.M) == [
        (name, str(name in picture.FIRST).lower()) for name in picture.LAYERS
    ]
    assert re.findall(r"^  \['(\w+)',", metrics, re.M) == [key for key in stage.METRICS if key not in ("floor", "of")]
    board = (ROOT / "assets" / "points_board.js").read_text(encoding="utf-8")
    assert re.findall(r"const LIMIT = (\d+);", board) == [str(MAX_NAMED)]


def test_exports_have_the_light_colours_and_figures_the_marks():
    light = {name: looks.rgb(colour) for name, (colour, _) in looks.COLOURS.items()}
    assert (picture.SAMPLE, picture.PREDICTED, picture.HELD) == (light["sample"], light["x0"], light["focus"])
    assert (picture.DENSITY, picture.PLOT, picture.INK) == (light["density"], light["plot"], light["ink"])
    of = {
        trace.name: trace.marker.color
        for trace in figures.dots({"row": {n: [1.0] for n in looks.SERIES}}, "share", "").data
    }
    named = {name: mark.colour for name, mark in looks.SERIES.items() if mark.colour.startswith("#")}
    assert {name: of[name] for name in named} == named


def luminance(colour: str) -> float:
    """Relative luminance of sRGB, as WCAG 2 defines it."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in looks.rgb(colour))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_letters_are_legible_on_paper_and_plots_in_both_themes():
    for theme in (0, 1):
        for ground in ("paper", "plot"):
            for name in ("ink", "muted", "focus"):
                one, other = sorted(luminance(looks.COLOURS[of][theme]) for of in (name, ground))
                assert (other + 0.05) / (one + 0.05) >= 4.5, (name, ground, theme)
