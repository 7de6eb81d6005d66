import base64
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddgan.data.points import (
    MAX_NAMED,
    MAX_POINTS,
    POINTS_PREFIX,
    Axis,
    decode_points,
    encode_points,
    fingerprint,
    from_points,
    of_columns,
    thinned,
)
from ddgan.data.toys import TOYS, axes_of, law_of, toy
from ddgan.diffusion.mixture import Law
from ddgan.diffusion.schedule import Schedule
from ddgan.errors import Refused
from ddgan.explorer.plane import ticked, width
from ddgan.explorer.request import Request

EACH_TOY = pytest.mark.parametrize("name", TOYS)
MODES = {
    "25-gaussians": 25,
    "25-unequal": 25,
    "8-gaussians": 8,
    "two-moons": 2,
    "swiss-roll": 10,
    "checkerboard": 8,
    "pinwheel": 5,
    "rings": 3,
    "4-gaussians-1d": 4,
}


def moments(law: Law) -> tuple[torch.Tensor, float]:
    """The exact mean and the exact variance averaged over the axes."""
    w = law.log_w.exp()
    mean = w @ law.mu
    return mean, (w @ ((law.mu - mean).square().mean(1) + law.var)).item()


@EACH_TOY
def test_every_toy_has_zero_mean_and_unit_variance(name):
    # the paper's grid has centres of unit variance; its components add their own
    unit = 1 + 0.0177**2 if name == "25-gaussians" else 1
    mean, variance = moments(toy(name))
    assert mean.abs().max() < 1e-7 and variance == pytest.approx(unit, abs=1e-7)


def test_25_gaussians_is_the_papers_grid():
    law = toy("25-gaussians")
    axis = torch.tensor([-2, -1, 0, 1, 2]).double() / math.sqrt(2)
    assert torch.allclose(law.mu, torch.cartesian_prod(axis, axis)) and torch.equal(law.log_w, law.log_w[:1].expand(25))
    assert law.var.sqrt().tolist() == pytest.approx([0.0177] * 25)


def test_25_unequal_is_that_grid_with_weights_1_to_8_and_widths_half_to_twice_in_a_graeco_latin_square():
    law, equal = toy("25-unequal"), toy("25-gaussians")
    weight, std = law.log_w.exp().reshape(5, 5), law.var.sqrt().reshape(5, 5)
    scale = (law.mu[-1] / equal.mu[-1])[0]  # both have unit variance, to the width of the modes
    torch.testing.assert_close(law.mu, scale * equal.mu, rtol=0, atol=1e-7)
    assert scale.item() == pytest.approx(1, abs=1e-3)
    assert (weight / weight.min()).max().item() == pytest.approx(8)
    assert [float(v / equal.var[0].sqrt() / scale) for v in (std.min(), std.max())] == pytest.approx([0.5, 2])
    for values in (weight, std):  # every row and every column has each of the five values once
        ranks = (values / values.min()).log().div(math.log(values.max() / values.min()) / 4).round()
        for lines in (ranks, ranks.T):
            assert (lines.sort(1).values == torch.arange(5)).all()
    assert (
        len({(round(float(w), 6), round(float(s), 6)) for w, s in zip(weight.flatten(), std.flatten(), strict=True)})
        == 25
    )


@EACH_TOY
def test_every_toy_has_its_modes_and_a_density_at_its_samples_at_every_level(name):
    law, schedule = toy(name), Schedule.vp(4)
    x = law.sample(1000, torch.Generator().manual_seed(0))
    assert law.modes == MODES[name] and law.mode.unique().tolist() == list(range(law.modes))
    assert x.dtype == torch.float32 and x.shape == (1000, *law.shape)
    for t in range(5):
        assert law.marginal(schedule.level(t)).log_prob(x).isfinite().all()


@pytest.mark.parametrize("name", ["4-gaussians-1d"])
def test_the_density_integrates_to_one(name):
    x = torch.linspace(-4, 4, 40_001, dtype=torch.float64)[:, None]
    assert torch.trapezoid(toy(name).log_prob(x).exp(), x[:, 0]).item() == pytest.approx(1, abs=1e-9)


def test_a_toy_is_the_same_law_every_time():
    for name in TOYS:
        assert torch.equal(toy(name).mu, toy(name).mu)


def test_an_unknown_toy_is_refused_with_the_known_ones():
    with pytest.raises(Refused, match="data must be one of 25-gaussians, .*, got 'spiral'"):
        toy("spiral")


@pytest.mark.parametrize("std", [None, 0.0, 0.05])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_own_points_become_a_standardised_law_of_the_same_shape(n, std):
    points = 50 + 9 * torch.randn(40, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    law = from_points(points, std)
    mean, variance = moments(law)
    assert mean.abs().max() < 1e-10 and variance == pytest.approx(1)
    of_axes = law.moments()[1].diagonal()
    torch.testing.assert_close(of_axes, torch.ones(n, dtype=torch.float64))
    shrink = (law.mu[1:] - law.mu[0]) / (points[1:] - points[0])
    torch.testing.assert_close(shrink, shrink[:1].expand(39, n))


def test_no_axis_vanishes_beside_one_of_another_scale():
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(from_points(x * torch.tensor([1e-9, 1e9]) + 1).mu, from_points(x).mu, atol=1e-6, rtol=0)


def test_one_scale_for_all_axes_keeps_the_shape_of_what_was_drawn():
    points = torch.tensor([[0.0, 0.0], [4.0, 0.0], [4.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    law = law_of(encode_points(points))
    sides = (law.mu[1] - law.mu[0]).norm(), (law.mu[2] - law.mu[1]).norm()
    assert sides[0] / sides[1] == pytest.approx(4, rel=1e-3)


@pytest.mark.parametrize("size", [1e-280, 1e-202, 1e-9, 1e9, 1e140])
def test_numbers_of_any_moderate_size_are_a_law_and_have_ticks(size):
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    law, axes = of_columns((x * torch.tensor([size, 1.0], dtype=torch.float64)).numpy(), ["x", "y"])
    torch.testing.assert_close(law.mu, from_points(x).mu)
    assert all(2 < len(axis["ticks"]) < 9 for axis in ticked(axes, width(law)))


@pytest.mark.parametrize(
    ("centre", "unit"), [(1e299, 1e-299), (0.0, 9.99999e-5), (1e299, 1e299), (-1.0, 1.0), (1e11, 1.0)]
)
def test_a_link_may_state_any_units(centre, unit):
    (axis,) = ticked((Axis("x", centre, unit),), 2.6)
    places = [place for place, _ in axis["ticks"]]
    assert len(places) < 9 and all(abs(place) < 2.6 for place in places)
    assert len({text for _, text in axis["ticks"]}) == len(places)


@pytest.mark.parametrize("value", [0.1, 0.0, 1e9 / 3])
def test_an_axis_on_which_all_points_are_the_same_stays_at_zero(value):
    """The mean of equal numbers may differ from them in its last digit, which is no spread."""
    points = torch.stack(
        [torch.linspace(0, 1, 7, dtype=torch.float64), torch.full((7,), value, dtype=torch.float64)], 1
    )
    law = from_points(points)
    assert law.mu[:, 1].abs().max() < 1e-6 and law.mu[:, 0].std() > 0.9


@pytest.mark.parametrize("columns", [["height"], ["height", "weight"]])
def test_points_of_columns_know_their_units_from_a_file_and_from_a_name(columns):
    x = torch.randn(300, len(columns), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    table = (x * torch.tensor([0.003, 14000.0])[: len(columns)] + torch.tensor([1.7, 52000.0])[: len(columns)]).numpy()
    name = encode_points(table, columns)
    laws = [of_columns(table, columns), (law_of(name), axes_of(name))]
    for law, axes in laws:
        assert [axis.name for axis in axes] == columns
        centre, unit = (
            torch.tensor(v, dtype=torch.float64) for v in ([a.centre for a in axes], [a.unit for a in axes])
        )
        assert ((law.mu * unit + centre - torch.from_numpy(table)).abs() < 5e-4 * unit).all()
    assert Request.from_query(Request.parse({"data": name}).to_query()).data == name


def test_names_of_columns_are_kept_short_and_in_one_spelling():
    name = encode_points([[1, 2], [3, 4]], ["größe (cm)\n\x00", "x" * 99])
    assert [axis.name for axis in axes_of(name)] == ["größe (cm)", "x" * 40]
    points, axes = name.split(".")
    said = base64.urlsafe_b64decode(axes + "==").replace(b",", b" ,", 1)
    for other in [axes[:-4], "", "AAAA", "x" * 10_000, base64.urlsafe_b64encode(said).decode().rstrip("=")]:
        with pytest.raises(Refused, match="axes that this name|at most 1000 points") as caught:
            decode_points(f"{points}.{other}")
        assert len(str(caught.value)) < 160


def test_the_law_that_a_model_knew_is_found_again_and_other_points_are_refused():
    points = (
        torch.randn(50, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * torch.tensor([1.0, 9.0])
    ).numpy()
    now, shared = from_points(points), from_points(points, scale=float((points - points.mean(0)).std()))
    assert (now.mu - shared.mu).abs().max() > 0.5
    assert torch.equal(of_columns(points, "xy", fingerprint(now))[0].mu, now.mu)
    for known in (
        "",
        fingerprint(of_columns(points, "xy", "")[0]),
    ):  # of models that are older than fingerprints, and than this
        law, axes = of_columns(points, "xy", known)
        torch.testing.assert_close(law.mu, shared.mu)
        assert axes[0].unit == axes[1].unit
    with pytest.raises(Refused, match="not the points that the model was trained on"):
        of_columns(points[1:], "xy", fingerprint(now))


def test_the_width_of_own_points_is_half_the_median_gap_within_bounds():
    def width(spread: float) -> float:
        clusters = torch.tensor([-1.0, 1.0]).repeat_interleave(2)[:, None]
        return from_points(clusters + spread * torch.tensor([[-1.0], [1], [-1], [1]])).var[0].sqrt().item()

    assert width(0.0) == pytest.approx(0.01)
    assert width(0.5) == pytest.approx(0.1)
    assert width(0.05) == pytest.approx(0.05 / math.sqrt(1 + 0.05**2))


def test_own_points_may_be_numpy_and_integers():
    law = from_points(np.array([[0, 0], [3, 4]]))
    assert law.mu.dtype == torch.float64 and law.modes == 2


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        (torch.zeros(1, 2), r"2 to 5,000 points \(N, n\), got 1$"),
        (torch.zeros(MAX_POINTS + 1, 2), r"2 to 5,000 points \(N, n\), got 5,001: take some of them at random$"),
        (torch.zeros(4), r"got shape \(4,\)"),
        (torch.tensor([[0.0, math.nan], [1, 1]]), "finite numbers, got a NaN or an infinity"),
        (torch.tensor([[0.0, math.inf], [1, 1]]), "finite numbers, got a NaN or an infinity"),
        (torch.ones(5, 2), "at least two different points of moderate size"),
        (torch.tensor([[0.0], [1e200]], dtype=torch.float64), "at least two different points of moderate size"),
        (torch.zeros(5, 0), "at least two different points"),
    ],
)
def test_own_points_that_are_no_law_are_refused_in_a_sentence(points, sentence):
    with pytest.raises(Refused, match=sentence):
        from_points(points)


def test_a_width_that_leaves_no_room_for_the_points_is_refused_in_a_sentence():
    with pytest.raises(Refused, match="std must be"):
        from_points(torch.tensor([[0.0], [1.0]]), std=1.5)


def cluster(n: int, at: tuple[float, float], seed: int = 0) -> torch.Tensor:
    return torch.tensor(at) + 0.1 * torch.randn(
        n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def test_the_modes_of_own_points_are_what_the_eye_counts():
    three = torch.cat([cluster(60, at, seed) for seed, at in enumerate([(0.0, 0.0), (3.0, 0.0), (0.0, 3.0)])])
    law = from_points(three[torch.randperm(180, generator=torch.Generator().manual_seed(9))])
    big = law.mode_weights() > 0.05
    assert big.sum() == 3 and law.mode_weights()[big].sum() > 0.9
    clicks = torch.cartesian_prod(torch.arange(5.0), torch.arange(5.0))
    assert from_points(clicks).modes == 25, "points far from each other stay alone"
    angle = torch.arange(200) / 200 * 2 * math.pi
    assert from_points(torch.stack([angle.cos(), angle.sin()], 1)).modes == 1, "a line is one mode, whatever its length"


@pytest.mark.parametrize("n", [2, 3, 500, MAX_NAMED])
def test_named_points_are_the_points_up_to_place_scale_and_rounding(n):
    points = 7 + 300 * torch.rand(n, 2, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    name = encode_points(points)
    assert name.startswith(POINTS_PREFIX) and len(name) < 6 * n + 12
    assert set(name[len(POINTS_PREFIX) :]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    drawn = from_points(points, std=0, scale=spread(points)).mu
    assert (decode_points(name) - drawn).abs().max() <= 4 / 65535 + 1e-12
    assert (law_of(name).mu - from_points(points, scale=spread(points)).mu).abs().max() < 3e-4


def spread(points):
    return float((points - points.mean(0)).square().mean().sqrt())


def test_a_far_outlier_is_kept_where_it_is():
    points = torch.cat([cluster(400, (0.0, 0.0)), torch.tensor([[60.0, 0.0]])])
    drawn = from_points(points, scale=spread(points)).mu
    torch.testing.assert_close(law_of(encode_points(points)).mu, drawn, atol=2e-3, rtol=0)
    torch.testing.assert_close(law_of(encode_points(points, "xy")).mu, from_points(points).mu, atol=2e-3, rtol=0)


def named(raw: bytes) -> str:
    return POINTS_PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("=")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("points:", "2 to 1000 points of 4 bytes each, got 0 bytes"),
        ("points:!!!!", "are not base64url"),
        ("points:AAAA AAAA", "are not base64url"),
        ("points:A", "are not base64url"),
        ("points:\u00e9\u00e9", "are not base64url"),
        (named(b"abcd"), "2 to 1000 points of 4 bytes each, got 4 bytes"),
        (named(b"abcdefghi"), "got 9 bytes"),
        (named(b"abcdabcdabcd"), "at least two different points"),
        (named(bytes(range(200)) * 21), "at most 1000 points"),
        (named(b"a" * 100_000), "at most 1000 points"),
        ("rings", "a name of points is 'points:'"),
    ],
)
def test_a_name_that_holds_no_points_is_refused_in_a_short_sentence(name, sentence):
    with pytest.raises(Refused, match=sentence) as caught:
        decode_points(name)
    assert len(str(caught.value)) < 160
    if name.startswith(POINTS_PREFIX):
        with pytest.raises(Refused, match=sentence):
            Request.parse({"data": name})


@given(st.one_of(st.text(max_size=60), st.binary(max_size=200).map(lambda raw: named(raw).removeprefix(POINTS_PREFIX))))
def test_any_text_is_a_law_or_a_value_error(text):
    try:
        request = Request.parse({"data": POINTS_PREFIX + text})
    except Refused:
        return
    law = from_points(decode_points(request.data))
    assert law.mu.isfinite().all() and law.modes >= 1
    assert Request.from_query(request.to_query()) == request


@pytest.mark.parametrize(
    "points",
    [[], [[1, 2]], [[1, 2], [1, 2]], [[1, 2], [3]], [["a", "b"], ["c", "d"]], [1, 2], [[1, 2, 3], [4, 5, 6]], None]
    + [[[0, 0], [math.nan, 1]], [[0, 0], [math.inf, 1]], [[0, 0], [1e300, 1]], [[0, 1]] * 1001, [[0, 0], [10**400, 0]]],
)
def test_what_cannot_be_named_is_refused_in_a_sentence(points):
    with pytest.raises(Refused, match="your own") as caught:
        encode_points(points)
    assert len(str(caught.value)) < 120


def test_thinning_keeps_a_fixed_even_choice_in_its_order():
    points = torch.stack([torch.arange(5000.0), torch.zeros(5000)], 1)
    few = thinned(points)
    assert torch.equal(few, thinned(points)) and len(few) == MAX_NAMED
    assert (few[1:, 0] > few[:-1, 0]).all()
    # the mean of 1000 of 0..4999 has a standard error of about 41
    assert abs(few[:, 0].mean().item() - 2499.5) < 4 * 41
    assert torch.equal(thinned(points[:7]), points[:7])


def test_the_line_has_unequal_weights_and_curves_have_components_equally_far_apart():
    assert toy("4-gaussians-1d").mode_weights().tolist() == pytest.approx([0.3, 0.2, 0.15, 0.35])
    for name in ("swiss-roll", "rings"):
        law = toy(name)
        apart = torch.cat([law.mu[law.mode == m].diff(dim=0).norm(dim=1) for m in range(law.modes)])
        assert apart.max() < 1.1 * apart.min(), name
