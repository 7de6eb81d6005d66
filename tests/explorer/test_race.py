"""The race: few steps first, every number that of the session, and what was computed stays."""

from itertools import pairwise

import pytest
import torch

from ddgan.data.points import encode_points
from ddgan.data.toys import toy
from ddgan.explorer import race as races
from ddgan.explorer.methods import METHODS
from ddgan.explorer.race import Race, steps
from ddgan.explorer.request import Request

LINE = "4-gaussians-1d"


@pytest.fixture
def few(monkeypatch):
    """A race of no more than four steps."""
    monkeypatch.setattr(races, "STEPS", (1, 2, 4))


def test_every_number_is_the_sessions_and_few_steps_come_first(session, few):
    race, heard = Race(session, LINE, "geometric"), []
    heard.extend(race.run())
    assert all(0 <= a.done <= b.done <= 1 for a, b in pairwise(heard))
    Ts = [T for _, T in race.entries]
    assert Ts == sorted(Ts) and set(Ts) == {1, 2, 4}
    for (method, T), entry in race.entries.items():
        request = Request(LINE, (method,), T, "geometric")
        assert (entry.method, entry.T, entry.nfe) == (method, T, METHODS[method].solver.nfe(T))
        if T == 2:
            *_, last = session.run(request, method)
            assert entry.scores == session.score(request, last.x_s)


def test_the_exact_flow_map_runs_once_and_no_model_of_images_runs(session, few):
    race = Race(session, LINE, "vp")
    for _ in race.run():
        pass
    assert [T for method, T in race.entries if method == "flow"] == [1] == [*steps("flow")]
    assert "official" not in {method for method, _ in race.entries} | set(race.absent)
    assert steps("heun") == (1, 2, 4) and race.entries["heun", 4].nfe == 7


def test_a_race_that_is_left_goes_on_where_it_was(session, few):
    race = Race(session, LINE, "vp")
    run = race.run()
    while len(race.entries) < 5:
        next(run)
    run.close()
    before = dict(race.entries)
    assert len(before) == 5
    again = [(at.method, at.T) for at in race.run()]
    assert not set(again) & set(before), "what is known is not computed a second time"
    assert all(race.entries[key] is entry for key, entry in before.items())
    assert not list(race.run()), "nothing is left to do"


def test_who_refuses_a_schedule_says_so_and_the_others_go_on(session):
    race = Race(session, LINE, "vp")
    for name in ("ddgan", "mean"):
        assert list(race._tried(name, 64))
    assert race.entries["mean", 64].scores and race.entries["ddgan", 64].scores == {}
    assert "steps of vp: choose 50 or fewer" in str(race.entries["ddgan", 64].refusal)


def test_methods_whose_model_is_not_here_are_named(session, few):
    points = encode_points(toy("8-gaussians").sample(40, torch.Generator().manual_seed(0)))
    race = Race(session, points, "vp")
    next(race.run())
    assert {"ddgan", "regression", "learned-ddim"} <= set(race.absent) and "exact" not in race.absent
