"""Images: sheets, questions, edits and files hold what the sampler made, pixel for pixel,
with a small stand-in for a model.
"""

import base64
import io
import json
import math
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from ddgan.data.images import ImageSet, decode_pixels, encode_pixels, from_uint8, to_uint8
from ddgan.diffusion.denoiser import Denoiser
from ddgan.errors import Refused
from ddgan.explorer import posterior
from ddgan.explorer.posterior import ImageQuestion, ask
from ddgan.explorer.request import Edit, Request
from ddgan.models import checkpoint
from ddgan.views import files, image_grid, picture
from ddgan.views.encoding import encoded
from ddgan.views.image_posterior import REDRAWS, explore

RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 256, (1, 28, 28), dtype=np.uint8)
GONE = "own-0123456789abcdef"


class Small(Denoiser):
    """x_0 is half of x_t and a stripe as bright as z says."""

    latent_dim = 28
    card = {"shape": [1, 28, 28], "config": {"data": "mnist", "T": None, "network": "unet", "loss": "paper"}}

    def forward(self, x_t, level, z):
        return (x_t / 2 + z[:, None, None, :]).tanh()


@pytest.fixture(scope="module")
def name(session):
    return session.adopt(Small())


def cut(text, columns):
    """The rows and columns of a sheet, uint8 (rows, columns, 28, 28)."""
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L"))
    return image.reshape(-1, 28, columns, 28).transpose(0, 2, 1, 3)


def payload(session, request):
    *_, last = image_grid.drawing(session, request)
    return json.loads(encoded(last), parse_constant=pytest.fail)


def test_a_model_of_other_data_is_refused_in_its_own_panel_wherever_it_is_asked(session, name, monkeypatch):
    monkeypatch.setattr(session, "images", lambda data: None)

    class Wide(Small):
        card = Small.card | {"shape": [3, 32, 32]}

    wide, line = session.adopt(Wide()), session.adopt(checkpoint.load("4-gaussians-1d"))
    *_, last = explore(session, ImageQuestion(Request("mnist", (name, wide), T=2, n=2), 2, 0, name))
    good, bad = last["panels"]
    assert good["error"] is None and "shape (3, 32, 32), not (1, 28, 28)" in bad["error"]
    with pytest.raises(Refused, match="shape"):
        session.evaluate(Request("mnist", (wide,), T=1, n=2), wide)
    answer = ask(session, posterior.Question(Request("25-gaussians", ("exact", line)), 4, (0.0, 0.0)))
    assert "shape (1,), not (2,)" in str(answer.draws[line]) and list(answer.distances) == ["exact"]


@pytest.mark.parametrize("edit", [None, Edit(2, encode_pixels(PICTURE))])
def test_a_sheet_holds_every_state_and_every_predicted_x_0_pixel_for_pixel(session, name, edit):
    request = Request("mnist", (name,), T=3, n=5, seed=2, edit=edit)
    view, steps = payload(session, request), list(session.run(request, name))
    assert view["t"] == list(range(request.start, -1, -1)) and Request.from_query(view["query"]) == request
    x, x_0 = (cut(view["panels"][0][key], 5) for key in ("x", "x0"))
    assert len(x) == request.start + 1 and len(x_0) == request.start
    for i, step in enumerate(steps):
        assert np.array_equal(x[i], to_uint8(step.x_t)[:, 0]) and np.array_equal(x_0[i], to_uint8(step.x_0)[:, 0])
    assert np.array_equal(x[-1], x_0[-1]), "the last step returns its predicted x_0"
    assert np.array_equal(cut(view["edit"]["image"], 1)[0, 0], PICTURE[0]) if edit else view["edit"] is None


def test_progress_counts_every_step_and_a_model_that_is_gone_is_a_sentence(session, name):
    *early, last = image_grid.drawing(session, Request("mnist", (name, GONE), T=3, n=2))
    assert [(p["progress"]["done"], p["progress"]["of"]) for p in early] == [(1, 6), (2, 6), (3, 6), (6, 6)]
    there, gone = last["panels"]
    assert there["error"] is None and gone["error"].endswith(".") and not gone["x"]
    with pytest.raises(Refused, match="a set of points, not of images"):
        next(image_grid.drawing(session, Request("rings")))


# ---------------------------------------------------------------- edits


def test_an_edit_begins_at_the_marginal_of_its_image(session, name):
    """Over many samples x_t has mean a x_0 and variance sigma^2, pixel by pixel; 400 samples, five standard errors."""
    request = Request("mnist", (name,), T=4, n=400, edit=Edit(2, encode_pixels(PICTURE)))
    x_t = next(session.run(request, name)).x_t
    a, var = (
        float(v) for v in (request.named_schedule().alpha_bar[2].sqrt(), 1 - request.named_schedule().alpha_bar[2])
    )
    off = x_t - a * from_uint8(PICTURE[None])
    assert off.mean(0).abs().max() < 5 * math.sqrt(var / 400)
    assert off.var().sub(var).abs() < 5 * var * math.sqrt(2 / off.numel())


def test_an_edit_survives_its_link_and_its_json():
    request = Request.parse({"data": "mnist", "edit": f"3.{encode_pixels(PICTURE)}"})
    assert Request.from_query(request.to_query()) == request == Request.parse(json.loads(json.dumps(request.to_dict())))
    assert np.array_equal(decode_pixels(request.edit.image, (1, 28, 28)), PICTURE)


BOMB = encode_pixels(np.zeros((1, 3000, 3000), np.uint8))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"edit": "2." + encode_pixels(PICTURE[:, :27])}, "1 x 28 x 28 = 784 bytes, got 756"),
        ({"edit": f"2.{BOMB}"}, r"got 785\+"),
        ({"edit": "2.%%%"}, "cannot be read"),
        ({"edit": "2"}, "784 bytes, got 0"),
        ({"edit": "2." + encode_pixels(PICTURE)[:-9]}, "784 bytes, got|cannot be read"),
        ({"edit": "5." + encode_pixels(PICTURE)}, r"whole number in 1\.\.4"),
        ({"edit": ["2"]}, "must be a name"),
        ({"edit": "2." + encode_pixels(PICTURE), "data": "rings"}, "an edit begins with an image of"),
    ],
)
def test_an_edit_that_is_none_gets_a_sentence(values, message):
    with pytest.raises(Refused, match=message) as caught:
        Request.parse({"data": "mnist", **values})
    assert len(str(caught.value)) < 160


def test_a_request_for_images_asks_for_few_of_the_two_that_there_are():
    assert Request.from_query("data=cifar10") == Request("cifar10", ("ddgan", "regression"), n=9)
    assert Request.from_query("data=rings") == Request("rings")


# ---------------------------------------------------------------- what x_t could have been


def question(name, **values):
    query = Request("mnist", (name, GONE), T=3, n=4).to_query()
    return ImageQuestion.parse({"query": query, "step": 2, "item": 3, "of": name, **values})


def test_an_answer_is_of_the_x_t_that_was_asked_about(session, name, monkeypatch):
    images = RANDOM.integers(0, 256, (20, 1, 28, 28), dtype=np.uint8)
    monkeypatch.setattr(session, "images", lambda data: ImageSet(images))
    asked = question(name)
    early, late = (json.loads(encoded(answer)) for answer in explore(session, asked))
    x_t = next(step.x_t for step in session.run(asked.request, name) if step.t == 2)[3]
    assert np.array_equal(cut(late["x"], 1)[0, 0], to_uint8(x_t[None])[0, 0])
    assert early["truth"] is None and early["panels"] == late["panels"]
    drawn, gone = late["panels"]
    assert cut(drawn["images"], drawn["n"]).shape == (1, REDRAWS, 28, 28) and gone["error"]
    mean = cut(drawn["images"], REDRAWS)[0].mean(0)
    assert np.abs(mean - cut(drawn["mean"], 1)[0, 0]).max() <= 1, "the mean of the redraws, to rounding"
    truth = late["truth"]
    assert (
        truth["of"] == 20
        and 1 <= truth["effective"] <= 20
        and truth["weights"] == sorted(truth["weights"], reverse=True)
    )
    assert any(np.array_equal(cut(truth["images"], truth["n"])[0, 0], image[0]) for image in images)


def test_who_waits_for_the_training_set_alone_is_told_of_that_and_no_model_draws_again(session, name, monkeypatch):
    known = ImageSet(RANDOM.integers(0, 256, (20, 1, 28, 28), dtype=np.uint8))
    monkeypatch.setattr(session, "redraws", lambda *of: pytest.fail("a model draws again"))
    for images in (None, known):
        monkeypatch.setattr(session, "images", lambda data, images=images: images)
        (answer,) = explore(session, question(name, exact_only=True))
        assert answer["step"] == 2 and "panels" not in answer
        assert answer["truth"] == {"reading": True} if images is None else answer["truth"]["of"] == 20


def test_methods_that_walk_with_one_model_have_one_answer_that_names_them(session, monkeypatch):
    monkeypatch.setattr(session, "images", lambda data: None)
    request = Request("mnist", ("learned-ddim", "ddgan", "regression", "learned-dpm"), T=2, n=1)
    *_, answer = explore(session, ImageQuestion(request, 1, 0, "regression"))
    assert [(panel["label"], panel["also"]) for panel in answer["panels"]] == [
        ("DDIM, learned", ["Learned Gaussian (DDPM)", "DPM-Solver++, learned"]),
        ("DDGAN", []),
    ]
    assert answer["by"] == "Learned Gaussian (DDPM)" and answer["of"] == "regression"
    x_t = next(step.x_t[0] for step in session.run(request, "regression") if step.t == 1)
    one, other = (session.redraws(request, name, x_t, 1, 1) for name in ("learned-dpm", "learned-ddim"))
    assert torch.equal(one, other), "a solver does not change what its model answers"


@pytest.mark.parametrize(
    "values", [{"step": 0}, {"step": 4}, {"item": 4}, {"of": "exact"}, {"query": "T=0"}, {"step": "x"}]
)
def test_a_question_that_is_none_gets_a_sentence(name, values):
    with pytest.raises(Refused):
        question(name, **values)
    with pytest.raises(Refused, match="25-gaussians is a set of points, not of images"):
        question(name, query="data=25-gaussians", of="ddgan")
    with pytest.raises(Refused, match="a question must have"):
        ImageQuestion.parse(None)


def test_a_training_set_is_read_once_and_its_absence_is_a_sentence(session, name, tmp_path, monkeypatch):
    monkeypatch.setenv("DDGAN_DATA", str(tmp_path))
    monkeypatch.setattr("ddgan.data.images.CACHE", tmp_path)
    *_, answer = explore(session, question(name))
    assert "is not on this machine" in answer["truth"]["error"]
    with zipfile.ZipFile(tmp_path / "mnist-train.zip", "w") as archive:
        for i, image in enumerate(RANDOM.integers(0, 256, (3, 28, 28), dtype=np.uint8)):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "png")
            archive.writestr(f"{i}.png", file.getvalue())
    while session.images("mnist") is None:
        pass
    assert len(session.images("mnist")) == 3 and session.images("mnist") is session.images("mnist")


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_a_picture_holds_exact_pixels(session, name, tmp_path, kind):
    request, path = Request("mnist", (name, GONE), T=2, n=4), tmp_path / f"x.{kind}"
    files.write(path, session, request, t=1 if kind == "png" else None)
    (*_, last) = steps = list(session.run(request, name))
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == (1 if kind == "png" else 3)
        image.seek(0 if kind == "png" else 2)
        k = round(picture.GRID_PIXELS / (2 * 29))
        corner = np.asarray(image.convert("L"))[picture.TOP :: k, picture.GAP :: k][:28, :28]
    shown = steps[0].x_s if kind == "png" else last.x_s
    assert np.array_equal(corner, to_uint8(shown)[0, 0])


def test_neighbours_stand_beside_their_sample(session, name, tmp_path, monkeypatch):
    request = Request("mnist", (name,), T=2, n=3)
    *_, last = session.run(request, name)
    known = RANDOM.integers(0, 256, (20, 1, 28, 28), dtype=np.uint8)
    known[[7, 4, 11]] = to_uint8(last.x_s) // 4 * 4  # nearly the samples
    monkeypatch.setattr(files, "load_images", lambda _: ImageSet(known))
    distance = files.neighbours(tmp_path / "x.png", session, request, k=2)
    with Image.open(tmp_path / "x.png") as image:
        cells = [np.asarray(image.convert("L"))[y : y + 28, x : x + 28] for y in (0, 29, 58) for x in (0, 29)]
    for sample, neighbour, x, place in zip(cells[::2], cells[1::2], to_uint8(last.x_s), (7, 4, 11), strict=True):
        assert np.array_equal(sample, x[0]) and np.array_equal(neighbour, known[place, 0])
    assert 0 < distance[name] < 4
    with pytest.raises(Refused, match="25-gaussians is none"):
        files.neighbours(tmp_path / "y.png", session, Request())
    with pytest.raises(Refused, match="written to a .png, got 2000"):
        files.neighbours(tmp_path / "2000", session, request)


def test_numbers_of_images_need_no_law(session, name, tmp_path):
    request = Request("mnist", (name,), T=3, n=2, edit=Edit(2, encode_pixels(PICTURE)))
    for kind in ("npz", "json"):
        files.write(tmp_path / f"x.{kind}", session, request)
    *_, last = session.run(request, name)
    with np.load(tmp_path / "x.npz") as file:
        assert np.array_equal(file[f"{name}.states"][-1], last.x_s.numpy()) and file["t"].tolist() == [2, 1, 0]
        assert Request.from_query(str(file["link"])[1:]) == request
    found = json.loads((tmp_path / "x.json").read_text())["denoisers"][name]
    assert found["metrics"] == {} and torch.allclose(torch.tensor(found["states"][-1]), last.x_s, atol=1e-5)


def test_images_do_not_glide(session, name, tmp_path):
    with pytest.raises(Refused, match="from state to state"):
        files.write(tmp_path / "x.webp", session, Request("mnist", (name,), n=2), glide=3)
