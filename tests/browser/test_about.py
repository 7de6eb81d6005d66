"""The tour drives the real controls; links choose tabs and leave parts out."""

import pytest
from test_page import STAGE, drawn

from ddgan.explorer.request import Request

# all three panels are to be seen above the card
IN_VIEW = """() => { const card = document.querySelector('.tour').getBoundingClientRect().top;
  const plots = [...document.querySelectorAll('#stage canvas')].map(c => c.getBoundingClientRect());
  return plots[0].top >= 0 && plots[2].bottom <= card; }"""


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844), (390, 664)])
def test_the_tour_drives_the_real_controls(visit, width, height):
    page = visit(
        "?T=2&data=rings&n=500&schedule=cosine&span=0.1,0.9&denoisers=gaussian,ddgan", width=width, height=height
    )
    page.click("[data-tour]")
    steps = []
    for step in range(8):
        page.wait_for_function(f"document.querySelector('.tour').dataset.step === '{step}'", timeout=60_000)
        request = Request.from_query(drawn(page))
        steps.append((request.data, request.T))
        assert (request.schedule, request.span) == ("optimal" if step == 6 else "vp", None)
        if step != 5:
            assert request.denoisers == ("exact", "ddgan", "gaussian")
        if step < 4:
            page.wait_for_function(IN_VIEW)
        assert page.inner_text(".tour-count") == f"{step + 1} of 8"
        if step == 2:
            assert page.is_checked(f"{STAGE} [data-layer=x0]")
        if step == 3:
            assert page.evaluate(f"document.querySelector('{STAGE}').stage.run().item") is not None
        page.click(".tour [data-go=next]")
    assert steps == [("25-gaussians", 4)] * 5 + [("25-gaussians", 64), ("25-gaussians", 4), ("25-gaussians", 4)]
    assert page.get_by_role("tab", name="Why").get_attribute("aria-selected") == "true"
    assert page.is_hidden(".tour")


def test_a_link_chooses_the_tab_and_leaves_parts_out(visit):
    page = visit("?hide=controls,posterior&T=3")
    assert page.is_hidden(".controls") and page.is_hidden("#posterior") and page.is_visible(STAGE)
    page = visit("?T=3")
    page.get_by_role("tab", name="About").click()
    page.wait_for_function("location.search.includes('tab=about')")
    page.get_by_role("heading", name="What you are looking at").wait_for()
