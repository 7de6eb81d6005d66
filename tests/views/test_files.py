"""Every export opens, has T + 1 states, names the request that made it, and holds what the library computes."""

import json
import sys
from dataclasses import replace
from urllib.parse import parse_qsl

import numpy as np
import pytest
import torch
from PIL import Image

from ddgan.data.points import encode_points
from ddgan.data.toys import law_of
from ddgan.errors import Refused
from ddgan.explorer.field import mean_step
from ddgan.explorer.plane import LIMIT
from ddgan.explorer.request import Fork, Request, link
from ddgan.explorer.session import Session
from ddgan.views.answers import finite
from ddgan.views.field import SIDE as FIELD_SIDE
from ddgan.views.files import KINDS, write
from ddgan.views.picture import GAP, HELD, INK, PREDICTED, SAMPLE, SIDE, TOP, Look, _line, seen
from ddgan.views.stage import staged

ADDRESS = "https://example.org/explorer/"
SMALL = Request("rings", ("exact", "mean"), T=3, seed=5, n=40, forks=(Fork("eps", 2, 7),))
LINE = Request("4-gaussians-1d", ("exact",), T=2, n=60)
OWN = Request(encode_points(np.random.default_rng(0).normal(size=(1000, 2))), ("exact",), T=1, n=30)
MOVING = ("webp", "gif", "mp4")
GONE = "own-0123456789abcdef"  # a model that was never here


def test_json_gets_none_for_what_is_infinite_at_any_depth():
    assert finite({"a": [{"kl": float("inf")}, (1.5, float("nan"))], "b": -0.5}) == {
        "a": [{"kl": None}, [1.5, None]],
        "b": -0.5,
    }


def read(path):
    """(frames, (width, height), link) of a picture or film, by other people's readers."""
    if path.suffix == ".mp4":
        av = pytest.importorskip("av")
        with av.open(path) as video:
            frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
            return frames, frames[0].shape[1::-1], video.metadata["comment"]
    with Image.open(path) as image:
        found = {
            "webp": lambda: image.getexif()[0x010E],
            "gif": lambda: image.info["comment"].decode(),
            "png": lambda: image.text["Comment"],
        }
        link = found[path.suffix[1:]]()
        frames = []
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            frames.append(np.asarray(image.convert("RGB")))
        return frames, image.size, link


def link_in(path):
    if path.suffix == ".json":
        return json.loads(path.read_text())["link"]
    if path.suffix == ".npz":
        with np.load(path) as file:
            return str(file["link"])
    return read(path)[2]


def needs(kind):
    if kind == "mp4":
        pytest.importorskip("av")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("request_", [SMALL, LINE, OWN], ids=["plane", "line", "own points"])
def test_every_file_names_the_request_that_made_it(session, tmp_path, kind, request_):
    needs(kind)
    path = tmp_path / f"x.{kind}"
    write(path, session, request_, address=ADDRESS)
    address, query = link_in(path).split("?")
    assert address == ADDRESS and Request.from_query(query) == request_
    assert list(tmp_path.iterdir()) == [path], "no temporary file stays"


def near(frame, colour):
    """Where a picture has a colour, (H, W)."""
    return (np.abs(frame.astype(int) - colour) < 12).all(2)


@pytest.mark.parametrize("request_", [SMALL, LINE], ids=["plane", "line"])
def test_a_picture_shows_the_layers_and_the_held_sample_that_it_is_asked_for(session, tmp_path, request_):
    def frame(look, t=1):
        write(tmp_path / "x.png", session, request_, t=t, look=look)
        return read(tmp_path / "x.png")[0][0][TOP : TOP + SIDE, GAP : GAP + SIDE]

    bare = frame(Look(()))
    assert not any(near(bare, colour).any() for colour in (SAMPLE, PREDICTED, HELD, INK)), "nothing but an empty panel"
    for layer, colour in {"x0": PREDICTED, "paths": INK}.items():
        assert (
            near(frame(Look((layer,))), colour).any() and not near(frame(Look(("samples", "density"))), colour).any()
        ), layer
    assert not near(frame(Look(("x0",)), 0), PREDICTED).any(), "at x_0 the predicted one is the sample itself"
    for layer in ("samples", "density"):
        assert np.abs(frame(Look((layer,))).astype(int) - bare).max() > 30, layer
    steps = list(session.run(request_, request_.denoisers[0]))
    for t in range(request_.T + 1):
        x = (steps[0].x_t if t == request_.T else steps[request_.T - t - 1].x_s)[3] / LIMIT  # in -1..1
        across, down = (
            (1 + x[0]) / 2,
            (1 - x[1]) / 2 if len(x) == 2 else 1 - 10 / SIDE - (0.36 - 20 / SIDE) * (1 - t / request_.T),
        )
        row, column = int(SIDE * down), int(SIDE * across)
        assert near(frame(Look((), hold=3), t), HELD)[row - 1 : row + 2, column - 1 : column + 2].all(), (
            "its place is marked"
        )


@pytest.mark.parametrize("request_", [SMALL, LINE], ids=["plane", "line"])
def test_arrows_go_from_the_places_of_the_lattice_along_the_mean_steps(session, tmp_path, request_):
    write(tmp_path / "x.png", session, request_, t=1, look=Look(("field",)))
    seen = read(tmp_path / "x.png")[0][0][TOP : TOP + SIDE, GAP : GAP + SIDE].mean(2) < 150  # thin and dark
    dim, side = session.law(request_.data).shape[0], FIELD_SIDE[session.law(request_.data).shape[0]]
    axis = torch.linspace(-1, 1, 2 * side + 1)[1::2]  # centres of cells, in halves of the view
    places = torch.stack([v.ravel() for v in torch.meshgrid(*[axis] * dim, indexing="ij")], 1)
    moves = mean_step(session, request_, request_.denoisers[0], 1, places * LIMIT) / LIMIT
    lengths = moves.norm(dim=1)
    moves = moves * min(1, 1.8 / side / float(lengths.quantile(0.95)))

    def pixel(place):
        return int(SIDE * (1 - place[1]) / 2) if dim == 2 else int(0.64 * SIDE + 8), int(SIDE * (1 + place[0]) / 2)

    long = [k for k in range(len(places)) if moves[k].norm() > 0.02 and (places[k] + moves[k]).abs().max() < 0.99]
    assert len(long) > len(places) / 4
    for k in long:
        for part in (0.1, 0.5, 0.9):
            row, column = pixel(places[k] + part * moves[k])
            assert seen[row - 1 : row + 2, column - 1 : column + 2].any(), (places[k], part)
    write(tmp_path / "x.png", session, request_, t=0, look=Look(("field",)))
    assert not near(read(tmp_path / "x.png")[0][0][TOP : TOP + SIDE, GAP : GAP + SIDE], INK).any(), "no step leaves x_0"


def test_the_link_in_a_picture_says_how_it_is_looked_at(session, tmp_path):
    write(tmp_path / "x.png", session, SMALL, t=2, address=ADDRESS, look=Look.parse("x0,samples", "7"))
    found = dict(parse_qsl(link_in(tmp_path / "x.png").split("?")[1]))
    assert (found["t"], found["layers"], found["hold"]) == ("2", "samples,x0", "7")
    write(tmp_path / "x.gif", session, SMALL, look=Look.parse("samples,density,x0,paths"))
    assert link_in(tmp_path / "x.gif") == link(SMALL), "as the page begins"
    for words, values in {
        "layers must be some of": ("samples,glow",),
        "hold must be a number": ("none", "x"),
        "0..4999": ("none", 9999),
    }.items():
        with pytest.raises(Refused, match=words):
            Look.parse(*values)
    with pytest.raises(Refused, match="the held sample must be in 0..39, got 40"):
        write(tmp_path / "x.png", session, SMALL, look=Look(hold=40))


@pytest.mark.parametrize("kind", MOVING)
@pytest.mark.parametrize(
    "request_", [SMALL, LINE, Request("rings", ("exact",), T=1, n=1)], ids=["plane", "line", "one"]
)
def test_an_animation_has_one_frame_a_state_and_they_differ(session, tmp_path, kind, request_):
    needs(kind)
    path = tmp_path / f"x.{kind}"
    write(path, session, request_)
    frames, (width, height), _ = read(path)
    assert len(frames) == request_.T + 1
    assert width >= 300 * len(request_.denoisers) and height > 300
    for before, after in zip(frames, frames[1:], strict=False):
        assert np.abs(before.astype(int) - after).max() > 60


@pytest.mark.slow
def test_of_many_states_the_nearest_that_is_shown_is_drawn_and_named(session, tmp_path):
    request = Request("rings", ("exact",), T=1000, n=5)
    write(tmp_path / "near.png", session, request, t=4)
    t = dict(parse_qsl(link_in(tmp_path / "near.png").split("?")[1]))["t"]
    write(tmp_path / "there.png", session, request, t=int(t))
    assert t != "4" and (tmp_path / "near.png").read_bytes() == (tmp_path / "there.png").read_bytes()


def test_a_video_is_read_by_imageio_too(session, tmp_path):
    pytest.importorskip("av")
    import imageio.v3 as imageio

    write(tmp_path / "x.mp4", session, SMALL)
    assert len(imageio.imread(tmp_path / "x.mp4", plugin="pyav")) == SMALL.T + 1


def test_without_the_video_package_an_mp4_is_refused_in_a_sentence(session, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(Refused, match="an .mp4 needs the package av"):
        write(tmp_path / "x.mp4", session, LINE)
    assert not list(tmp_path.iterdir())


def test_a_film_that_would_fill_the_memory_is_refused(session, tmp_path):
    with pytest.raises(
        Refused,
        match=r"a film may take 2 GB of memory, this one takes \d.* \(7,809 pictures\): choose a smaller glide",
    ):
        write(tmp_path / "x.webp", session, replace(LINE, T=128), glide=60)
    assert not list(tmp_path.iterdir())


def test_a_glide_adds_frames_between_the_states(session, tmp_path):
    write(tmp_path / "x.webp", session, LINE, glide=4)
    assert len(read(tmp_path / "x.webp")[0]) == 2 * 5 + 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "npz"])
def test_the_same_request_makes_the_same_bytes(tmp_path, kind):
    needs(kind)
    for name in ("a", "b"):
        write(tmp_path / f"{name}.{kind}", Session(), SMALL)
    assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_an_npz_holds_the_samplers_arrays(session, tmp_path):
    write(tmp_path / "x.npz", session, SMALL)
    with np.load(tmp_path / "x.npz") as file:
        assert file["denoisers"].tolist() == list(SMALL.denoisers)
        assert file["t"].tolist() == [3, 2, 1, 0]
        assert np.array_equal(file["alpha_bar"], SMALL.named_schedule().alpha_bar.numpy()[file["t"]])
        assert Request.from_query(str(file["request"])) == SMALL
        for name in SMALL.denoisers:
            for i, step in enumerate(session.run(SMALL, name)):
                assert np.array_equal(file[f"{name}.states"][i], step.x_t.numpy())
                assert np.array_equal(file[f"{name}.predicted"][i], step.x_0.numpy())
                assert np.array_equal(file[f"{name}.z"][i], step.z.numpy())
                assert np.array_equal(file["eps"][i], step.eps.numpy())
            assert np.array_equal(file[f"{name}.states"][-1], step.x_s.numpy())


@pytest.mark.parametrize("names", [("exact", "heun"), ("heun", "exact")])
def test_the_noise_of_an_npz_is_that_of_all_steps_where_a_budget_leaves_some_fewer(session, tmp_path, names):
    request = Request("rings", names, T=4, n=5, budget="nfe")
    write(tmp_path / "x.npz", session, request)
    with np.load(tmp_path / "x.npz") as file:
        assert np.array_equal(file["eps"], torch.stack([step.eps for step in session.run(request, "exact")]).numpy())
        assert file["heun.t"].tolist() == [2, 2, 1, 1, 0] and "exact.t" not in file
        at = Request("rings", T=2).named_schedule().alpha_bar[file["heun.t"]]
        assert np.array_equal(file["heun.alpha_bar"], at.numpy()), "levels are those of its own two steps"
    write(tmp_path / "x.json", session, request)
    said = json.loads((tmp_path / "x.json").read_text())["denoisers"]
    assert said["heun"]["t"] == [2, 2, 1, 1, 0] and "t" not in said["exact"]


def test_json_is_strict_and_holds_the_first_samples_in_six_digits(session, tmp_path):
    request = Request("rings", ("exact", "mean"), T=2, n=1500)
    write(tmp_path / "x.json", session, request)
    found = json.loads((tmp_path / "x.json").read_text(), parse_constant=pytest.fail)
    assert Request.parse(found["request"]) == request
    assert found["samples"] == 1000 and found["t"] == [2, 1, 0]
    for name in request.denoisers:
        steps = list(session.run(request, name))
        states = np.array(found["denoisers"][name]["states"])
        assert states.shape == (3, 1000, 2)
        np.testing.assert_allclose(states[0], steps[0].x_t[:1000], rtol=5.1e-6)
        np.testing.assert_allclose(states[-1], steps[-1].x_s[:1000], rtol=5.1e-6)
        np.testing.assert_allclose(found["denoisers"][name]["predicted"][0], steps[0].x_0[:1000], rtol=5.1e-6)
        score = session.score(request, steps[-1].x_s)
        assert found["denoisers"][name]["metrics"]["on_mode"] == score["on_mode"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_one_denoiser_refuses_is_said_and_the_others_are_there(session, tmp_path, kind):
    needs(kind)
    request = Request("rings", ("exact", GONE), T=2, n=30)
    path = tmp_path / f"x.{kind}"
    write(path, session, request)
    if kind == "npz":
        with np.load(path) as file:
            assert "no longer here" in str(file[f"{GONE}.error"]) and file["exact.states"].shape == (3, 30, 2)
    elif kind == "json":
        found = json.loads(path.read_text())["denoisers"]
        assert "no longer here" in found[GONE]["error"] and len(found["exact"]["states"]) == 3
    else:
        assert read(path)[1][0] > 600


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_would_hold_nothing_is_not_written(session, tmp_path, kind):
    needs(kind)
    for request in Request("rings", (GONE,), T=2, n=30), Request("stackedmnist", (GONE,), T=2, n=1):
        with pytest.raises(Refused, match="no longer here"):
            write(tmp_path / f"x.{kind}", session, request)
    assert not list(tmp_path.iterdir())


def panel(frame, column):
    left = GAP + column * (SIDE + GAP)
    return frame[TOP + 1 : TOP + SIDE - 1, left + 1 : left + SIDE - 1].astype(int)


def test_the_picture_has_a_blue_dot_where_a_sample_is_and_none_elsewhere(session, tmp_path):
    request = Request("rings", ("exact",), T=2, n=1)
    write(tmp_path / "x.png", session, request)
    *_, last = session.run(request, "exact")
    (frame,), _, _ = read(tmp_path / "x.png")
    red, _, blue = np.moveaxis(panel(frame, 0), -1, 0)
    rows, columns = np.nonzero(blue - red > 90)
    # violet is the density: only the sample is as blue as this
    x, y = last.x_s[0].tolist()
    half = SIDE / 2
    assert len(rows) >= 9
    assert columns.mean() + 1.5 == pytest.approx(half + x / 2.6 * half, abs=1)
    assert rows.mean() + 1.5 == pytest.approx(half - y / 2.6 * half, abs=1)


def test_predicted_x_0_on_a_line_are_as_high_as_they_are_many(session):
    view = seen(staged(session, LINE), Look(("x0",)))
    two = np.concatenate([np.full(20, -1.0), np.full(10, 1.0)])[:, None]
    image = _line(view["density"][0], two, two, view["limit"], view["look"])
    orange = np.asarray(image).astype(int)[..., 0] - np.asarray(image).astype(int)[..., 2] > 60
    heights = [SIDE - np.nonzero(half.any(1))[0][0] for half in np.split(orange[: round(0.63 * SIDE)], 2, axis=1)]
    base = SIDE - round(0.64 * SIDE)
    assert (heights[0] - base) / (heights[1] - base) == pytest.approx(2, rel=0.05)


def test_a_png_shows_the_chosen_state(session, tmp_path):
    write(tmp_path / "x.webp", session, SMALL)
    frames, _, _ = read(tmp_path / "x.webp")
    for i, t in enumerate((3, 2, 1, 0)):
        write(tmp_path / "x.png", session, SMALL, t=t)
        (still,), _, _ = read(tmp_path / "x.png")
        distance = [np.abs(still.astype(int) - frame).mean() for frame in frames]
        assert int(np.argmin(distance)) == i
    write(tmp_path / "y.png", session, SMALL)
    assert (tmp_path / "x.png").read_bytes() == (tmp_path / "y.png").read_bytes(), "t = 0 is the default"


def test_the_default_picture_is_small_enough_to_mail(session, tmp_path):
    write(tmp_path / "x.webp", session, Request())
    assert (tmp_path / "x.webp").stat().st_size < 1_000_000


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("x.bmp", {}, r"an export ends in .webp, .gif, .mp4, .png, .npz, .json, got 'x.bmp'"),
        ("x", {}, "an export ends in"),
        ("x.png", {"t": 4}, "t must be in 0..3, got 4"),
        ("x.png", {"t": -1}, "t must be in 0..3, got -1"),
        ("x.gif", {"t": 1}, "t chooses the step of a .png"),
        ("x.gif", {"glide": 1000}, "glide must be in 0..60"),
        ("taken/x.json", {}, "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_refused_in_a_sentence(session, tmp_path, name, options, sentence):
    (tmp_path / "taken").write_text("no folder")
    with pytest.raises(Refused, match=sentence):
        write(tmp_path / name, session, SMALL, **options)
    assert list(tmp_path.iterdir()) == [tmp_path / "taken"]


def test_more_numbers_than_a_file_holds_are_refused_before_they_are_computed(tmp_path):
    request = Request("rings", ("exact", "mean"), T=100, n=50_000)
    with pytest.raises(Refused, match="at most 25,000,000 numbers, this is 60,000,000"):
        write(tmp_path / "x.npz", Session(), request)


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_a_film_rests_on_its_last_state_and_begins_again(kind, tmp_path):
    write(tmp_path / f"x.{kind}", Session(), Request("rings", ("exact",), T=3, n=20))
    stays = []
    with Image.open(tmp_path / f"x.{kind}") as image:
        assert image.info["loop"] == 0
        for i in range(image.n_frames):
            image.seek(i)
            image.load()
            stays.append(image.info["duration"])
    assert stays == [900, 900, 900, 1800]


def test_the_view_holds_all_points_however_far_they_lie_and_its_ticks_are_the_tables():
    noise = np.random.default_rng(1)
    table = np.stack([40 + 9 * noise.normal(size=900), np.exp(1.2 * noise.normal(size=900) + 10)], 1)
    name = encode_points(table, ["age", "income"])
    view = seen(staged(Session(), Request(name, ("exact",), T=2, n=5000)))
    law, last = law_of(name), view["panels"][0]["x"][-1]
    assert law.mu.abs().max() > 6, "beyond what a view of 2.6 and its int16 could hold"
    assert np.abs(last).max() < view["limit"]
    for axis, column in zip(view["axes"], table.T, strict=True):
        places, texts = zip(*axis["ticks"], strict=True)
        values = np.array([float(text.replace(",", "").replace("\u2212", "-")) for text in texts])
        assert np.allclose((values - column.mean()) / column.std(), places, atol=0.02)
        assert len(places) >= 3 and max(map(abs, places)) < view["limit"]
    toy = seen(staged(Session(), Request("pinwheel", ("exact",), T=1, n=10)))
    assert toy["limit"] == LIMIT and toy["axes"] == []
