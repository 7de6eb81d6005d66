"""A page that is dark on the screen is printed light, its canvases too."""

import pytest
from test_page import STAGE

# the mean lightness of a canvas, from 0 to 1
SEEN = """of => {
  const canvas = document.querySelector(of), { width, height } = canvas;
  const paper = new OffscreenCanvas(width, height).getContext('2d');
  paper.fillStyle = getComputedStyle(canvas.parentNode).backgroundColor;
  paper.fillRect(0, 0, width, height);
  paper.drawImage(canvas, 0, 0);
  const { data } = paper.getImageData(0, 0, width, height);
  return data.reduce((sum, v, k) => k % 4 < 3 ? sum + v : sum, 0) / (765 * width * height);
}"""


@pytest.mark.parametrize(
    ("query", "canvas"),
    [
        ("", f"{STAGE} canvas"),
        ("?tab=why", ".why-figure .why-plot canvas"),
        ("?tab=train", "#live .live-surface canvas"),
    ],
)
def test_what_is_drawn_on_a_dark_page_is_printed_light_and_is_dark_after_it(visit, query, canvas):
    page = visit(query, dark=True, ready=canvas)
    page.wait_for_function(f"of => ({SEEN})(of) < 0.4", arg=canvas)
    page.evaluate(
        f"of => addEventListener('afterprint', () => {{ window.printed = ({SEEN})(of); }}, {{ once: true }})", canvas
    )
    page.pdf()
    assert page.evaluate("printed") > 0.6, "as it is when the print ends, before a frame"
    page.wait_for_function(f"of => ({SEEN})(of) < 0.4", arg=canvas)


def test_the_rest_of_the_last_sheet_is_white(visit):
    page = visit(dark=True)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
