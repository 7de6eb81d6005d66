"""The tab Images: the library's pixels on one scrubber, in a link, forked, edited and downloaded;
and what x_t could have been.
"""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from test_page import choose, on_paper

from ddgan.data.images import decode_pixels, to_uint8
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.machine import use_cores
from ddgan.views import files

GALLERY, EXPLORER, PAINT = "#gallery .gallery", "#explorer .explorer", "#paint .paint"
READY = f'{GALLERY}[data-ready="1"]'


@pytest.fixture(autouse=True)
def as_the_page():
    """Sums of bfloat16 are the page's to the last bit on as many threads as it has."""
    threads = torch.get_num_threads()
    use_cores()
    yield
    torch.set_num_threads(threads)


def pixels(page, name, kind, i, j):
    """An image as the page draws it, (28, 28)."""
    asked = [name, kind, i, j]
    rgb = page.evaluate(f"([n, k, i, j]) => document.querySelector('{GALLERY}').gallery.pixels(n, k, i, j)", asked)
    return np.array(rgb).reshape(28, 28, 3)[..., 0]


def after(page, act):
    """Do something, and wait until the gallery has drawn another request."""
    before = page.get_attribute(GALLERY, "data-id")
    act()
    page.wait_for_function(f"b => document.querySelector('{GALLERY}').dataset.id !== b", arg=before, timeout=60_000)
    return Request.from_query(page.get_attribute(GALLERY, "data-id"))


def goto(page, i):
    page.evaluate(f"i => document.querySelector('{GALLERY}').gallery.goto(i)", i)


def button(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def same(page, request):
    """Whether every state and prediction of the page is the library's, for all samples."""
    for name in request.denoisers:
        steps = list(Session().run(request, name))
        x, x_0 = [*(step.x_t for step in steps), steps[-1].x_s], [step.x_0 for step in steps]
        for kind, states in {"x": x, "x0": x_0}.items():
            for i, state in enumerate(states):
                for j, image in enumerate(to_uint8(state)):
                    if not np.array_equal(pixels(page, name, kind, i, j), image[0]):
                        return False
    return True


@pytest.mark.parametrize("width", [1280, 390])
def test_the_first_view_is_the_librarys_images_on_one_noise(visit, width):
    page = visit("?tab=images", width=width, ready=READY)
    request = Request.from_query(page.get_attribute(GALLERY, "data-id"))
    assert request == Request.parse({"data": "mnist", "label": "any"}) and same(page, request)
    noise = [pixels(page, name, "x", 0, 3) for name in request.denoisers]
    assert np.array_equal(*noise), "all panels start from the same noise"
    scroll, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert scroll <= inner, "the page must not scroll sideways"


def test_keys_walk_the_states_and_the_samples_and_the_link_holds_all_of_it(visit):
    page = visit("?data=mnist&T=3&n=4&seed=5&schedule=cosine", ready=READY)
    page.focus("#gallery .gallery-panels")
    for key in ("Home", "ArrowRight", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    page.get_by_text("Predicted x₀", exact=True).last.click()
    page.wait_for_function("['tab=images', 't=2', 'hold=2', 'show=x0'].every(part => location.search.includes(part))")
    again = visit("?" + page.url.split("?")[1], ready=READY)
    for opened in (page, again):
        shown = opened.evaluate(f"({{...document.querySelector('{GALLERY}').dataset}})")
        assert (shown["t"], shown["chosen"]) == ("2", "2")
    request = Request.from_query(page.url.split("?")[1])
    assert (request.T, request.n, request.seed, request.schedule) == (3, 4, 5, "cosine") and same(again, request)
    assert again.is_checked("#gallery [value=x0]")


def test_a_click_chooses_the_sample_under_it_however_many_columns_there_are(visit):
    page = visit("?data=mnist&tab=images&T=8&n=16", ready=READY)
    grid = page.locator(".gallery-grid:not([hidden]) canvas").first
    box, columns = grid.bounding_box(), int(grid.get_attribute("data-columns"))
    wide, high = box["width"] / columns, box["height"] / -(-16 // columns)
    assert columns > 4, "over the way the grid is no square"
    for c, r in ((0, 1), (columns - 1, 0)):
        grid.click(position={"x": (c + 0.5) * wide, "y": (r + 0.5) * high})
        page.wait_for_selector(f"{GALLERY}[data-chosen='{r * columns + c}']")


def test_every_tab_keeps_its_own_address(visit):
    page = visit("?data=mnist&n=4&seed=7&hold=2", ready=READY)
    page.get_by_role("tab", name="Denoise").click()
    page.wait_for_function("location.search.includes('data=25-gaussians') && !location.search.includes('tab=')")
    page.wait_for_selector('#stage .stage[data-ready="1"]')
    assert "hold=" not in page.url, "the held sample is the gallery's"
    page.get_by_role("tab", name="Images").click()
    page.wait_for_function("['data=mnist', 'seed=7', 'hold=2'].every(part => location.search.includes(part))")


def test_changed_controls_recompute_and_a_missing_model_is_a_sentence(visit):
    page = visit("?data=mnist&n=4", ready=READY)
    assert after(page, lambda: choose(page, "images-T", "2")).T == 2
    assert after(page, lambda: choose(page, "images-n", "9")).n == 9
    request = after(page, lambda: page.click("#images-dice"))
    assert (request.seed, request.T, request.n) == (1, 2, 9) and same(page, request)
    gone = visit("?data=mnist&n=4&denoisers=ddgan,exact", ready=READY)
    assert "has no closed form" in gone.inner_text(".gallery-error") and len(pixels(gone, "ddgan", "x", 4, 3)) == 28


def test_a_fork_keeps_the_past_and_the_other_samples(visit):
    page = visit("?data=mnist&n=4&t=2&hold=1", ready=READY)
    before = [[pixels(page, "ddgan", "x", i, j) for j in range(4)] for i in range(5)]
    assert page.is_disabled("#images-undo"), "there is nothing to take back yet"
    request = after(page, lambda: button(page, "New z"))
    assert [str(fork) for fork in request.forks] == ["z.2.1.1"] and same(page, request)
    now = [[pixels(page, "ddgan", "x", i, j) for j in range(4)] for i in range(5)]
    changed = {(i, j) for i in range(5) for j in range(4) if not np.array_equal(before[i][j], now[i][j])}
    assert changed == {(3, 1), (4, 1)}
    page.uncheck("#images-alone input")
    assert str(after(page, lambda: button(page, "New posterior noise")).forks[1]) == "eps.2.2"
    assert after(page, lambda: button(page, "Undo")) == request
    assert after(page, lambda: button(page, "Undo")).forks == () and page.is_disabled("#images-undo")
    assert after(page, lambda: page.click("#images-dice")).forks == ()


def test_control_z_takes_back_a_fork_but_not_where_one_types(visit):
    page = visit("?data=mnist&n=4&forks=z.2.1.1,eps.2.2&t=2", ready=READY)
    page.focus("#images-seed input")
    page.keyboard.press("Control+z")
    page.focus(f"{GALLERY} .gallery-panels")
    page.keyboard.press("Control+Shift+z")
    assert len(Request.from_query(page.get_attribute(GALLERY, "data-id")).forks) == 2
    request = after(page, lambda: page.keyboard.press("Control+z"))
    assert [str(fork) for fork in request.forks] == ["z.2.1.1"] and same(page, request)


def test_control_z_beside_the_board_takes_back_its_stroke_and_not_what_the_gallery_drew(visit):
    page = visit("?data=mnist&n=4&T=2&forks=z.2.1.1&t=2", ready=READY)
    page.click("#paint > button")
    page.wait_for_selector(f'{PAINT}[data-ready="1"]')
    board = f"document.querySelector('{PAINT}').board.pixels()"
    empty = page.evaluate(board)
    page.focus(f"{PAINT} canvas")
    page.keyboard.press(" ")
    painted = page.evaluate(board)
    page.focus(f"{PAINT} [type=range]")
    page.keyboard.press("Control+z")
    assert page.evaluate(board) == empty != painted
    assert page.locator(f"{GALLERY}:not(.stale)").count() == 1 and not page.is_disabled("#images-undo")
    page.focus("#images-alone input")  # a check box holds no text
    assert after(page, lambda: page.keyboard.press("Meta+z")).forks == () and page.is_disabled("#images-undo")


def test_the_explorer_shows_one_models_answer_once_and_names_its_methods(visit):
    page = visit("?data=mnist&n=4&T=2&denoisers=ddgan,regression,learned-ddim,learned-dpm&of=learned-dpm", ready=READY)
    page.wait_for_selector(f'{EXPLORER}[data-asked="1.0.learned-dpm"]', timeout=60_000)
    cells = page.locator(f"{EXPLORER} .explorer-cell")
    assert "that of DPM-Solver++, learned" in page.inner_text(EXPLORER)
    learned = cells.filter(has_text="Learned Gaussian (DDPM)")
    assert learned.count() == 1 and cells.count() == 4, "x_t, the training set, and two models"
    assert "the same for DDIM, learned; DPM-Solver++, learned" in learned.inner_text()


def test_an_edit_begins_with_what_was_painted_and_its_link_opens_the_same(visit):
    page = visit("?data=mnist&n=4", ready=READY)
    page.click("#paint button")
    page.wait_for_selector(f'{PAINT}[data-ready="1"]')
    page.locator("#paint canvas").scroll_into_view_if_needed()
    box = page.locator("#paint canvas").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.8 * box["height"], steps=8)
    page.mouse.up()
    page.select_option("#paint select", "3")
    painted = page.evaluate(f"document.querySelector('{PAINT}').board.pixels()")
    assert max(painted) > 200 and min(painted) == 0
    request = after(page, lambda: button(page, "Noise it, and take the remaining steps"))
    assert request.edit.t == 3 and decode_pixels(request.edit.image, (784,)).tolist() == painted
    assert same(page, request) and "begins at x₃" in page.inner_text(".gallery-edit")
    again = visit("?" + page.url.split("?")[1], ready=READY)
    assert same(again, request)
    for T, begins in (("8", "x₆"), ("1", "x₁")):
        assert after(again, lambda T=T: choose(again, "images-T", T)).edit.image == request.edit.image
        assert f"begins at {begins}" in again.inner_text(".gallery-edit")
    assert after(page, lambda: page.locator(".gallery-edit button").click()).edit is None
    for name, size in (("CIFAR-10", 3072), ("MNIST", 784)):  # the board keeps what was painted
        choose(page, "images-data", name)
        page.wait_for_function(f"document.querySelector('{PAINT}').board.pixels().length === {size}")
    assert page.evaluate(f"document.querySelector('{PAINT}').board.pixels()") == painted


def test_any_colour_and_the_named_ones_are_chosen_in_turn(visit):
    page = visit("?data=cifar10&n=4", ready=READY)
    page.click("#paint button")
    page.wait_for_selector(f'{PAINT}[data-ready="1"]')
    named, free = page.locator(f"{PAINT} [name=paint-colour]").first, page.locator(f"{PAINT} [type=color]")

    def painted():
        page.focus(f"{PAINT} canvas")
        page.keyboard.press("Space")
        channels = page.evaluate(f"document.querySelector('{PAINT}').board.pixels()")
        return "#" + "".join(f"{channels[1024 * c + 16 * 32 + 16]:02x}" for c in range(3))

    for _ in range(2):
        free.fill("#ff80c0")
        assert painted() == "#ff80c0" and not named.is_checked()
        named.check()
        assert painted() == named.get_attribute("value")


def test_the_explorer_answers_for_the_chosen_sample_and_step(visit):
    page = visit("?data=mnist&n=4&t=3&hold=2", ready=READY)
    page.wait_for_selector(f'{EXPLORER}[data-asked="3.2.ddgan"]', timeout=60_000)
    assert "What could x₃ of sample #2 have been?" in page.inner_text(EXPLORER)
    assert "16 redraws of z" in page.inner_text(EXPLORER) and "a single answer" in page.inner_text(EXPLORER)
    page.focus(f"{GALLERY} input[type=range]")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(f'{EXPLORER}[data-asked="2.2.ddgan"]', timeout=60_000)
    page.wait_for_selector(f'{EXPLORER}[data-truth="done"]', timeout=60_000)
    words = page.inner_text(EXPLORER)
    assert "the exact posterior over the 20 images that training draws from" in words and "mirror" not in words
    page.focus("#gallery .gallery-panels")
    for chosen in ("regression", "ddgan"):  # the other panel's x₂, and back
        page.keyboard.press("Enter")
        page.wait_for_selector(f'{EXPLORER}[data-asked="2.2.{chosen}"]', timeout=60_000)


def test_on_paper_no_answer_stands_below_another_picture_than_its_own(visit):
    page = visit("?data=mnist&n=4&T=2", ready=READY)
    answers = [EXPLORER, "#classes .classes", "#tree .tree", "#turns .turns"]
    for fold in ("tree", "turns"):
        page.click(f"#{fold}-fold button")
    for answer in answers:
        page.wait_for_selector(f"{answer}[data-asked$='0.ddgan']:not(.stale)", timeout=60_000)
    page.wait_for_selector(f'{EXPLORER}[data-truth="done"]', timeout=60_000)
    seen = f"{answers}.map(of => document.querySelector(of).checkVisibility())"
    assert on_paper(page, seen) == [True] * 4
    choose_next = f"document.querySelector('{GALLERY}').gallery.choose(1)"
    assert on_paper(page, seen, choose_next) == [False] * 4, "before any of them can have an answer"
    for answer in answers:
        page.wait_for_selector(f"{answer}[data-asked$='1.ddgan']:not(.stale)", timeout=60_000)
    assert on_paper(page, seen) == [True] * 4


def test_cifar10_in_colour_and_its_posterior_over_both_mirrorings(visit):
    page = visit("?data=cifar10&n=4&t=4&hold=1", ready=READY)
    request = Request.from_query(page.get_attribute(GALLERY, "data-id"))
    assert request.data == "cifar10"
    for name in request.denoisers:
        *_, last = Session().run(request, name)
        rgb = page.evaluate(f"n => document.querySelector('{GALLERY}').gallery.pixels(n, 'x', 4, 2)", name)
        shown = np.array(rgb).reshape(32, 32, 3).transpose(2, 0, 1)
        assert np.array_equal(shown, to_uint8(last.x_s)[2])
    page.wait_for_selector(f'{EXPLORER}[data-truth="done"]', timeout=60_000)
    assert "over the 40 images that training draws from, half of them mirror images" in page.inner_text(EXPLORER)


def test_an_edit_begins_with_an_uploaded_picture_or_with_the_chosen_sample(visit, tmp_path):
    page = visit("?data=mnist&n=4&hold=2", ready=READY)
    page.click("#paint button")
    page.wait_for_selector(f'{PAINT}[data-ready="1"]')
    board = f"document.querySelector('{PAINT}').board.pixels()"
    page.click(f"{PAINT} [data-act=take]")
    page.wait_for_function(f"Math.max(...{board}) > 100")
    assert page.evaluate(board) == pixels(page, "ddgan", "x", 4, 2).flatten().tolist()
    picture = np.zeros((56, 56), np.uint8)
    picture[10:20, 30:50] = 255
    Image.fromarray(picture).save(tmp_path / "mine.png")
    page.set_input_files(f"{PAINT} input[type=file]", str(tmp_path / "mine.png"))
    page.wait_for_function(f"{board}[7 * 28 + 20] > 250")
    found = np.array(page.evaluate(board)).reshape(28, 28)
    assert np.abs(found - picture.reshape(28, 2, 28, 2).mean((1, 3))).max() <= 2
    request = after(page, lambda: button(page, "Noise it, and take the remaining steps"))
    assert decode_pixels(request.edit.image, (784,)).tolist() == found.flatten().tolist() and same(page, request)


def test_progress_is_shown_and_cancel_keeps_the_picture(visit):
    page = visit("?data=mnist&n=4", ready=READY)
    before = page.get_attribute(GALLERY, "data-id")
    page.evaluate("""document.querySelector('#gallery .gallery').observed = [];
      new MutationObserver(() => { const bar = document.querySelector('.gallery-progress');
        if (!bar.hidden && bar.textContent.includes('step')) {
          document.querySelector('#gallery .gallery').observed.push(bar.textContent);
          bar.querySelector('[data-act=cancel]').click(); } })
      .observe(document.querySelector('.gallery-progress'), { attributes: true, childList: true, subtree: true })""")
    choose(page, "images-n", "64")
    page.wait_for_function("document.querySelector('#gallery .stage-notice').textContent.includes('Cancelled')")
    page.wait_for_timeout(1500)
    assert page.get_attribute(GALLERY, "data-id") == before
    assert "step 1 of 8" in page.evaluate("document.querySelector('#gallery .gallery').observed[0]")


def test_a_picture_that_waits_says_so_over_the_one_before(visit):
    page, held = visit("?data=mnist&n=4", ready=READY), []
    page.wait_for_selector(f'{EXPLORER}[data-truth="done"]')
    page.route("**/queue/join*", lambda route: held.append(route))  # the server is busy

    def asked():
        choose(page, "images-n", "9")
        page.wait_for_selector(".gallery-progress:has-text('Waiting') [data-act=cancel]")
        page.wait_for_function("getComputedStyle(document.querySelector('.gallery-panels')).opacity === '0.5'")
        for route in held:
            route.continue_()
        page.unroute("**/queue/join*")

    assert after(page, asked).n == 9 and page.is_hidden(".gallery-progress")
    page.wait_for_function("getComputedStyle(document.querySelector('.gallery-panels')).opacity === '1'")


def test_a_download_is_the_librarys_file_of_what_is_shown(visit, address, tmp_path):
    page = visit("?data=mnist&n=4&T=2&t=1", ready=f"{READY}[data-t='1']")
    request, page_address = Request.from_query(page.get_attribute(GALLERY, "data-id")), address.rstrip("/") + "/"
    for kind, name in {"png": "PNG of this step", "webp": "WebP", "npz": "NumPy"}.items():
        with page.expect_download(timeout=60_000) as made:
            button(page, name)
        saved = open(made.value.path(), "rb").read()
        path = tmp_path / f"x.{kind}"
        files.write(path, Session(), request, t=1 if kind == "png" else None, address=page_address)
        if kind != "npz":
            assert saved == path.read_bytes() and Image.open(io.BytesIO(saved)).size == Image.open(path).size, kind
            continue
        *_, last = Session().run(request, "ddgan")
        with np.load(io.BytesIO(saved)) as file:
            assert np.array_equal(file["ddgan.states"][-1], last.x_s.numpy())
