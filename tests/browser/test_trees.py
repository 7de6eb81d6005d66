"""Images: the diagram of a step with the sample's own images, the tree and the U-turns in their folds."""

import pytest
from test_page import choose
from test_strips import GALLERY, READY, goto, pixels

from ddgan.explorer.posterior import ImageQuestion
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.views.image_tree import branches, turns

STEP, TREE, TURNS = "#image-step .image-step", "#tree .tree", "#turns .turns"
DRAWN = """async name => {
  const image = new Image();
  image.src = document.querySelector(`.image-step .${name} image`).getAttribute('href');
  await image.decode();
  const canvas = Object.assign(document.createElement('canvas'), { width: image.width, height: image.height });
  canvas.getContext('2d').drawImage(image, 0, 0);
  return [...canvas.getContext('2d').getImageData(0, 0, image.width, image.height).data].filter((_, k) => k % 4 === 0);
}"""


def test_the_diagram_has_the_images_of_the_step_that_the_scrubber_stands_at(visit):
    page = visit("?data=mnist&n=4&hold=1", ready=READY)
    for state, t in ((1, 3), (4, 1)):  # at the end it shows the step that made x₀
        goto(page, state)
        page.wait_for_selector(f'{STEP}[data-shown="{t}.1.ddgan"]')
        row = 4 - t
        for name, kind, i in (("xt", "x", row), ("x0", "x0", row), ("xs", "x", row + 1)):
            assert page.evaluate(DRAWN, name) == pixels(page, "ddgan", kind, i, 1).flatten().tolist()
        assert f"the step from x{'₀₁₂₃₄'[t]} to" in page.inner_text(f"{STEP} figcaption")
    assert page.locator(f"{STEP} .xs text").text_content().startswith("x")


def opened(page, fold, picture, drawing):
    """The library's answer about the first sample, and the labels of all x_0 in the fold."""
    page.click(f"#{fold} button")
    page.wait_for_selector(f'{picture}[data-asked="0.ddgan"]', timeout=60_000)
    request = Request.from_query(page.get_attribute(GALLERY, "data-id"))
    said = [leaf.get_attribute("aria-label") for leaf in page.locator(f"{picture} .tree-leaf").all()]
    return drawing(Session(), ImageQuestion(request, 1, 0, "ddgan")), said


def leads_and_follows(page, picture, state, t, width):
    """A state of the picture brings the gallery to x_t, and another sample in the gallery another picture."""
    state.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(f'{GALLERY}[data-t="{t}"]')
    assert state.get_attribute("aria-current") == "step" and state.bounding_box()["height"] >= 24
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.focus("#gallery .gallery-panels")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector(f'{picture}[data-asked="1.ddgan"]', timeout=60_000)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_tree_is_that_of_the_library_and_follows_the_chosen_sample(visit, width, dark):
    page = visit("?data=mnist&n=4&T=2", width=width, dark=dark, ready=READY)
    answer, said = opened(page, "tree-fold", TREE, branches)
    assert len(said) == 2 * 6
    for i, t in enumerate("₂₁"):
        for j in range(6):
            called = answer["classes"][answer["likeliest"][i][j]]
            assert said[6 * i + j].startswith(f"Child {j + 1} of x{t} becomes {called}, ")
    assert answer["words"] in page.inner_text(f"{TREE} .tree-lead")
    leads_and_follows(page, TREE, page.locator(f"{TREE} .tree-state").nth(1), 1, width)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_u_turns_are_those_of_the_library_and_follow_the_chosen_sample(visit, width, dark):
    page = visit("?data=mnist&n=4&T=2", width=width, dark=dark, ready=READY)
    answer, (itself, *said) = opened(page, "turns-fold", TURNS, turns)
    names = answer["classes"]
    assert itself.startswith(f"The image itself: {names[answer['own']['likeliest']]}, ") and len(said) == 2 * 8
    columns = page.locator(f"{TURNS} .turns-column[role=group]").all()
    for i, t in enumerate("₁₂"):
        for j in range(8):
            called = names[answer["likeliest"][i][j]]
            assert said[8 * i + j].startswith(f"Draw {j + 1} through x{t} becomes {called}, ")
        words = columns[i].inner_text().replace("\u00a0", " ")
        assert f"x{t}" in words and f"keeps {answer['kept'][i]} of 8" in words
    assert answer["words"] in page.inner_text(f"{TURNS} .tree-lead")
    leads_and_follows(page, TURNS, page.locator(f"{TURNS} button").nth(1), 2, width)


def test_data_whose_classes_nobody_tells_have_no_tree_and_a_wider_window_does_not_bring_the_old_one_back(visit):
    page = visit("?data=mnist&n=4&T=1", ready=READY)
    page.click("#tree-fold button")
    page.wait_for_selector(f"{TREE} .tree-leaf")
    choose(page, "images-data", "StackedMNIST")
    page.get_by_text("No classifier of StackedMNIST is here to tell its classes").nth(1).wait_for()
    page.set_viewport_size({"width": 1000, "height": 900})
    page.wait_for_function(f"document.querySelector('{TREE}').clientWidth < 1000")
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    assert page.locator(f"{TREE} .tree-leaf").count() == 0
    assert "Sample" not in page.inner_text(f"{TREE} .tree-lead")
