"""What the page opens with is what the library computes: the recorded run and the results of the race."""

import math
from itertools import islice

import numpy as np
import pytest

from ddgan.errors import Refused
from ddgan.explorer import race as races
from ddgan.explorer.methods import METHODS
from ddgan.explorer.race import Race, steps
from ddgan.explorer.request import Request
from ddgan.ui.race import FIRST
from ddgan.views import recorded
from ddgan.views.encoding import packed, unpacked
from ddgan.views.lessons import EXPERIMENTS
from ddgan.views.race import shown
from ddgan.views.recorded import RACED, film, filmed, played, raced


@pytest.fixture(scope="module")
def run(session):
    """The recorded run, its arrays in shape."""
    found = unpacked(packed(played(session)))
    F = len(found["step"])
    shapes = {"cloud": (F, -1, 2), "arrows": (F, -1, 4), "surface": (F, 48, 48), "curve": (F - 1, 4)}
    return {**found, **{name: found[name].reshape(shape) for name, shape in shapes.items()}}


def test_the_recorded_run_is_a_training_of_the_first_experiment_and_a_small_file(run, session):
    config, every = film()
    assert run["experiment"] == next(iter(EXPERIMENTS)) and run["T"] == config.T and run["modes"] == 25
    assert run["step"].tolist() == [*range(0, config.steps + 1, every)]
    assert recorded.RUN.stat().st_size < 400_000
    assert run["cloud"].shape[1] == 1000 and run["target"]["scale"] * np.abs(run["cloud"]).max() < 6
    assert run["curve"][-1, 2] == 25 and run["curve"][-1, 3] > 0.9, "it shows what works"
    assert 5 < run["seconds"] < 120 and run["hardware"] and "commit" in run


def test_the_first_frames_of_the_recorded_run_are_those_of_the_training(run, session):
    """Of the first weights to the last bit shown; twenty updates on, Adam has made more of what processors round."""
    config, every = film()
    for k, frame in enumerate(islice(filmed(session.law(config.data), config, every), 3)):
        assert frame.step == run["step"][k]
        off = np.abs(run["target"]["scale"] * run["cloud"][k] - frame.cloud.numpy())
        logits = (run["surface"][k].astype(float) - 127.5) / 127.5 * run["peak"][k]
        other = np.abs(logits[::-1].T - frame.surface.numpy()) / run["peak"][k]
        pulls = np.abs(run["target"]["scale"] * run["arrows"][k, :, :2] - frame.pulls[:, 0].numpy())
        if k == 0:
            assert off.max() < 0.02 and other.max() <= 0.03 and pulls.max() < 0.02
        assert off.mean() < 0.08 and other.mean() < 0.1 and pulls.mean() < 0.2
        for point in frame.curve[k - 1 : k]:
            assert run["curve"][k - 1, :2] == pytest.approx(point[1:3], abs=0.02)


def test_a_run_is_recorded_and_read_back(session, tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "RUN", tmp_path / "run.gz")
    monkeypatch.setattr(recorded, "UPDATES", 6)
    monkeypatch.setattr(recorded, "EVERY", 2)
    assert recorded.record_run(session, lambda frames, of: frames) == tmp_path / "run.gz"
    found = played(session)
    assert found["step"].tolist() == [0, 2, 4, 6] and len(found["curve"]) == 3 * 4
    (tmp_path / "run.gz").write_bytes(b"no gzip")
    with pytest.raises(Refused, match="no recorded run"):
        played(session)


def test_the_shipped_race_is_the_one_that_is_first_and_has_every_method_and_all_evaluations(session):
    found, race = raced(*RACED), Race(session, *RACED)
    assert FIRST[:2] == (found.data, found.schedule) == RACED and found.commit
    assert (found.n, found.seed) == (Request.n, Request.seed)
    assert [*found.entries] == [(name, T) for T in races.STEPS for name in race._present() if T in steps(name)]
    for (name, T), entry in found.entries.items():
        assert (entry.method, entry.T, entry.nfe) == (name, T, METHODS[name].solver.nfe(T))
        request = race.request(name, T)
        try:
            session.model(request, name).check(session.schedule(request))
            assert entry.scores and entry.refusal is None
        except Refused as why:
            assert entry.scores == {} and str(entry.refusal) == str(why)
    assert raced("checkerboard", "vp") is None


@pytest.mark.parametrize(("name", "T"), [("exact", 1), ("ddgan", 2), ("gaussian", 4), ("learned-dpm", 4), ("flow", 1)])
def test_a_shipped_result_is_what_the_race_computes(session, name, T):
    race = Race(session, *RACED)
    assert list(race._tried(name, T))
    scores, shipped = race.entries[name, T].scores, raced(*RACED).entries[name, T].scores
    assert scores.keys() == shipped.keys()
    for measure, value in scores.items():
        assert shipped[measure] == pytest.approx(value, rel=0.02, abs=2e-3) or math.isnan(value), measure


def test_what_is_computed_replaces_what_is_shipped_and_the_words_say_how_far(session):
    race, shipped = Race(session, *RACED), raced(*RACED)
    before = shown(race, "energy", shipped)
    assert before["entries"] == 0 and before["shown"] == len(shipped.entries) > 70
    assert before["source"] == (
        f"Shipped results (commit {shipped.commit}, seed 0, 2,000 samples): press Race to compute them here."
    )
    assert list(race._tried("exact", 1))
    during = shown(race, "energy", shipped)
    assert during["source"].startswith(
        f"1 of {len(shipped.entries)} results were computed here; the others are shipped"
    )
    assert during["entries"] == 1 and during["shown"] == before["shown"]
    race.entries.update(shipped.entries)
    assert shown(race, "energy", shipped)["source"] == ""
    assert shown(Race(session, "checkerboard", "vp"), "energy")["shown"] == 0
