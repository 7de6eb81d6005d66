"""The fair trial: its cells, its budgets of evaluations, its figure, and what the kept results may not contradict."""

import pytest

from ddgan import evidence
from ddgan.diffusion.schedule import FAMILIES
from ddgan.diffusion.solver import ANCESTRAL, Heun
from ddgan.errors import Refused
from ddgan.evidence import figures, trial
from ddgan.explorer.methods import METHODS
from ddgan.explorer.request import Request

# the least sum of KL(q || best Gaussian) over T steps, in nats, of levels that were refined until nothing changed
LEAST = {1: 4.850, 2: 1.238, 4: 0.490, 8: 0.160, 10: 0.110, 12: 0.081, 16: 0.049}
LOW = -0.0003  # an energy distance is unbiased: of 20,000 exact samples it may be below zero by chance


def kept(name: str) -> dict:
    return evidence.means(evidence.read(name))


@pytest.mark.parametrize("solver", [ANCESTRAL, Heun()])
def test_a_budget_buys_the_most_steps_and_no_two_budgets_the_same(solver):
    steps = trial._steps(solver, (1, 2, 4, 8, 16, 32, 64))
    assert all(solver.nfe(T) <= most < solver.nfe(T + 1) for most, T in steps.items())
    assert len({*steps.values()}) == len(steps) and steps[64] == max(steps.values())
    assert trial._steps(Heun(), (1, 2, 4)) == {1: 1, 4: 2}


def test_every_method_runs_where_it_can_and_images_have_what_is_learned():
    cells = evidence.EXPERIMENTS["rivals"].cells(False)
    of = {data: {c.setting["method"] for c in cells if c.setting["data"] == data} for data in trial.NAMES}
    assert of["25-gaussians"] == METHODS.keys() - {"official"}
    assert of["mnist"] == of["cifar10"] == {"ddgan", "regression", "learned-ddim", "learned-dpm"}
    assert all(METHODS[c.setting["method"]].solver.nfe(c.setting["T"]) <= c.setting["most"] for c in cells)


def test_a_cell_says_which_weights_it_depends_on():
    def used(data: str, method: str, schedule: str) -> int:
        return len(trial._weights(data, method, schedule))

    assert used("25-gaussians", "dpm", "vp") == 0 and used("25-gaussians", "learned-dpm", "optimal") == 1
    assert used("mnist", "ddgan", "vp") == 1 and used("mnist", "regression", "optimal") == 1
    assert used("mnist", "ddgan", "optimal") == 2, "the learned Gaussian's errors decide the schedule"


def test_a_model_that_does_not_know_the_levels_is_told_and_has_no_numbers():
    (said,) = trial._judged(Request(denoisers=("ddgan",), T=64, n=10)).items()
    assert said[0] == "failed" and "steps of vp: choose 50 or fewer" in said[1]


def test_cells_of_one_row_and_seed_are_one_line_and_one_seed(tmp_path):
    e = evidence.EXPERIMENTS["schedules"]
    results = evidence.run(e, tmp_path, quick=True, only="vp, T = 1,")
    assert len(results) == 4 and evidence.effort(e, results).startswith("1 seed, ")
    heads, *lines = evidence.table(e, results)
    assert [line[0] for line in lines] == ["vp, T = 1"]
    assert heads[1] == "best Gaussian: bound, nats" and lines[0][1] == "4.850"


def test_the_best_schedule_has_the_least_bound_and_a_gaussian_needs_about_ten_steps_for_a_tenth_of_a_nat():
    rows = kept("schedules")
    for T, least in LEAST.items():
        found = rows[f"optimal, T = {T}"]["gaussian_bound"]
        assert found == pytest.approx(least, rel=0.015), T
        for family in FAMILIES:
            assert found <= rows.get(f"{family}, T = {T}", {"gaussian_bound": 9})["gaussian_bound"] * 1.001, (family, T)
    assert rows["optimal, T = 10"]["gaussian_bound"] > 0.1 > rows["optimal, T = 12"]["gaussian_bound"]
    assert rows["vp, T = 16"]["gaussian_bound"] > 3 and rows["vp, T = 64"]["gaussian_bound"] > 0.1


def test_the_samples_of_a_gaussian_chain_are_nearer_than_its_bound_and_the_claim_says_how_near():
    rows = kept("schedules")
    for row, v in rows.items():
        assert 0 <= v["gaussian_chain_kl"] <= v["gaussian_bound"] + 1e-4, row
    for row, told in {"vp, T = 16": "2.5", "optimal, T = 4": ".10"}.items():
        assert f"{rows[row]['gaussian_chain_kl']:.2g}".removeprefix("0").ljust(3, "0") == told
        assert f"{told} nats" in evidence.EXPERIMENTS["schedules"].claim


def test_the_exact_law_is_exact_under_every_schedule_in_any_number_of_steps():
    rows = kept("schedules")
    assert len(rows) >= 7 * len(FAMILIES)
    for row, v in rows.items():
        assert v["exact_modes"] == 25 and LOW < v["exact_energy"] < 3 * v["exact_floor_energy"], row


def test_on_vp_no_solver_of_the_exact_mean_covers_the_modes_in_eight_evaluations_and_the_flow_does_in_one():
    rows = kept("rivals")
    for method in ("mean", "ddim", "dpm", "heun", "gaussian"):
        v = rows[f"25 Gaussians, vp: {METHODS[method].label}"]
        assert v["modes_8"] < 10 and v["distance_8"] > 10 * v["floor"], method
    for family in trial.WALKED["25-gaussians"]:
        v = rows[f"25 Gaussians, {family}: {METHODS['flow'].label}"]
        assert v["modes_1"] == 25 and LOW < v["distance_1"] < 3 * v["floor"]


def test_a_race_has_a_panel_a_look_for_every_series_and_hollow_marks_on_the_floor():
    races = {
        "a": figures.Race("energy", {"DDGAN": [(1, 0.5), (4, -0.1)], "new": [(2, 0.01)]}, 0.02),
        "b": figures.Race("nats", {"new": [(1, 3.0), (2, 0.0)]}),
    }
    figure = figures.races(races, "NFE", "data; schedule")
    floor, ddgan, new, again = figure.data
    assert ddgan.y == (0.5, 0.02) and ddgan.customdata == (0.5, -0.1)
    assert ddgan.marker.color == figures.MARKS["DDGAN"].colour
    assert [*ddgan.marker.symbol] == ["diamond", "diamond-open"] and new.y == floor.y[:1] == (0.02,)
    assert again.y == (3.0,) and again.marker.color == new.marker.color and new.showlegend and not again.showlegend
    assert again.xaxis != new.xaxis and {a.text for a in figure.layout.annotations} == {"a", "b"}
    with pytest.raises(Refused, match="at least one value above 0"):
        figures.races({"a": figures.Race("nats", {"x": [(1, 0.0)]})}, "T", "")


def luminance(colour: str) -> float:
    linear = [((int(colour[i : i + 2], 16) / 255 + 0.055) / 1.055) ** 2.4 for i in (1, 3, 5)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_colours_of_a_race_are_legible_on_white_and_on_black():
    for mark in figures.RACERS:
        assert 1.05 / (luminance(mark.colour) + 0.05) >= 3 and (luminance(mark.colour) + 0.05) / 0.05 >= 3, mark
    assert len({mark.shape for mark in figures.RACERS}) == len(figures.RACERS)
