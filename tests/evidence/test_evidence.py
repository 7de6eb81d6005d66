"""The evidence: it is what was measured, goes on where it stopped,
and the README, the figures and the links agree with it.
"""

import json
import math
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from ddgan import evidence
from ddgan.cli import main
from ddgan.cli.arguments import parser
from ddgan.diffusion.denoiser import MeanDenoiser
from ddgan.diffusion.schedule import Schedule
from ddgan.diffusion.solver import reverse_step
from ddgan.errors import Refused
from ddgan.evidence import classes, figures, pictures, report, toys
from ddgan.evidence.pictures import digest
from ddgan.explorer.request import Request

ROOT = Path(__file__).parents[2]
EACH = pytest.mark.parametrize("e", evidence.EXPERIMENTS.values(), ids=evidence.EXPERIMENTS)
# share of 20,000 samples on a mode, std .035, by best Gaussian and by DDPM: computed once, by other code
REFERENCE = {
    1: (0.108, 1.0),
    2: (0.106, 0.129),
    4: (0.111, 0.118),
    8: (0.152, 0.130),
    16: (0.407, 0.539),
    32: (0.896, 0.921),
}


def agrees(share: float, reference: float, n: int) -> bool:
    """Within four standard errors, the reference being of 20,000 samples and rounded to three digits."""
    return abs(share - reference) < 4 * math.sqrt(reference * (1 - reference) * (1 / n + 1 / 20_000)) + 5e-4


def matches_the_reference(rows: dict, n: int) -> None:
    for T, (gaussian, mean) in REFERENCE.items():
        row = rows[f"T = {T}, std .035"]
        assert row["exact"] > 0.999 and row["exact_modes"] == 25
        assert agrees(row["gaussian"], gaussian, n) and agrees(row["mean"], mean, n), T
    assert rows["T = 1, std .035"]["mean_modes"] == 1


def test_a_quick_oracle_matches_the_reference_within_standard_errors(tmp_path, capsys):
    assert main(["evidence", "oracle", "--quick", "--out", str(tmp_path)]) == 0
    assert "T = 4, std .035" in capsys.readouterr().out
    matches_the_reference(evidence.means(evidence.read("oracle", tmp_path)), 4000)


def test_the_kept_oracle_matches_the_reference_within_standard_errors():
    matches_the_reference(evidence.means(evidence.read("oracle")), 20_000)


def counted(tmp_path: Path, *, fails_at: int | None = None, error: type[BaseException] = KeyboardInterrupt):
    """An experiment of four cells that takes down what it measures, and stops at one of them."""
    measured = []

    def measure(seed: int, k: int) -> dict[str, float]:
        if k == fails_at:
            raise error("stop")
        measured.append(k)
        return {"on_mode": k + seed, "kl": math.inf}

    cells = [evidence.Cell(f"row {k // 2}", k % 2, {"k": k}) for k in range(4)]
    return measured, replace(
        evidence.EXPERIMENTS["toys-ablations"], name="some", measure=measure, cells=lambda quick: cells,
        headline=lambda rows: "",
        columns=(evidence.Column("on_mode", "share", "{:.1f}", {"row 1": 2.0}, comparable=True),),
    )  # fmt: skip


def numbers(directory: Path) -> list:
    return [result._replace(record=None) for result in evidence.read("some", directory)]


def test_a_killed_run_goes_on_and_gives_the_results_of_an_unbroken_one(tmp_path):
    _, stopping = counted(tmp_path, fails_at=1)
    with pytest.raises(KeyboardInterrupt):
        evidence.run(stopping, tmp_path)
    assert len(numbers(tmp_path)) == 1
    measured, whole = counted(tmp_path)
    evidence.run(whole, tmp_path)
    assert measured == [1, 2, 3]
    evidence.run(whole, tmp_path / "unbroken")
    assert numbers(tmp_path) == numbers(tmp_path / "unbroken")


def test_runs_that_share_the_work_lose_none_of_it(tmp_path):
    _, one = counted(tmp_path)
    cells = [evidence.Cell(f"row {row}", seed, {"k": row}) for row in range(8) for seed in range(4)]
    shared = replace(one, cells=lambda quick: cells)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: evidence.run(shared, tmp_path, only=f"seed {seed}"), range(4)))
    assert [(r.row, r.seed) for r in numbers(tmp_path)] == [(c.row, c.seed) for c in cells]
    with pytest.raises(Refused, match="named like 'seed 7'; the first is 'row 0, seed 0'"):
        evidence.run(one, tmp_path, only="seed 7")


def test_a_row_with_fewer_seeds_than_others_says_how_many(tmp_path):
    _, e = counted(tmp_path)
    results = evidence.run(e, tmp_path)
    assert [line[0] for line in evidence.table(e, results)] == ["", "row 0", "row 1"]
    assert [line[0] for line in evidence.table(e, results[:3])] == ["", "row 0", "row 1 (1 seed)"]
    assert evidence.effort(e, results[:3]).startswith("1 to 2 seeds, ") and evidence.effort(e, results).startswith(
        "2 seeds, "
    )


def test_a_cell_of_another_setting_is_measured_anew_and_all_are_when_asked(tmp_path):
    measured, e = counted(tmp_path)
    evidence.run(e, tmp_path)
    evidence.run(e, tmp_path)
    assert measured == [0, 1, 2, 3]
    other = replace(e, cells=lambda quick: [c._replace(setting={"k": max(c.setting["k"], 1)}) for c in e.cells(quick)])
    evidence.run(other, tmp_path)
    assert measured == [0, 1, 2, 3, 1]
    evidence.run(other, tmp_path, again=True)
    assert measured[5:] == [1, 1, 2, 3]


@pytest.mark.parametrize("name", ["oracle", "cifar10"])
def test_an_experiment_that_is_measured_in_part_says_so(name):
    e, results = evidence.EXPERIMENTS[name], evidence.read(name)
    assert evidence.summary(e, results) != evidence.summary(e, results[:1]) == "not all of it was measured yet"
    assert evidence.left(e.cells(False), results[:1]) == e.cells(False)[1:]


def test_images_whose_training_diverged_are_left_out_of_what_is_told_of_them():
    e, (*others, last) = evidence.EXPERIMENTS["cifar10"], evidence.read("cifar10")
    results = [*others, last._replace(numbers={"failed": "stop"})]
    assert last.row in evidence.summary(e, [*others, last]) and last.row not in evidence.summary(e, results)
    assert last.row in e.figure([*others, last]).layout.yaxis.ticktext
    assert last.row not in e.figure(results).layout.yaxis.ticktext


def test_a_training_that_diverged_is_a_result_and_no_number_is_invented(tmp_path):
    _, e = counted(tmp_path, fails_at=0, error=FloatingPointError)
    results = evidence.run(e, tmp_path)
    assert results[0].numbers == {"failed": "stop"} and results[1].numbers == {"on_mode": 2, "kl": None}
    assert evidence.table(e, results) == [
        ["", "share", "share, paper (ours minus it)"],
        ["row 0", "2.0", ""],
        ["row 1", "3.0 ± 1.4", "2 (+1)"],
    ]


def test_a_damaged_file_of_results_is_an_error_of_one_sentence(tmp_path, capsys):
    (tmp_path / "oracle.json").write_text('{"cells": 3}')
    assert main(["evidence", "oracle", "--quick", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.strip().endswith("is not a file of results (TypeError)")
    assert main(["evidence", "oracles"]) == 2
    assert "the experiment must be one of oracle, toys-25" in capsys.readouterr().err


def test_the_readmes_are_made_of_the_results():
    for path, text in evidence.readmes().items():
        assert path.read_text(encoding="utf-8") == text, "python -m ddgan evidence readme writes them anew"
        assert "not measured yet" not in text


def test_a_readme_says_what_was_not_measured(tmp_path):
    marks = "".join(report.MARKS)
    assert report.with_rows(marks, tmp_path).count("not measured yet") == len(report.ROWS) == 6
    assert report.page(evidence.EXPERIMENTS.values(), tmp_path).count("(not run yet)") == len(evidence.EXPERIMENTS)
    with pytest.raises(Refused, match="no place for the evidence"):
        report.with_rows("# Title")


@EACH
def test_figures_and_tables_are_made_of_the_results(e):
    results = evidence.read(e.name)
    if not results:
        pytest.skip("not run yet")
    files = [path for path in evidence.ASSETS.glob(f"{e.name}.*") if path.suffix != ".json"]
    assert len(files) == 1, "python -m ddgan evidence figures draws them"
    assert digest(e.figure(results)).encode() in files[0].read_bytes(), "python -m ddgan evidence figures draws it anew"
    heads, *lines = evidence.table(e, results)
    assert lines and all(len(line) == len(heads) for line in lines)


PLOTTED = [e for e in evidence.EXPERIMENTS.values() if e.name != "edits"]  # its figure shows images


@pytest.mark.parametrize("e", PLOTTED, ids=[e.name for e in PLOTTED])
def test_every_number_of_a_figure_is_in_the_results_or_a_mean_of_them_and_the_labels_say_of_what(e):
    results = evidence.read(e.name)
    figure = e.figure(results)
    across = " ".join(axis.title.text for axis in figure.select_xaxes() if axis.title.text)  # the lowest panels have it
    assert figure.to_json() == e.figure(evidence.read(e.name)).to_json()
    known = {*(v for row in evidence.means(results).values() for v in row.values())}
    known |= {v for r in results for v in r.numbers.values() if isinstance(v, float | int)}
    clouds = [figures.decode(r.numbers["points"]).round(3).tolist() for r in results if "points" in r.numbers]
    if clouds:
        assert [np.transpose([trace.x, trace.y]).tolist() for trace in figure.data] == clouds
    else:
        if e.name == "class-posterior":  # its reliability is pooled over the levels
            odds = [classes._odds(results, key) for key in classes.SHOWN]
            known |= {0, 1, *(v for found in odds for mark in found for v in mark)}
        shown = [v for trace in figure.data for v in (trace.customdata or trace.y)]
        assert len(shown) >= len({r.row for r in results}) and {*shown} <= known
        assert across and (figure.layout.yaxis.title.text or figure.layout.yaxis.ticktext)
    said = figure.layout.title.text
    assert any(name in said for name in ("25 Gaussians", "StackedMNIST", "CIFAR-10", "images of", "true q("))
    words = f"{said} {across} {figure.layout.yaxis.ticktext} {figure.layout.annotations}"
    assert "schedule" in words or e.name == "speed", "the time of a step is the same with every schedule"
    assert "T = " in words or "steps" in words


@EACH
def test_results_are_of_the_present_settings_and_weights_and_say_where_they_come_from(e):
    """Where this fails because of new weights, the experiment's own command measures what has changed."""
    cells = e.cells(False)
    assert len({json.dumps(cell) for cell in cells}) == len(cells)
    for result in evidence.read(e.name):
        assert evidence.Cell(result.row, result.seed, result.setting) in cells, result.row
        assert set(result.record) == {"commit", "torch", "hardware", "device", "threads", "wall_s"}


@EACH
def test_what_the_page_shows_is_short_and_a_part_of_the_whole(e):
    results = evidence.read(e.name)
    assert e.claim.endswith(".") and ". " not in e.claim, "one sentence"
    numbers = evidence.beside(e, results)
    assert 2 <= len(numbers) <= 4 and all(of.what and of.ours and of.paper for of in numbers)
    assert evidence.beside(e, results[:1]) == ()
    chosen = list(filter(e.chosen, results))
    assert chosen and (not e.chosen or len(chosen) < len(results))
    figure, whole = e.figure(chosen), e.figure(results)
    if e.name != "edits":
        assert len(figure.data) <= len(whole.data) and figure.layout.height <= min(whole.layout.height, 440)


@EACH
def test_every_command_parses_and_every_link_is_a_request(e):
    for command in [e.command, f"{e.command} --quick", *([e.closes[0]] if e.closes else [])]:
        parser().parse_args(shlex.split(command[command.index("ddgan") + len("ddgan") :]))
    assert e.link.startswith("?") and Request.from_query(e.link[1:])
    assert 0 < len(e.cells(True)) <= len(e.cells(False))


def test_direct_output_is_x_s_itself_and_one_shot_starts_at_noise():
    denoiser = MeanDenoiser(toys.toy("25-gaussians"))
    schedule = toys._Direct(Schedule.vp(4).alpha_bar)
    x_t = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    step = reverse_step(schedule, denoiser, x_t, 2, 3, z=x_t, eps=x_t)
    assert torch.equal(step.x_s, step.x_0)
    s, t = toys._OneShot(schedule).draw(200, torch.Generator().manual_seed(0))
    assert set(s.tolist()) == {0, 1, 2, 3} and set(t.tolist()) == {4}
    toys._OneShot(schedule).levels().check(Schedule.vp(1))


@pytest.mark.parametrize("shape", ["", "one-shot"])
def test_a_training_that_was_broken_off_goes_on_bit_for_bit_and_leaves_nothing(monkeypatch, tmp_path, shape):
    config, real = replace(toys.RECIPES["ours"], T=4, width=8, batch=16, steps=12), toys.train
    whole = toys.trained.__wrapped__(config, shape)[0]
    monkeypatch.setattr(toys, "CACHE", tmp_path)
    monkeypatch.setattr(toys, "SAVE_EVERY", 0)
    taken = []

    def broken(*given, start, **limits):
        taken.append(start.step)
        for step in real(*given, start=start, **limits):
            if step.step == 8 and not start.step:
                raise KeyboardInterrupt
            yield step

    monkeypatch.setattr(toys, "train", broken)
    with pytest.raises(KeyboardInterrupt):
        toys.trained.__wrapped__(config, shape)
    again = toys.trained.__wrapped__(config, shape)[0]
    assert taken == [0, 7]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
    assert not list((tmp_path / "evidence").iterdir())


def test_points_keep_their_place_in_a_file_of_results():
    points = np.random.default_rng(0).uniform(-1.8, 1.8, (50, 2))
    assert abs(figures.decode(figures.encode(points)) - points).max() <= figures.EXTENT / 255 + 1e-9


@pytest.mark.parametrize("log", [False, True])
def test_every_value_of_a_chart_has_a_mark_that_tells_it_and_a_small_one_stands_at_the_edge(log):
    rows = {"a": {"one": [0.03, 7.0], "two": [-0.2]}, "a longer name": {"one": [130.0]}}
    one, two = figures.dots(rows, "v", "data", log=log).data
    assert one.customdata == one.x == (0.03, 7.0, 130.0) and one.text == ("a", "a", "a longer name")
    assert [*one.marker.symbol] == ["circle"] * 3 and two.marker.color != one.marker.color
    assert two.customdata == (-0.2,) and two.x == ((0.01,) if log else (-0.2,))
    assert [*two.marker.symbol] == ["square-open" if log else "square"]
    with pytest.raises(Refused, match="at least one value"):
        figures.dots({"a": {"one": []}}, "v", "data", log=log)


def test_a_denoiser_has_its_colour_and_mark_in_every_figure():
    (dot,) = figures.dots({"a": {"DDGAN": [1.0]}}, "v", "data").data
    (curve,) = figures.curves([1, 2], {"DDGAN": [1.0, 2.0]}, ("T", "v"), "data").data
    assert (
        (dot.marker.color, dot.marker.symbol[0]) == (curve.marker.color, curve.marker.symbol) == figures.MARKS["DDGAN"]
    )


def test_figures_that_are_drawn_are_not_drawn_again_and_need_what_draws_them(tmp_path, monkeypatch, capsys):
    _, e = counted(tmp_path)
    assert evidence.draw(e, tmp_path) is None
    results = evidence.run(e, tmp_path)
    monkeypatch.setattr(evidence, "EXPERIMENTS", {e.name: e})
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    assert main(["evidence", "figures", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "figures need kaleido: pip install kaleido, and Chrome or Chromium" in said and said.count("\n") == 1
    assert not (tmp_path / "some.svg").exists()
    (tmp_path / "some.svg").write_text(f"<svg/><!-- {digest(e.figure(results))} -->")
    assert main(["evidence", "figures", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'some.svg'}\n"


@pytest.mark.slow
def test_a_figure_is_drawn_without_a_background_and_the_same_each_time():
    if not find_spec("kaleido"):
        pytest.skip("kaleido is needed")
    figure = figures.dots({"a": {"DDGAN": [1.0]}}, "v", "data")
    (suffix, first), (_, again) = pictures.picture(figure), pictures.picture(figure)
    assert suffix == ".svg" and first == again and digest(figure).encode() in first
    assert b"fill-opacity: 0" in first and b"rgb(255, 255, 255)" not in first


def test_results_stand_in_the_order_of_the_cells_whenever_they_were_measured(tmp_path):
    measured, whole = counted(tmp_path)
    evidence.run(replace(whole, cells=lambda quick: whole.cells(quick)[2:]), tmp_path)
    results = evidence.run(whole, tmp_path)
    assert measured == [2, 3, 0, 1] and [result.setting["k"] for result in results] == [0, 1, 2, 3]
    assert all(0 <= result.record["wall_s"] < 60 for result in results)
