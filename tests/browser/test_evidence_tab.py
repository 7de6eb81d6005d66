"""The tab Evidence: a page one reads, its numbers are there, its buttons open the real setting."""

import pytest
from test_page import STAGE, drawn, on_paper

from ddgan.evidence import EXPERIMENTS
from ddgan.explorer.request import Request

FIGURES = "document.querySelectorAll('#evidence .js-plotly-plot:has(.subplot)').length"
PLOTTED = len(EXPERIMENTS) - 1  # one shows images


def test_the_tab_is_read_in_a_few_screens_and_what_is_behind_folds_is_hidden(visit):
    page = visit("?tab=evidence", width=1366, height=768, ready="#evidence-oracle table")
    page.wait_for_function(f"{FIGURES} === {PLOTTED}", timeout=60_000)
    assert page.evaluate("document.querySelector('#evidence').getBoundingClientRect().height") < 4000
    for name in EXPERIMENTS:
        part = page.locator(f"#evidence-{name}")
        assert part.locator(".evidence-beside tbody tr").count() in range(2, 5), name
        assert part.locator(".evidence-table").is_hidden() and part.locator(".evidence-command").first.is_hidden()
    page.click("#evidence-oracle summary")
    numbers = page.locator("#evidence-oracle .evidence-table tbody th").first
    assert numbers.is_visible() and numbers.inner_text() == "T = 1, std .018", "the law that the sentence is about"
    page.get_by_text("What the measures mean").click()
    assert page.locator("#evidence dd").first.is_visible()


def test_a_fold_has_the_whole_figure_where_the_page_shows_a_part_of_it(visit):
    page = visit("?tab=evidence", ready="#evidence-oracle table")
    whole = page.locator("#evidence img[data-of]")
    names = [whole.nth(k).get_attribute("data-of") for k in range(whole.count())]
    assert names == [e.name for e in EXPERIMENTS.values() if e.chosen] and whole.first.get_attribute("src") is None
    for name in ("rivals", "edits"):
        page.click(f"#evidence-{name} summary")
        page.wait_for_function(f"document.querySelector('#evidence-{name} img[data-of]').naturalWidth > 300")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_tab_shows_every_experiment_and_opens_its_setting(visit, width, dark):
    page = visit("?tab=evidence", width=width, dark=dark, ready="#evidence-oracle table")
    assert page.locator("#evidence .block.evidence-part h3").count() == len(EXPERIMENTS)
    page.wait_for_function(f"{FIGURES} === {PLOTTED}", timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    figure = page.locator("#evidence-oracle .js-plotly-plot")
    assert figure.bounding_box()["width"] > 250
    for part in (".xtick text", ".infolayer .ytitle", ".legendtext", ".gtitle"):
        colour = page.evaluate(f"getComputedStyle(document.querySelector('#evidence-oracle {part}')).fill")
        assert (sum(map(int, colour[4:-1].split(","))) > 380) is dark, part
    behind = page.evaluate("""[...document.querySelectorAll('#evidence-oracle :is(.evidence-figure, .main-svg)')]
      .map(part => getComputedStyle(part).backgroundColor)""")
    assert {*behind} == {"rgba(0, 0, 0, 0)"}, "no box"
    assert page.locator(".modebar-btn").count() == 0
    page.locator("#evidence-oracle .evidence-open").focus()
    with page.context.expect_page() as opened:  # beside this one, in which a model may be in training
        page.keyboard.press("Enter")
    page = opened.value
    page.wait_for_selector(f'{STAGE}[data-ready="1"]', timeout=60_000)
    request = Request.from_query(drawn(page))
    assert (request.T, request.denoisers) == (4, ("exact", "gaussian", "mean"))
    assert page.get_by_role("tab", name="Denoise").get_attribute("aria-selected") == "true"


def test_a_mark_tells_its_value(visit):
    page = visit("?tab=evidence", ready="#evidence-oracle .js-plotly-plot .subplot")
    page.locator("#evidence-oracle .scatterlayer .trace >> nth=0").locator(".points path >> nth=2").hover(force=True)
    page.wait_for_selector("#evidence-oracle .hovertext")
    assert page.locator("#evidence-oracle .hovertext").text_content() == "exact lawdenoising steps T: 4100.0%"


def test_plotly_comes_with_the_tab_and_from_the_server(visit):
    page, asked = visit(), []
    assert not page.evaluate("performance.getEntriesByType('resource').some(({ name }) => name.includes('Plotly'))")
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("tab", name="Evidence").click()
    page.wait_for_function(f"{FIGURES} === {PLOTTED}", timeout=60_000)
    here = page.evaluate("location.origin")
    assert any("Plotly" in url for url in asked)
    assert all(url.startswith((here, "data:", "blob:")) for url in asked)


def test_an_entry_of_the_list_leads_to_its_experiment(visit):
    page = visit("?tab=evidence", ready="#evidence-oracle table")
    there = "Math.abs(document.querySelector('#evidence-edits').getBoundingClientRect().top) < 300"
    page.click("#evidence nav a[href='#evidence-edits']")
    page.wait_for_function(there)
    assert page.evaluate("document.activeElement.id") == "evidence-edits", "the next Tab goes on from there"
    assert page.url.endswith("?tab=evidence#evidence-edits")
    assert page.locator("#evidence-edits .evidence-table").is_visible(), "the part is open"
    page = visit("?tab=evidence#evidence-edits", ready="#evidence-oracle table")
    page.wait_for_function(there)
    assert page.locator("#evidence-edits .evidence-table").is_visible()
    assert page.get_by_role("tab", name="Evidence").get_attribute("aria-selected") == "true"
    page.get_by_role("tab", name="About").click()
    page.wait_for_function("location.search === '?tab=about'")
    assert "#" not in page.url, "no other tab has such a part"
    page.go_back()
    page.wait_for_function("location.href.endsWith('?tab=evidence#evidence-edits')")


def test_the_name_of_an_experiment_alone_leads_to_it(visit):
    page = visit("#evidence-rivals", ready="#evidence-rivals table")
    page.wait_for_function("document.querySelector('#evidence-rivals').getBoundingClientRect().top < innerHeight / 2")
    assert page.text_content("[role=tab][aria-selected=true]").strip() == "Evidence"


def test_what_the_tab_is_about_stands_there_before_its_figures(visit):
    page = visit()
    page.route("**/queue/join*", lambda route: None)  # an answer that is long in coming
    page.get_by_role("tab", name="Evidence").click()
    page.locator("#evidence h2").wait_for()
    assert page.get_by_text("The figures are coming").is_visible()
    assert page.locator(".evidence-part").first.is_hidden()


def test_the_tab_is_filled_once(visit):
    page = visit("?tab=evidence", ready="#evidence-oracle table")
    page.evaluate("document.querySelector('#evidence h2').dataset.mine = 1")
    page.get_by_role("tab", name="About").click()
    with page.expect_response("**/queue/join*"):
        page.get_by_role("tab", name="Evidence").click()
    page.wait_for_timeout(1000)
    assert page.locator("#evidence h2[data-mine]").is_visible()


def test_a_command_can_be_copied(visit):
    page = visit("?tab=evidence", ready="#evidence-oracle table")
    page.click("#evidence-speed summary")
    page.click("#evidence-speed [data-copy]")
    page.get_by_role("button", name="Copied").wait_for()


@pytest.mark.parametrize("name", ["schedules", "rivals"])
def test_on_a_phone_a_races_legend_leaves_room_for_its_plots_and_its_caption_is_whole(visit, name):
    page = visit("?tab=evidence", width=390, height=844, ready="#evidence-oracle table")
    figure = page.locator(f"#evidence-{name} .js-plotly-plot")
    figure.locator(".subplot").first.wait_for(state="attached")
    figure.scroll_into_view_if_needed()
    whole, caption, legend, title, plot = (
        figure.locator(part).first.bounding_box()
        for part in ("svg", ".gtitle", ".legend", ".annotation-text", ".nsewdrag")
    )
    assert caption["x"] + caption["width"] <= whole["x"] + whole["width"]
    assert legend["y"] + legend["height"] <= title["y"] + 2 and plot["height"] >= 80


def test_paper_is_light_and_each_part_is_whole_on_its_page(visit):
    page = visit("?tab=evidence", dark=True, ready="#evidence-oracle table")
    part = "document.querySelector('#evidence-oracle')"
    ink = on_paper(page, f"getComputedStyle({part}).color")
    assert sum(map(int, ink[4:-1].split(","))) < 380 and page.is_hidden("body.dark")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.is_visible("body.dark")
    around = on_paper(
        page,
        """[...document.querySelectorAll('body :has(#evidence-oracle), #evidence-oracle')].map(box =>
          [getComputedStyle(box).display, box.tagName, box.id, box.className].join(' '))""",
    )
    others = [box for box in around if not box.startswith("block ")]
    assert others == [], "Chromium cuts a flex or a grid off at the end of a page"
    assert on_paper(page, f"getComputedStyle({part}).breakInside") == "avoid"
    page.get_by_role("tab", name="About").click()
    page.wait_for_selector(".about .katex")
    assert not on_paper(page, f"{part}.checkVisibility()"), "another tab's"
