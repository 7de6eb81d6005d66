"""The figure of a race holds the session's numbers, in looks that differ without colour,
and words say what it hides.
"""

import json
import math
import re
from itertools import groupby

import pytest
from plotly import graph_objects as go
from test_looks import luminance

from ddgan.diffusion.gaussianity import bound, optimal, step_gap
from ddgan.diffusion.schedule import Schedule
from ddgan.errors import Refused
from ddgan.explorer import race as races
from ddgan.explorer.methods import GROUPS, METHODS
from ddgan.explorer.race import Entry, Race
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.ui.canvas import script
from ddgan.ui.race import _QUESTION, streamed
from ddgan.views import looks
from ddgan.views.answers import label
from ddgan.views.encoding import encoded
from ddgan.views.race import MEASURES, drawing, shown, table

LINE = "4-gaussians-1d"


@pytest.fixture(scope="module")
def race():
    """A race of one and two steps on a line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(races, "STEPS", (1, 2))
        found = Race(Session(), LINE, "geometric")
        for _ in found.run():
            pass
    return found


def entry(method="ddim", T=4, refusal=None, **scores):
    known = {
        "modes": 25,
        "of_modes": 25,
        "on_mode": 1.0,
        "kl": 0.01,
        "width": 1.0,
        "sliced_w2": 0.05,
        "energy": 0.1,
        "floor_energy": 0.001,
    }
    return Entry(method, T, METHODS[method].solver.nfe(T), None if refusal else {**known, **scores}, refusal)


@pytest.mark.parametrize("measure", MEASURES)
def test_the_numbers_of_the_figure_and_of_the_table_are_the_sessions(race, measure):
    found = go.Figure(drawing([*race.entries.values()], measure, LINE, "geometric"))
    assert found.layout.xaxis.type == "log"
    assert {trace.name for trace in found.data} == {label(method) for method, _ in race.entries}
    rows = {line[1]: line[2:] for line in table([*race.entries.values()], measure)[1:]}
    for trace in found.data:
        method = next(name for name in METHODS if label(name) == trace.name)
        for k, (T, x, value) in enumerate(zip((1, 2), trace.x, trace.customdata, strict=False)):
            request = Request(LINE, (method,), T, "geometric")
            *_, last = race.session.run(request, method)
            score = race.session.score(request, last.x_s)
            assert value == score[measure] or (value is None and not math.isfinite(score[measure]))
            assert x == METHODS[method].solver.nfe(T)
            height = max(score[measure], score["floor_energy"]) if measure == "energy" else value
            assert trace.y[k] == height or trace.y[k] is None
            written = MEASURES[measure].form.format(score[measure])
            assert rows[trace.name][k].partition(" (")[0] == (written if value is not None else "–")
            for words in (
                trace.name,
                METHODS[method].group,
                f"T = {T}",
                f"{x} evaluation",
                "geometric",
                "4 Gaussians on a line",
                "on a mode",
            ):
                assert words in trace.text[k], "the pointer is told all that a number depends on"
            assert f"<b>{written}</b>" in trace.text[k] and f"{score['modes']} of 4 modes" in trace.text[k]


def test_what_chance_cannot_tell_from_the_law_stands_on_the_floor_and_is_hollow():
    found = drawing([entry(T=2, energy=-0.0002), entry(T=4, energy=0.02)], "energy", LINE, "vp")
    (line,) = found["data"]
    assert line["y"] == [0.001, 0.02] and line["marker"]["symbol"] == ["triangle-down-open", "triangle-down"]
    assert found["layout"]["shapes"][0]["y0"] == 0.001


def test_a_share_on_a_mode_is_hollow_where_modes_are_missing_and_never_the_first_measure():
    found = drawing([entry(T=1, modes=1), entry(T=4)], "on_mode", "25-gaussians", "vp")
    (line,) = found["data"]
    assert line["y"] == [1.0, 1.0] and line["marker"]["symbol"] == ["triangle-down-open", "triangle-down"]
    assert "1 of 25 modes" in line["text"][0] and next(iter(MEASURES)) == "energy"
    assert table([entry(T=1, modes=1)], "on_mode")[1][2] == "100.0% (1)"


def test_what_is_not_finite_has_no_place():
    (line,) = drawing([entry(T=1, kl=math.inf), entry(T=2, width=math.nan)], "kl", LINE, "vp")["data"]
    assert line["y"] == [None, 0.01] and line["customdata"] == [None, 0.01]
    encoded(drawing([entry(width=math.nan)], "width", LINE, "vp"))  # which refuses what JSON has no word for


def test_the_lines_of_a_group_stand_together_under_its_name_with_its_dash(race):
    found = drawing([*race.entries.values()], "energy", LINE, "geometric")["data"]
    runs = [(group, [*of]) for group, of in groupby(found, lambda trace: trace["legendgroup"])]
    assert [group for group, _ in runs] == [group for group in GROUPS if group in dict(runs)]
    for group, of in runs:
        assert [trace.get("legendgrouptitle", {}).get("text") for trace in of] == [group] + [None] * (len(of) - 1)
        assert {trace["line"]["dash"] for trace in of} == {looks.DASHES[group]}


def test_methods_are_told_apart_by_colour_in_a_group_and_without_it_everywhere():
    known = [name for name in METHODS if name != "official"]
    assert {*looks.RUNNERS} == {*known} and len({*looks.DASHES.values()}) == len(looks.DASHES) == len(GROUPS) - 1
    assert len({looks.RUNNERS[name].shape for name in known}) == len(known)
    for group in looks.DASHES:
        colours = [looks.RUNNERS[name].colour for name in known if METHODS[name].group == group]
        assert len({*colours}) == len(colours), group
    for mark in looks.RUNNERS.values():
        colour = looks.INK if mark.colour == "currentColor" else mark.colour
        assert all(abs_contrast(colour, paper) >= 3 for paper, _ in (looks.COLOURS["paper"], ("#000000", "")))


def abs_contrast(colour, other):
    one, two = sorted(map(luminance, (colour, other)))
    return (two + 0.05) / (one + 0.05)


def test_refusals_of_one_model_are_one_sentence(race):
    said = Race(race.session, "25-gaussians", "vp")
    why = Refused("this model knows up to 50 steps of vp: choose 50 or fewer")
    for name in ("regression", "learned-ddim"):
        for T in (32, 64):
            said.entries[name, T] = entry(name, T, refusal=why)
    words = shown(said, "energy")["words"]
    assert (
        "Learned Gaussian (DDPM), DDIM, learned: not with T = 32, 64; "
        "this model knows up to 50 steps of vp: choose 50 or fewer."
    ) in words


def test_the_words_say_who_is_at_the_floor_and_what_the_floor_hides(race):
    said = Race(race.session, "25-gaussians", "vp")
    for found in (
        entry("ddim", 64, energy=0.0005, width=0.34),
        entry("mean", 64, energy=0.2),
        entry("flow", 1, energy=0.0),
    ):
        said.entries[found.method, found.T] = found
    what, *words = shown(said, "energy")["words"]
    assert what.startswith("25 Gaussians, vp:")
    assert words == [
        "With 1: Exact flow map (100 %, 1.00).",
        "With 64: DDIM (100 %, 0.34).",
        "Not yet: Exact mean (DDPM).",
    ]


def test_a_run_is_told_of_step_by_step_and_of_every_entry_and_at_its_end(race, monkeypatch):
    monkeypatch.setattr(races, "STEPS", (1, 2))
    heard = [json.loads(text) for text in streamed(Race(race.session, LINE, "vp"), pause=0)]
    assert len({said["run"] for said in heard}) == 1 and [said["over"] for said in heard] == [False] * (
        len(heard) - 1
    ) + [True]
    counts, shares = ([said[key] for said in heard] for key in ("entries", "share"))
    assert (
        counts == sorted(counts)
        and {*range(counts[-1] + 1)} == {*counts}
        and shares == sorted(shares)
        and shares[-1] == 1
    )
    assert heard[0]["words"] == "4 Gaussians on a line, vp: 2,000 samples of Exact law, T = 1 …"
    again = [json.loads(text) for text in streamed(race, pause=0)]
    assert len(again) == 1 and again[0]["entries"] == len(race.entries), "a second run computes nothing"
    slow = [json.loads(text) for text in streamed(Race(race.session, LINE, "karras"), pause=1e9)]
    assert [said["entries"] for said in slow] == [*range(len(slow))], "where a step is long, once an entry"


def test_what_the_page_says_of_25_gaussians_is_so():
    session, said = Session(), " ".join(re.sub("<[^>]+>", "", _QUESTION).split())
    law = session.law("25-gaussians")

    def score(method, T, schedule="vp"):
        request = Request("25-gaussians", (method,), T, schedule)
        *_, last = session.run(request, method)
        return session.score(request, last.x_s)

    few = ("gaussian", "regression", "mean", "ddim", "dpm", "heun", "learned-ddim", "learned-dpm")
    assert all(score(method, 8)["on_mode"] < 0.08 for method in few) and METHODS["heun"].solver.nfe(8) == 15
    ddgan = score("ddgan", 8)
    assert f"the DDGAN {ddgan['on_mode']:.0%}".replace("%", " %") in said and ddgan["modes"] == 25
    ten, four, vp = (bound(law, schedule) for schedule in (optimal(law, 10), optimal(law, 4), Schedule.vp(4)))
    assert (
        f"with T = 10 steps is at most {ten:.2f} nats from the law" in said
        and f"that bound is {four:.2f} nats, on vp {vp:.2f}" in said
    )
    for method in ("flow", "mixture"):
        found = score(method, 1)
        assert found["modes"] == 25 and found["energy"] < found["floor_energy"], method


def test_what_the_page_says_of_the_line_is_so():
    law, vp, said = Session().law(LINE), Schedule.vp(4), " ".join(script("why").split())
    assert "lose nearly all in the last one" in said and step_gap(law, vp, 1) > 0.95 * bound(law, vp)
    assert "at T = 4 it loses a sixth of that" in said and bound(law, optimal(law, 4)) == pytest.approx(
        bound(law, vp) / 6, rel=0.05
    )
