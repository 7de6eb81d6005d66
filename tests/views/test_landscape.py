"""The landscape at one x_t: one camera and one scale for all its surfaces, and a file that needs nothing else."""

import html
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from plotly import graph_objects as go
from plotly.offline import get_plotlyjs

from ddgan.explorer.posterior import Question, landscape
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.views.encoding import encoded
from ddgan.views.landscape import MARK, PLANE, _figure, page, saved, shown, write
from ddgan.views.looks import mixed

SESSION = Session()
ADDRESS = "https://example.org/explorer/"
ASKED = Question(Request(T=4), 1, (0.3, 0.2), "x_s")
FIGURE = _figure(landscape(SESSION, ASKED), ASKED, PLANE)
SCENES = [FIGURE.layout[trace.scene] for trace in FIGURE.data]


def test_a_surface_is_the_root_of_its_density_and_all_have_one_scale():
    densities = landscape(SESSION, ASKED).densities
    assert [trace.name for trace in FIGURE.data] == ["truth", "ddgan", "gaussian"] == list(densities)
    for trace, p in zip(FIGURE.data, densities.values(), strict=True):
        assert np.allclose(np.square(trace.z), p.T, rtol=1e-5), "rows are of y"
    assert len({(trace.cmin, trace.cmax) for trace in FIGURE.data}) == 1
    assert len({scene.zaxis.range for scene in SCENES}) == len({scene.xaxis.range for scene in SCENES}) == 1
    top = max(float(p.max()) for p in densities.values()) ** 0.5
    assert top <= SCENES[0].zaxis.range[1] < 1.1 * top, "nothing is cut"


def test_the_axis_says_that_it_is_of_roots():
    places, texts = SCENES[0].zaxis.tickvals, SCENES[0].zaxis.ticktext
    assert np.allclose(np.square(places), [float(text) for text in texts]) and places[0] == 0 < places[1] < places[2]
    assert [note.text for note in FIGURE.layout.annotations].count("↑ density, √ scale") == len(SCENES)


def test_all_scenes_have_one_camera_and_turn_by_our_script_alone():
    assert all(scene.camera == SCENES[0].camera and scene.dragmode is False for scene in SCENES)
    assert len({trace.scene for trace in FIGURE.data}) == len(FIGURE.data)


@pytest.mark.parametrize("kind", ["themes", "shapes"])
def test_themes_and_shapes_set_the_same_and_plotly_knows_all_of_it(kind):
    one, other = FIGURE.layout.meta[kind].values()
    assert one.keys() == other.keys() and one != other
    for path, value in other.items():
        changed = go.Figure(FIGURE)
        changed[path] = value  # plotly refuses what it does not know
    for path, value in one.items():
        assert json.dumps(value) in json.dumps(FIGURE.to_plotly_json(), default=str), path


def test_scenes_do_not_overlap_beside_or_below_each_other():
    for shape, side in (("wide", "x"), ("narrow", "y")):
        paths = FIGURE.layout.meta["shapes"][shape]
        domains = sorted(tuple(value[side]) for path, value in paths.items() if path.endswith("domain"))
        assert all(0 <= low < high <= 1 for low, high in domains)
        assert all(a[1] <= b[0] + 1e-9 for a, b in zip(domains, domains[1:], strict=False))


def test_a_table_has_its_own_units_and_a_halved_view_its_own_ticks(tmp_path):
    path = tmp_path / "people.csv"
    rng = np.random.default_rng(0)
    rows = rng.normal((50, 40_000), (10, 5000), (200, 2))
    path.write_text("age,income\n" + "\n".join(f"{a:.1f},{b:.0f}" for a, b in rows))
    request = Request.parse({"data": str(path), "denoisers": "exact"}, local=True)
    asked = Question.of_words(request, "2,0,0,x_0", SESSION.law(str(path)))
    found = shown(SESSION, asked)
    x, y = (found["figure"]["layout"]["scene"][f"{side}axis"] for side in "xy")
    assert (x["title"]["text"], y["title"]["text"]) == ("age", "income")
    assert "40,000" in y["ticktext"] and re.search(r"= \(\d\d\.\d\d, \d\d,\d\d\d\)", found["lead"])
    near = shown(SESSION, Question(Request(T=8, schedule="geometric"), 1, (0.7, 0.7), "x_s"))["figure"]["layout"][
        "scene"
    ]
    low, high = near["xaxis"]["range"]
    places, texts = near["xaxis"]["tickvals"], [float(text.replace("−", "-")) for text in near["xaxis"]["ticktext"]]
    assert (
        high - low < 3
        and np.allclose(np.subtract(texts, places), texts[0] - places[0])
        and 0.6 < texts[0] - places[0] < 0.8
    )


def test_the_page_is_told_all_of_it_as_strict_json():
    found = json.loads(encoded(shown(SESSION, ASKED)))
    assert {"figure", "lead", "note", "title", "plotly"} == found.keys()
    assert "vp" in found["note"] and "T = 4" in found["note"] and "8,000 draws" in found["note"]
    assert len(encoded(found)) < 400_000


def test_without_a_ddgan_there_are_two_surfaces():
    alone = shown(SESSION, replace(ASKED, request=Request(denoisers=("exact", "mean"))))["figure"]
    assert [trace["name"] for trace in alone["data"]] == ["truth", "gaussian"]


def test_the_file_is_whole_names_its_link_and_needs_no_network(tmp_path):
    write(tmp_path / "x.html", SESSION, ASKED, ADDRESS)
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert text == page(SESSION, ASKED, ADDRESS).replace(MARK, get_plotlyjs()) and len(text) < 6e6
    ours = text.replace(get_plotlyjs(), "")
    assert ours.startswith("<!doctype html>") and ours.endswith("</html>\n")
    assert not re.findall(r"(?:src|href)=\"(?!https://example\.org)|url\(|@import|fetch\(", ours)
    there = html.unescape(re.search(r'name="ddgan-link" content="([^"]*)"', ours)[1])
    assert there.startswith(ADDRESS) and "&at=1,0.3,0.2,x_s&landscape=1" in there
    assert Request.from_query(there.split("?")[1]) == ASKED.request
    assert ours.count(html.escape(there)) == 2, "also as a link"
    assert "Open in the explorer" not in page(SESSION, ASKED), "which has no address"


def test_what_the_page_saves_is_the_file():
    found = saved(SESSION, ASKED, ADDRESS)
    assert found["page"] == page(SESSION, ASKED, ADDRESS) and found["page"].count(found["mark"]) == 1
    assert found["name"] == "ddgan-25-gaussians-T4-t1-x_s.html"


def test_mixed_goes_from_one_colour_to_the_other():
    assert [mixed("#102030", "#ffffff", share) for share in (0, 0.5, 1)] == ["#102030", "#889098", "#ffffff"]
