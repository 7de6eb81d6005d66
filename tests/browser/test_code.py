"""Copy as code: the menu under the stage gives what the library makes of the request that is shown."""

import pytest
from test_click import answered

from ddgan.explorer.request import Request
from ddgan.views.code import KINDS, snippets

ASKED = Request("rings", ("exact", "mean"), T=3, seed=7, n=500)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_one_click_opens_the_menu_and_one_copies(visit, address, width, dark):
    page = visit("?" + ASKED.to_query(), width=width, dark=dark)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    menu = page.locator(".code").first
    menu.get_by_role("button", name="Copy as code").click()
    page.wait_for_function(
        "[...document.querySelectorAll('.code')]"
        ".some(c => c.dataset.id?.includes('rings') && c.querySelector('pre').textContent)"
    )
    expected = snippets(ASKED, address.rstrip("/") + "/")
    for kind, name in KINDS.items():
        menu.get_by_role("button", name=name, exact=True).click()
        menu.get_by_text(f"{name} copied.").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == expected[kind]
    scroll, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert scroll <= inner, "the page must not scroll sideways"
    page.keyboard.press("Escape")
    assert menu.locator(".code-menu").is_hidden()


def test_the_menu_is_in_sight_once_it_is_open(visit):
    page = visit("?n=500", width=1366, height=768)
    answered(page)
    page.evaluate("scrollTo(0, 0)")
    page.focus(".code-open >> nth=0")
    page.keyboard.press("Enter")
    page.wait_for_function(
        """() => { const { top, bottom } = document.querySelector('.code-menu').getBoundingClientRect();
          return top >= 0 && top < bottom && bottom < innerHeight + 1; }""",
        timeout=10_000,
    )
