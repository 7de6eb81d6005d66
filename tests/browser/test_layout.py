"""How the page fits a window, and comes to fit it: a phone, 200 % zoom, and no jumps while it is made."""

import pytest

STAGE = "#stage .stage"
TABS = ("Denoise", "Images", "Why", "Train", "Evidence", "About")
ROW = "[role=tablist]"
# what a tab shows once it stands
THERE = {
    "denoise": f"{STAGE}[data-ready='1'][data-opened]",
    "images": "#gallery .gallery[data-ready='1']",
    "why": "#why .why[data-ready='1']",
    "train": "#live .live[data-opened][data-run]",
    "evidence": "#evidence-oracle table",
    "about": ".about .katex",
}
SHIFTS = """window.shifts = [];
new PerformanceObserver(list => { for (const entry of list.getEntries()) shifts.push(entry); })
  .observe({ type: 'layout-shift', buffered: true });"""
SHIFTED = """() => ({
  total: shifts.filter(s => !s.hadRecentInput).reduce((sum, s) => sum + s.value, 0),
  largest: shifts.filter(s => s.value > 0.005).flatMap(s => s.sources.map(({ node, previousRect: a, currentRect: b }) =>
    `${s.value.toFixed(3)}: ${node?.outerHTML?.slice(0, 80)} ${[a.x, a.y]} to ${[b.x, b.y]}`)),
})"""

# from the end of the word that a list of Images holds to its arrow, css pixels
ROOM = """() => Object.fromEntries([...document.querySelectorAll('.images-controls .wrap-inner input')].map(input => {
  const pen = document.createElement('canvas').getContext('2d'), { font, paddingLeft } = getComputedStyle(input);
  pen.font = font;
  const end = input.getBoundingClientRect().left + parseFloat(paddingLeft) + pen.measureText(input.value).width;
  return [input.value, input.closest('.wrap').querySelector('.icon-wrap').getBoundingClientRect().left - end];
}))"""

# what is wider than its place
WIDE = """[...document.querySelectorAll('.step-machine > div')].filter(of => of.checkVisibility() &&
  of.scrollWidth > of.clientWidth + 1).map(of => of.scrollWidth)"""
# of a fold: how far the lines of its name begin from its left, and by how much it is wider than its box, css pixels
FOLD = """nodes => nodes.map(node => {
  const text = document.createRange(), { left } = node.getBoundingClientRect(), box = node.parentElement;
  text.selectNodeContents(node.firstElementChild);
  return [Math.max(...[...text.getClientRects()].map(line => line.left)) - left, box.scrollWidth - box.clientWidth];
})"""


def beyond(page):
    """By how many pixels the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def chosen_tab(page):
    return page.evaluate(
        f"""() => {{
          const row = document.querySelector('{ROW}').getBoundingClientRect();
          const {{ left, right }} = document.querySelector('[role=tab][aria-selected=true]').getBoundingClientRect();
          return left >= row.left && right <= row.right;
        }}"""
    )


def test_on_a_phone_every_tab_is_in_the_row_which_scrolls_and_fades(visit):
    page = visit("?n=500", width=390, height=844)
    tabs = page.locator(f"{ROW} [role=tab]")
    assert tuple(map(str.strip, tabs.all_inner_texts())) == TABS and beyond(page) <= 0
    assert page.get_attribute(ROW, "data-more") == "end"
    assert page.evaluate(f"getComputedStyle(document.querySelector('{ROW}')).maskImage").startswith("linear-gradient")
    tabs.last.scroll_into_view_if_needed()
    page.wait_for_selector(f"{ROW}[data-more='start']")
    for name in (*TABS[::-1], "About"):
        page.get_by_role("tab", name=name).click()
        page.wait_for_function(
            f"document.querySelector('[role=tab][aria-selected=true]').innerText.trim() === '{name}'"
        )
        page.wait_for_timeout(100)
        assert chosen_tab(page), name
    again = visit("?tab=about", width=390, height=844, ready=".about .katex")
    again.wait_for_selector(f"{ROW}[data-more='start']")
    assert chosen_tab(again), "a link's tab too"


def test_arrow_keys_walk_the_row_and_enter_chooses(visit):
    page = visit("?n=500")
    page.focus("[role=tab]")
    for key, name in {"ArrowRight": "Images", "End": "About", "Home": "Denoise", "ArrowLeft": "About"}.items():
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.innerText.trim()") == name
    assert page.get_attribute(ROW, "data-more") == "" and page.locator(STAGE).is_visible()
    page.keyboard.press("Enter")
    page.wait_for_selector(".about .katex")


def test_no_arrow_of_a_list_stands_on_the_word_that_is_chosen(visit):
    page = visit("?data=cifar10&n=4&T=1&span=0.5,10", width=320, ready=THERE["images"])
    page.wait_for_function("document.querySelector('#images-schedule input').value === 'vp (other)'")
    for width in (320, 360, 390, 600, 901, 1024, 1100, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        room = page.evaluate(ROOM)
        assert {"CIFAR-10", "each its own", "vp (other)"} < set(room) and min(room.values()) >= 0, (width, room)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_first_focus_is_a_link_to_the_picture_of_the_tab(visit, dark):
    page = visit("?n=500", dark=dark)
    for tab, inside in (("Denoise", "#stage"), ("Train", "#live"), ("About", ".about")):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_selector(f"{inside} >> nth=0")
        page.evaluate("document.activeElement.blur(); getSelection().removeAllRanges(); scrollTo(0, 0)")
        page.evaluate("document.querySelector('.skip-link').focus()")
        assert page.locator(".skip-link").bounding_box()["y"] >= 0
        address = page.url
        page.keyboard.press("Enter")
        assert page.evaluate("of => !!document.activeElement.closest(of)", inside) and page.url == address
    fresh = visit("?n=500", dark=dark)
    fresh.keyboard.press("Tab")
    assert fresh.evaluate("document.activeElement.className") == "skip-link"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_what_the_keyboard_reaches_shows_it(visit, dark):
    page = visit("?n=500", dark=dark)
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(500)
        unseen = page.evaluate("""() => {
          const look = node => [node, node.parentElement, node.closest('.wrap, label')].filter(Boolean).map(of => {
            const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(of);
            return [outlineStyle, outlineWidth, boxShadow].join();
          }).join();
          return [...document.querySelectorAll('a, button, input, select, summary, [tabindex]')].filter(node => {
            if (!node.checkVisibility() || node.disabled || node.tabIndex < 0) return false;
            node.blur();
            const before = look(node);
            node.focus({ focusVisible: true, preventScroll: true });
            return document.activeElement === node && look(node) === before;
          }).map(node => node.outerHTML.slice(0, 120));
        }""")
        assert not unseen, tab


def test_every_tab_has_a_heading(visit):
    page = visit("?n=500")
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_function(
            f"document.querySelector('[role=tab][aria-selected=true]').textContent.trim() === '{tab}'"
        )
        page.wait_for_selector("[role=tabpanel]:visible :is(h2, h3) >> nth=0", state="attached")
        first = page.wait_for_function(
            "[...document.querySelectorAll('[role=tabpanel] h2')].find(node => node.checkVisibility())?.innerText"
        )
        assert first.json_value(), tab


@pytest.mark.parametrize(("width", "height"), [(960, 540), (683, 384)])
def test_at_200_percent_three_panels_stand_side_by_side_and_nothing_is_cut(visit, width, height):
    page = visit("?n=500", width=width, height=height)
    plots = page.locator(f"{STAGE} .stage-plot")
    boxes = [plots.nth(k).bounding_box() for k in range(3)]
    assert len({round(box["y"]) for box in boxes}) == 1, "in one row"
    assert min(box["width"] for box in boxes) >= 180
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(500)
        assert beyond(page) <= 0, tab


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (390, 844)])
@pytest.mark.parametrize("tab", THERE)
def test_hardly_anything_moves_while_a_tab_is_made(browser, address, tab, width, height):
    """By Chromium's own measure, of which less than .1 is good."""
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
    context.add_init_script(SHIFTS)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{address}?tab={tab}", wait_until="domcontentloaded")
    page.wait_for_selector(THERE[tab])
    page.wait_for_timeout(1500)
    found = page.evaluate(SHIFTED)
    context.close()
    assert found["total"] < 0.05, found["largest"]


# what has the focus and a ring around it of which less than all is seen
CUT = """() => {
  const here = document.activeElement, { clipPath } = getComputedStyle(here);
  const ringed = [here, here.closest('.wrap'), here.closest('label')]
    .filter(node => node && getComputedStyle(node).outlineStyle !== 'none');
  return ringed.length !== 1 || clipPath !== 'none' || ringed.some(node => {
    const { outlineOffset, outlineWidth } = getComputedStyle(node);
    const by = parseFloat(outlineOffset) + parseFloat(outlineWidth);
    const ring = node.getBoundingClientRect();
    for (let of = node.parentElement; of !== document.body; of = of.parentElement) {
      const { display, overflowX, overflowY } = getComputedStyle(of), box = of.getBoundingClientRect();
      if (display === 'contents') continue;
      if (overflowX !== 'visible' && (ring.left - by < box.left - 1 || ring.right + by > box.right + 1)) return true;
      if (overflowY !== 'visible' && (ring.top - by < box.top - 1 || ring.bottom + by > box.bottom + 1)) return true;
    }
    return false;
  }); }"""


@pytest.mark.parametrize("width", [1366, 390])
def test_the_ring_around_what_has_the_focus_is_whole(visit, width):
    page = visit("?n=500&t=4", width=width, height=768)
    parts = {
        "Denoise": ["#data input", "#schedule input", f"{STAGE} .stage-end.here"],
        "Images": ["#images-data input", "#images-schedule input", "#images-alone input"],
        "Train": [".reset-button"],
    }
    for tab, selectors in parts.items():
        page.get_by_role("tab", name=tab).click()
        page.wait_for_selector(THERE[tab.lower()])
        for selector in selectors:
            page.locator(f"{selector} >> visible=true").first.evaluate("node => node.focus({ focusVisible: true })")
            page.wait_for_timeout(300)
            assert not page.evaluate(CUT), selector


@pytest.mark.parametrize(("width", "height"), [(683, 384), (844, 390)])
def test_in_a_low_window_the_deck_leaves_it_to_the_panels(visit, width, height):
    page = visit("?n=500", width=width, height=height)
    assert page.evaluate("""() => {
      const plot = document.querySelector('.stage-plot');
      plot.scrollIntoView({ block: 'start' });
      const { left, top } = plot.getBoundingClientRect();
      return plot.contains(document.elementFromPoint(left + 20, top + 20)); }""")


# elements that a finger has to hit and that are lower than 24 css pixels
LOW = """() => [...document.querySelectorAll(
  '.label-wrap, .reset-button, .evidence-open, [type=range], .tab-like-container [type=number]')]
  .filter(node => node.checkVisibility() && node.getBoundingClientRect().height < 24)
  .map(node => node.outerHTML.slice(0, 120))"""


def test_what_a_finger_has_to_hit_is_24_pixels_high(visit):
    page = visit("?n=500", width=390, height=844)
    for opened in ("#range", "#own"):
        page.click(f"{opened} .label-wrap")
        page.wait_for_selector(f"{opened} [type=range]")
    for tab in ("Denoise", "Images", "Train", "Evidence"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_selector(THERE[tab.lower()])
        if tab == "Images":
            page.click("#paint .label-wrap")
            page.wait_for_selector("#paint [type=range]")
        page.wait_for_timeout(300)
        assert page.evaluate(LOW) == [], tab


@pytest.mark.parametrize("width", [390, 683])
def test_the_diagram_of_a_step_can_be_read(visit, width):
    size = "node => parseFloat(getComputedStyle(node).fontSize) * (node.getScreenCTM?.().a ?? 1)"
    for query, tab in (("?n=500", "denoise"), ("?data=mnist&n=4", "images")):
        page = visit(query, width=width, height=844, ready=THERE[tab])
        page.locator(".step-machine .D .small >> visible=true").wait_for(state="attached")
        small = page.locator(".step-machine text, .stage-metrics dd small").evaluate_all(
            f"nodes => nodes.filter(node => node.checkVisibility() && node.textContent).map({size})"
        )
        assert len(small) >= 9 and min(small) >= 11, tab
        assert beyond(page) <= 0
        page.emulate_media(media="print")
        assert page.evaluate(WIDE) == [], "paper does not scroll"


def test_on_a_phone_the_names_of_folds_begin_at_their_left_and_their_arrows_are_whole(visit):
    page = visit("?data=mnist&n=4", width=390, height=844, ready=THERE["images"])
    folds = page.locator(".label-wrap >> visible=true").evaluate_all(FOLD)
    assert len(folds) >= 3
    for left, beyond_box in folds:
        assert left < 2 and beyond_box <= 0
