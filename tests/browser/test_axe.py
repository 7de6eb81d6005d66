"""What axe-core finds wrong for those who cannot see, or not well, or use no mouse, on every tab: nothing that is ours.

$AXE is the path of its axe.min.js: `npm install axe-core` puts it into node_modules/axe-core.
"""

import os
from pathlib import Path

import pytest
from conftest import missing
from test_strips import EXPLORER
from test_train import LIVE, WHILE
from test_why import RACE, WHY

# what is Gradio's and cannot be mended from here: (rule, selector of the element) -> why
GRADIOS = {
    ("image-redundant-alt", "footer button.settings img"): "the icon of the footer's Settings repeats its text",
}
OPENED = {
    "Denoise": ".posterior[data-answer]",
    "Images": f"{EXPLORER}[data-truth='done']",
    "Why": f"{WHY}[data-ready='1']",
    "Train": f"{LIVE}[data-ready='1']",
    "Evidence": "#evidence-oracle table",
    "About": ".about .katex",
}
TAB = """name => [...document.querySelectorAll('[role=tab]')]
  .find(button => button.textContent.trim() === name).click()"""
UNFOLD = "document.querySelectorAll('.label-wrap:not(.open)').forEach(fold => fold.checkVisibility() && fold.click())"
FOUND = """async ([gradios, rules]) => (await axe.run({
  resultTypes: ['violations'], ...(rules && { runOnly: rules }) })).violations.flatMap(({ id, nodes }) => nodes
  .filter(({ target }) => !gradios.some(([rule, of]) => rule === id && document.querySelector(target[0])?.matches(of)))
  .map(({ html, failureSummary }) => `${id}: ${html.slice(0, 200)} ${failureSummary}`))"""


@pytest.fixture
def axe():
    path = os.environ.get("AXE")
    if not path or not Path(path).is_file():
        missing("axe-core, its axe.min.js at $AXE,")
    return Path(path).read_text(encoding="utf-8")


def unfold(page, tab):
    """Bring about what a tab has to show."""
    page.evaluate(UNFOLD)
    if tab == "Denoise":
        page.locator(".posterior").scroll_into_view_if_needed()
        page.click(".code-open:visible")
        page.click(".posterior-fold summary")
        page.wait_for_selector(".posterior-fold[data-landscape]", timeout=WHILE)
    if tab == "Why":
        page.wait_for_selector(f"{RACE}[data-drawn]", timeout=WHILE)
        page.click("#race-run")
        page.wait_for_selector(f"{RACE}:not([data-entries='0'])", timeout=WHILE)
        page.locator("#race-stop").dispatch_event("click")  # by now it may be over
        page.click(f"{RACE} summary")
    if tab == "Evidence":
        page.wait_for_selector(OPENED[tab], timeout=WHILE)
        page.evaluate("document.querySelectorAll('#evidence details').forEach(fold => { fold.open = true; })")
    if tab == "About":
        page.locator(".about .gloss").first.focus()
    if tab == "Train":
        page.click("#one-step")
        page.wait_for_selector(f"{LIVE}[data-state='paused']", timeout=WHILE)
        page.click("#stop")
    page.wait_for_selector(OPENED[tab], timeout=WHILE)


# dark or light, once colours on their way have arrived, or are no longer on their way
TURN = """async dark => {
  document.body.classList.toggle('dark', dark);
  await new Promise(done => setTimeout(done, 500));
  await Promise.allSettled(document.getAnimations().filter(a => a instanceof CSSTransition).map(a => a.finished)); }"""


def found_on(page):
    """What axe finds in light, and what in dark, of which only colours differ."""
    page.evaluate(TURN, False)
    light = page.evaluate(FOUND, [list(GRADIOS), None])
    page.evaluate(TURN, True)
    dark = page.evaluate(FOUND, [list(GRADIOS), ["color-contrast"]])
    page.evaluate(TURN, False)
    return light + [f"dark: {line}" for line in dark]


@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_on_any_tab_in_light_and_dark(visit, axe, width):
    page = visit("?n=500&race=8-gaussians,cosine,energy", width=width)  # a race that no other test looks at
    page.evaluate(axe)
    found = {}
    for tab in OPENED:
        page.evaluate(TAB, tab)
        page.wait_for_selector("[role=tabpanel]:visible")
        unfold(page, tab)
        found[tab] = found_on(page)
    page.click("[data-tour]")
    page.wait_for_selector(".tour[data-step='0']", timeout=WHILE)
    found["tour"] = found_on(page)
    assert found == dict.fromkeys(found, []), "\n".join(line for lines in found.values() for line in lines)
