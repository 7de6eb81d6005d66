"""A watched run is the library's training; and what hands on its model refuses what is not one."""

import base64
import copy
import json
import math
import struct
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import save as serialise

from ddgan import cli, files
from ddgan.data.toys import data_label, toy
from ddgan.diffusion.sampler import Draws, sample
from ddgan.diffusion.schedule import Schedule
from ddgan.errors import Refused
from ddgan.explorer import live, live_runs, plane
from ddgan.explorer.live import Run
from ddgan.explorer.live_runs import LiveRuns
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.metrics.points import coverage
from ddgan.models import checkpoint, registry
from ddgan.models.config import Config
from ddgan.training.run import new_objective
from ddgan.training.trainer import train
from ddgan.views.answers import progress, title
from ddgan.views.encoding import encoded
from ddgan.views.lessons import EXPERIMENTS
from ddgan.views.stage import stage, staged
from ddgan.views.training import ARROW, arrows, frame_payload, target

CONFIG = Config("8-gaussians", T=2, width=16, depth=2, batch=64, ema=0.05, steps=30)
VALUES = {**CONFIG.to_dict(), "seconds": 20}
NOT_ASKED = (
    "objective", "clean", "steps", "multipliers", "patch", "d_width", "every", "flip", "decay", "accumulate", "init",
    "anneal", "ema_long", "classes", "unlabelled",
)  # fmt: skip
for name in NOT_ASKED:
    del VALUES[name]


def weights(config, steps):
    """The moving average after some updates of the library's own training."""
    law = toy(config.data)
    objective = new_objective(config, law)
    updates = train(
        objective, lambda _, noise: (law.sample(config.batch, noise), None), seed=config.seed, steps=config.steps
    )
    for _ in islice(updates, steps):
        pass
    return objective.denoiser.state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def run_of(config=CONFIG, **how):
    return Run(config, toy(config.data), seconds=10**6, **how)


@pytest.mark.parametrize(
    "config",
    [CONFIG, replace(CONFIG, T=None, loss="paper"), Config("4-gaussians-1d", T=1, network="plain", width=8, steps=30)],
)
def test_a_watched_run_ends_with_the_weights_of_the_librarys_training(config):
    run = run_of(config)
    *_, last = run.frames()
    assert (last.state, last.step) == ("done", 30)
    assert same(run.denoiser().state_dict(), weights(config, 30))
    assert last.cloud.shape == (live.CLOUD_POINTS, toy(config.data).shape[0]) and last.surface.isfinite().all()
    assert last.note.startswith(f"Done: {data_label(config.data)}, vp, T = {config.T or live.ANY_T}: ")
    assert f"{last.modes} modes after 30 updates" in last.note


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name.startswith("Rival")])
def test_a_run_without_a_discriminator_has_no_surface_and_no_loss_of_one(name):
    config = replace(EXPERIMENTS[name][0], width=16, depth=1, batch=64, steps=30)
    run = run_of(config)
    run.tune(lr_g=1e-3, lr_d=0.0, gamma=0.0)
    *_, last = run.frames()
    assert (last.state, last.step, last.surface) == ("done", 30, None) and last.cloud.isfinite().all()
    assert last.pulls is None
    assert all(np.isnan(point.d) and np.isfinite(point.g) for point in last.curve)
    drawn = json.loads(encoded(frame_payload(last)), parse_constant=pytest.fail)
    assert drawn["surface"] is drawn["arrows"] is None and progress(last)["d"] is None
    assert run.changes[0]["lr_g"] == 1e-3 and run._model.card is None
    desk = LiveRuns(Session())
    name = desk.adopt(run, "me")
    *_, shown = desk.session.run(asked := desk.request(name, ["exact"], n=live.CLOUD_POINTS, seed=0), name)
    assert asked.T == config.T and torch.equal(shown.x_s, last.cloud), "walked with by the same solver"


def test_the_network_that_is_asked_for_says_the_objective():
    asked = {"skip": 2, "mixture": 3, "flow": 0}
    found = [live_runs.parse({**VALUES, "network": network, "latent_dim": z})[0] for network, z in asked.items()]
    assert [config.objective for config in found] == ["ddgan", "mixture", "consistency"]


def test_a_run_by_hand_makes_one_update_a_step_and_the_same_updates():
    run = run_of(paused=True)
    frames = run.frames()
    assert next(frames).step == 0
    for k in range(1, 4):
        run.step()
        while (frame := next(frames)).step < k:
            assert frame.step == k - 1
        assert next(frames).step == k, "no update without a step"
    assert frame.state == "paused"
    run.stop()
    *_, last = frames
    assert (last.state, last.step) == ("stopped", 3)
    assert same(run.denoiser().state_dict(), weights(CONFIG, 3))


def test_a_step_of_one_player_moves_no_other_and_the_card_counts_it():
    run = run_of(paused=True)
    frames = run.frames()
    frame = next(frames)
    assert frame.players == ()
    for k, players in enumerate([("d",), ("g",), ("d",), ("d", "g")], start=1):
        before = {name: copy.deepcopy(network.state_dict()) for name, network in run._objective.networks.items()}
        run.step(players)
        while (frame := next(frames)).step < k:
            pass
        after = {name: network.state_dict() for name, network in run._objective.networks.items()}
        assert frame.players == players and {name for name in after if not same(after[name], before[name])} == {
            *players
        }
        assert frame_payload(frame)["players"] == "".join(players)
        assert [math.isfinite(loss) for loss in frame.curve[-1][1:3]] == ["d" in players, "g" in players]
    run.stop()
    *_, last = frames
    assert run.denoiser().card["alone"] == {"d": 2, "g": 1}


def test_slow_motion_is_d_then_g_each_in_a_frame_and_ends_with_whole_updates(monkeypatch):
    monkeypatch.setattr(live, "HALF", 0.0)
    run = run_of()
    run.slow_motion(True)
    seen = [frame for frame in islice(run.frames(), 7) if frame.step]
    assert [frame.step for frame in seen] == [1, 2, 3, 4, 5, 6] and seen[0].note == live.SLOW
    assert [frame.players for frame in seen] == [("d",), ("g",)] * 3
    other = run_of()
    frames = other.frames()
    other.slow_motion(True)
    while next(frames).step < 2:
        pass
    other.slow_motion(False)
    *_, last = frames
    assert (last.state, last.step, last.players) == ("done", 30, ("d", "g")) and other.alone == {"d": 1, "g": 1}


def test_a_training_without_d_refuses_its_step_and_has_no_halves(monkeypatch):
    monkeypatch.setattr(live, "HALF", 0.0)
    name = next(name for name in EXPERIMENTS if name.startswith("Rival"))
    run = run_of(replace(EXPERIMENTS[name][0], width=16, depth=1, batch=64, steps=30))
    with pytest.raises(Refused, match="this training has no D"):
        run.step(("d",))
    run.slow_motion(True)
    first = next(frame for frame in run.frames() if frame.step)
    assert first.note == "" and run.alone == {"d": 0, "g": 0}


def test_pausing_holds_a_run_and_resuming_changes_nothing_but_time():
    run = run_of()
    frames = run.frames()
    next(frames)
    run.pause()
    held = next(frames)
    while held.state != "paused":
        held = next(frames)
    assert next(frames) is held, "nothing new is drawn while nothing changes"
    run.resume()
    *_, last = frames
    assert (last.state, last.step) == ("done", 30)
    assert same(run.denoiser().state_dict(), weights(CONFIG, 30))


@pytest.mark.slow
def test_two_runs_do_not_touch_each_other():
    configs = [replace(CONFIG, seed=1), replace(CONFIG, seed=2, loss="rpgan")]
    runs = [run_of(config, paused=True) for config in configs]
    frames = [run.frames() for run in runs]
    while not all(run.over for run in runs):
        for run, drawn in zip(runs, frames, strict=True):
            run.step()
            next(drawn, None)
    for run, config in zip(runs, configs, strict=True):
        assert run.state == "done" and same(run.denoiser().state_dict(), weights(config, 30))


def test_a_run_gives_way_to_what_somebody_waits_for(monkeypatch):
    asked = []
    monkeypatch.setattr(live, "give_way", lambda: asked.append(run.last.step))
    run = run_of()
    list(run.frames())
    assert asked == list(range(30)), "before every update"


def test_stop_before_its_turn_and_closing_the_frames_end_a_run():
    run = run_of()
    run.stop()
    assert run.over and list(run.frames()) == [] and run.denoiser() is None
    run = run_of(replace(CONFIG, steps=10**9))
    frames = run.frames()
    next(frames)
    frames.close()
    assert run.state == "stopped" and list(run.frames()) == []


def test_a_loss_that_is_not_finite_stops_with_a_sentence_and_the_last_good_cloud():
    run = run_of(replace(CONFIG, steps=10**9), paused=True)
    frames = run.frames()
    next(frames)
    run.step()
    while (good := next(frames)).step < 1:
        pass
    with torch.no_grad():
        run._objective.networks["g"].net.layers[0].weight.fill_(float("nan"))
    run.resume()
    *_, last = frames
    assert last.state == "failed" and "nan at update 2" in last.note and "after update 1" in last.note
    assert last.step == 1 and torch.equal(last.cloud, good.cloud)
    assert same(run.denoiser().state_dict(), weights(replace(CONFIG, steps=10**9), 1))


def test_a_run_that_never_got_going_leaves_no_model():
    run = run_of(replace(CONFIG, steps=10**9))
    frames = run.frames()
    next(frames)
    with torch.no_grad():
        run._objective.networks["d"].first.bias.fill_(float("inf"))
    *_, last = frames
    assert last.state == "failed" and "no good update" in last.note and last.cloud.isfinite().all()
    assert run.denoiser() is None


def test_rates_and_penalty_change_between_updates_and_the_card_says_so():
    run = run_of(paused=True)
    frames = run.frames()
    next(frames)
    run.step()
    while next(frames).step < 1:
        pass
    run.tune(lr_g=0.0, gamma=0.5)
    run.step()
    while next(frames).step < 2:
        pass
    rates = {name: player.lr for name, player in run._objective.players.items()}
    assert rates == {"g": 0.0, "d": CONFIG.lr_d} and run._objective.gamma == 0.5
    run.stop()
    *_, _ = frames
    assert run.denoiser().card["changes"] == [{"after": 1, "lr_g": 0.0, "gamma": 0.5}]
    for bad in ({"width": 3}, {"lr_g": -1.0}, {"gamma": float("nan")}):
        with pytest.raises(Refused):
            run.tune(**bad)


def test_a_run_that_stays_paused_ends_by_itself(monkeypatch):
    monkeypatch.setattr(live, "PAUSE_LIMIT", 0.3)
    run = run_of(paused=True)
    *_, last = run.frames()
    assert last.state == "stopped" and "pause" in last.note


def test_a_run_ends_with_its_seconds():
    run = Run(replace(CONFIG, steps=10**9), toy(CONFIG.data), seconds=0.5)
    *_, last = run.frames()
    assert last.state == "done" and last.seconds >= 0.5


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_can_be_asked_for(name):
    config, words = EXPERIMENTS[name]
    values = {k: v for k, v in config.to_dict().items() if k not in NOT_ASKED}
    assert live_runs.parse({**values, "T": config.T or 0, "seconds": 20}) == (config, 20)
    assert words.endswith(".") and len(words) < 160


@pytest.mark.slow
def test_without_z_one_step_hardly_reaches_a_mode_and_with_it_all():
    numbers = {}
    for name in ("Fails: no z, T = 1", "Works: T = 4"):
        run = run_of(replace(EXPERIMENTS[name][0], steps=600))
        *_, last = run.frames()
        numbers[name] = last.curve[-1]
    assert numbers["Fails: no z, T = 1"].on_mode < 0.1 and numbers["Fails: no z, T = 1"].modes < 10
    assert numbers["Works: T = 4"].on_mode > 0.5 and numbers["Works: T = 4"].modes == 25


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"width": 10**6}, "width"), ({"batch": 10**6}, "batch"), ({"seconds": 10**6}, "seconds"), ({"T": 64}, "T"),
        ({"depth": 8}, "depth"), ({"latent_dim": 1}, "latent"), ({"lr_g": float("nan")}, "lr_g"),
        ({"seed": True}, "seed"), ({"gamma": -1}, "gamma"), ({"loss": "none"}, "loss"),
        ({"data": "/etc/passwd"}, "data"), ({"network": None}, "network"), ({"objective": "regression"}, "objective"),
        ({"more": 1}, "more"),
    ],
)  # fmt: skip
def test_a_visitor_asks_for_too_much_or_for_nonsense_in_vain(change, word):
    desk = LiveRuns(Session())
    with pytest.raises(Refused, match=word):
        desk.open("a", {**VALUES, **change})
    assert not desk.runs


def test_visitors_have_one_run_each_and_know_their_place(monkeypatch):
    desk = LiveRuns(Session())
    first, second = desk.open("a", VALUES), desk.open("b", VALUES)
    assert desk.run("a") is first and desk.run("b") is second and desk.run("c") is None
    assert (desk.ahead(first.id), desk.ahead(second.id), desk.ahead("nobody")) == (0, 1, 0)
    again = desk.open("a", VALUES)
    assert first.over and not second.over and desk.ahead(again.id) == 1
    desk.close("b", again)
    assert desk.run("b") is second, "only its own run"
    desk.close("b")
    assert second.over and desk.ahead(again.id) == 0
    monkeypatch.setattr(live_runs, "MAX_RUNS", 1)
    with pytest.raises(Refused, match="try again"):
        desk.open("c", VALUES)


def test_an_adopted_model_is_a_denoiser_of_the_session_under_its_own_name_only():
    desk = LiveRuns(Session())
    run = desk.open("a", VALUES)
    run.config = replace(run.config, steps=5)
    list(run.frames())
    name = desk.adopt(run, "me")
    asked = desk.request(name, ["exact"], n=50, seed=3)
    assert asked == Request.parse({"data": "8-gaussians", "T": 2, "denoisers": ["exact", name], "n": 50, "seed": 3})
    beside = desk.request(name, ["learned-ddim", "ddim", "official"], n=50, seed=3)
    assert beside.denoisers == ("learned-ddim", "ddim", name), "what has a model here stays"
    *_, last = desk.session.run(asked, name)
    assert last.x_s.shape == (50, 2)
    assert title(name, desk.session.adopted[name]) == ("Your model", "trained on 8 Gaussians, T = 2")
    for T, told in {2: False, 1: True}.items():
        (_, panel) = stage(staged(desk.session, replace(asked, T=T)))["panels"]
        assert panel["error"] is None and (f"not trained on steps as long as those of T = {T}" in panel["note"]) == told
    other = Session()
    with pytest.raises(Refused, match="no longer here"):
        other.run(asked, name)
    with pytest.raises(Refused, match="no longer here"):
        desk.request("own-0000000000000000", [], n=50, seed=3)
    with pytest.raises(Refused, match="trained on data of shape"):
        desk.session.run(replace(asked, data="4-gaussians-1d"), name)


def test_a_frame_is_strict_json_and_its_arrays_are_the_frames():
    run = run_of()
    *_, frame = run.frames()
    drawn = json.loads(encoded(frame_payload(frame)), parse_constant=pytest.fail)
    cloud = np.frombuffer(base64.b64decode(drawn["cloud"]), np.int16).reshape(-1, 2) * plane.scale(plane.LIMIT)
    assert np.abs(cloud - frame.cloud.clamp(-6, 6).numpy()).max() < 2e-4
    surface = np.frombuffer(base64.b64decode(drawn["surface"]["data"]), np.uint8).reshape(48, 48)
    logits = (surface.astype(float) - 127.5) / 127.5 * drawn["surface"]["peak"]
    assert np.abs(logits[::-1].T - frame.surface.numpy()).max() <= drawn["surface"]["peak"] / 127
    curve = np.frombuffer(base64.b64decode(drawn["curve"]), np.float32).reshape(-1, 5)
    assert np.allclose(curve, np.array(frame.curve, dtype=np.float32)) and len(curve) >= 1
    behind = target(run.law, CONFIG.data)
    assert behind["dim"] == 2 and behind["label"] == "8 Gaussians"
    assert frame_payload(run_of().waiting())["cloud"] is None


def test_a_run_whose_frames_are_updates_apart_is_the_same_run_again_and_again():
    films = [[*Run(CONFIG, toy(CONFIG.data), seconds=math.inf, every=8).frames()] for _ in range(2)]
    assert [frame.step for frame in films[0]] == [0, 8, 16, 24, 30]
    for one, other in zip(*films, strict=True):
        assert torch.equal(one.cloud, other.cloud) and torch.equal(one.pulls, other.pulls)
    assert [point[1:] for point in films[0][-1].curve] == [point[1:] for point in films[1][-1].curve]
    assert len(films[0][-1].curve) == 4, "a point for every frame but the first"


def test_what_pulls_g_is_the_slope_of_the_discriminator_at_what_g_draws():
    run = run_of(replace(CONFIG, steps=1))
    frames = run.frames()
    x_0, slope = next(frames).pulls.unbind(1)
    networks, x_1 = run._objective.networks, torch.zeros(live.PULLED, 2)
    near, far = (Schedule.vp(2).level(t, x_1) for t in (0, 1))
    assert torch.allclose(x_0, networks["g"](x_1, far, run._draws.z[0, : live.PULLED]))
    d, step = copy.deepcopy(networks["d"]).double(), 1e-7 * torch.eye(2).double()
    given = [part.double() for part in (x_1, near, far)]
    for c in range(2):
        up, down = (d(x_0.double() + way * step[c], *given) for way in (1, -1))
        assert torch.allclose(slope[:, c].double(), (up - down) / 2e-7, rtol=1e-3, atol=1e-5)
    assert all(weight.grad is None for weight in networks["d"].parameters()), "training goes on as if nobody looked"
    frames.close()


def test_an_arrow_begins_where_g_draws_and_leads_uphill():
    pulls = torch.tensor([[[0.0, 1.0], [3.0, 4.0]], [[-1.0, 0.0], [0.0, -50.0]]])
    (_, there), (_, fall) = (arrow.reshape(2, 2) for arrow in arrows(pulls, plane.LIMIT))
    assert torch.allclose((there - pulls[0, 0]) / (there - pulls[0, 0]).norm(), torch.tensor([0.6, 0.8]))
    assert torch.allclose(fall - pulls[1, 0], torch.tensor([0.0, -ARROW * plane.LIMIT]))


def test_the_surface_is_what_the_discriminator_says():
    run = run_of(replace(CONFIG, steps=1))
    frames = run.frames()
    first = next(frames)
    d, schedule = run._objective.networks["d"], Schedule.vp(2)
    x = ((torch.tensor([[3, 40]]) + 0.5) / 48 * 2 - 1) * plane.LIMIT  # the middle of a cell
    said = d(x, torch.zeros(1, 2), schedule.level(0).float(), schedule.level(1).float())
    assert torch.allclose(first.surface[3, 40], said[0], atol=1e-5)
    frames.close()


# ---------------------------------------------------------------- one file


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(the live runs, name of its model, path of the model's file)."""
    desk = LiveRuns(Session())
    run = desk.open("a", {**VALUES, "data": "25-gaussians", "T": 4})
    run.config = replace(run.config, steps=5)
    list(run.frames())
    name = desk.adopt(run, "me")
    return desk, name, desk.save(name, tmp_path_factory.mktemp("file"))


def test_a_downloaded_model_gives_identical_samples_wherever_it_is_loaded(trained, capsys):
    desk, name, path = trained
    assert path.name == "ddgan-25-gaussians.safetensors"
    asked = desk.request(name, [], n=200, seed=1)
    *_, here = desk.session.run(asked, name)
    again = desk.load(path, "me")
    assert again != name
    *_, there = desk.session.run(replace(asked, denoisers=(again,)), again)
    assert torch.equal(here.x_s, there.x_s)
    loaded = checkpoint.load(path)
    assert (
        loaded.card == desk.session.adopted[name].card | {"levels": loaded.card["levels"]}
        and loaded.levels == desk.session.adopted[name].levels
    )
    *_, alone = sample(Schedule.vp(4), loaded, Draws.from_seeds(range(100_000, 100_200), (2,), 4, 2))
    assert torch.equal(here.x_s, alone.x_s)
    *_, named = Session().run(replace(asked, data=str(path), denoisers=("ddgan",)), "ddgan")
    assert torch.equal(here.x_s, named.x_s)
    assert cli.main(["evaluate", str(path), "-n", "200", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["modes"] <= 25


def _file(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _forged(path, card=None, tensors=None):
    """The model's file with other parts: a change of its card, or of its tensors."""
    denoiser = checkpoint.load(path)
    whole = {k: v.clone() for k, v in denoiser.state_dict().items()} | (tensors or {})
    whole = {k: v for k, v in whole.items() if v is not None}
    text = card if isinstance(card, str) else json.dumps({**denoiser.card, **(card or {})})
    return serialise(whole, metadata={"card": text})


def _honest(path, **sizes):
    """The file of another network than that of the path, which is what its card says."""
    config = replace(CONFIG, network="plain", **sizes)
    denoiser, out = registry.new_generator(config, (2,)), path.with_name("honest.safetensors")
    denoiser.card = {**checkpoint.load(path).card, "config": config.to_dict()}
    checkpoint.save_file(out, denoiser)
    return out.read_bytes()


HOSTILE = {
    "empty": lambda path: b"",
    "a zip": lambda path: b"PK\x03\x04" + b"\0" * 100,
    "a pickle": lambda path: b"\x80\x04cos\nsystem\n",
    "truncated": lambda path: path.read_bytes()[:-100],
    "a longer header than file": lambda path: struct.pack("<Q", 2**62) + b"{}",
    "a header of 100,000 entries": lambda path: _file(
        {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(100_000)}
    ),
    "a deep header": lambda path: _file(b"[" * 60_000),
    "a header that is a list": lambda path: _file([1, 2]),
    "no card": lambda path: serialise({"x": torch.zeros(2)}),
    "metadata of another kind": lambda path: _file({"__metadata__": {"card": 3}}),
    "a card that is no JSON": lambda path: _forged(path, "hello"),
    "a deep card": lambda path: _forged(path, "[" * 50_000),
    "a card that is a number": lambda path: _forged(path, "3"),
    "an unknown config": lambda path: _forged(path, {"config": {"data": "rings", "evil": 1}}),
    "a config of nothing": lambda path: _forged(path, {"config": None}),
    "a huge network": lambda path: _forged(path, {"config": {**CONFIG.to_dict(), "width": 1024, "depth": 8}}),
    "more numbers in z than can be drawn": lambda path: _honest(path, width=1, depth=1, latent_dim=65_536),
    "an honest network that is too large": lambda path: _honest(path, width=513),
    "huge data": lambda path: _forged(path, {"shape": [4096, 4096, 4096]}),
    "data of text": lambda path: _forged(path, {"shape": "ab"}),
    "images": lambda path: _forged(path, {"shape": [3, 8]}),
    "levels that are NaN": lambda path: _forged(path, {"levels": {"values": [float("nan")], "between": True}}),
    "levels of text": lambda path: _forged(path, {"levels": {"values": ["a"], "between": True}}),
    "levels of nothing": lambda path: _forged(path, {"levels": {}}),
    "a tensor missing": lambda path: _forged(path, tensors={"net.layers.0.bias": None}),
    "a tensor too many": lambda path: _forged(path, tensors={"more": torch.zeros(1)}),
    "another shape": lambda path: _forged(path, tensors={"net.layers.0.bias": torch.zeros(3)}),
    "another type": lambda path: _forged(path, tensors={"net.layers.0.bias": torch.zeros(16, dtype=torch.float64)}),
    "NaN weights": lambda path: _forged(path, tensors={"net.layers.0.bias": torch.full((16,), torch.nan)}),
    "infinite weights": lambda path: _forged(path, tensors={"net.layers.0.bias": torch.full((16,), torch.inf)}),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_in_one_sentence(trained, tmp_path, what):
    desk, _, path = trained
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(HOSTILE[what](path))
    known = set(desk.session.adopted)
    with pytest.raises(Refused) as error:
        desk.load(bad, "me")
    assert "bad.safetensors" in str(error.value) and "\n" not in str(error.value)
    assert str(tmp_path) not in str(error.value) and len(str(error.value)) < 400
    assert set(desk.session.adopted) == known
    assert ("has a header of" in str(error.value)) == (what == "a header of 100,000 entries")


def test_a_model_whose_card_names_a_file_of_the_server_reads_none(trained, tmp_path, monkeypatch):
    desk, name, _ = trained
    secret = tmp_path / "secret.csv"
    secret.write_text("0,0\n1,1\n")
    denoiser = copy.deepcopy(desk.session.adopted[name])
    denoiser.card = {**denoiser.card, "config": {**denoiser.card["config"], "data": str(secret)}}
    monkeypatch.setattr("ddgan.explorer.catalogue.read_table", lambda *of: pytest.fail("read"))
    assert desk.request(desk.session.adopt(denoiser, "me"), ["exact"], n=50, seed=3).data == Request.data


def test_a_file_that_is_too_large_is_not_read(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    with pytest.raises(Refused, match="larger"):
        trained[0].load(trained[2], "me")


def test_a_model_of_data_that_its_file_does_not_hold_says_so(trained, tmp_path):
    path = tmp_path / "mine.safetensors"
    denoiser = checkpoint.load(trained[2])
    denoiser.card = {**denoiser.card, "config": {**denoiser.card["config"], "data": "/etc/hosts.csv"}}
    checkpoint.save_file(path, denoiser)
    with pytest.raises(Refused, match="does not hold"):
        Session().source(str(path))
    name = trained[0].load(path, "me")  # it can still be compared, on other data
    assert trained[0].request(name, [], n=10, seed=0).data == Request().data
    denoiser.card["long"] = "x" * 70_000
    with pytest.raises(Refused, match="header"):
        checkpoint.save_file(tmp_path / "long.safetensors", denoiser)


def test_the_curve_has_the_mean_losses_and_the_cloud_is_the_moving_averages_for_another_seed_too():
    run, law = run_of(replace(CONFIG, seed=5)), toy(CONFIG.data)
    frames = list(run.frames())
    steps = train(new_objective(run.config, law), lambda _, noise: (law.sample(64, noise), None), seed=5, steps=30)
    losses = [step.losses for step in steps]
    for (a, b), point in zip(pairwise(sorted({frame.step for frame in frames})), frames[-1].curve, strict=True):
        for name in "dg":
            assert getattr(point, name) == pytest.approx(sum(each[name] for each in losses[a:b]) / (b - a))
    *_, end = sample(
        Schedule.vp(2), run.denoiser(), Draws.from_seeds(range(live.CLOUD_POINTS), (2,), 2, run.config.latent_dim)
    )
    assert torch.equal(frames[-1].cloud, end.x_s)


def test_a_run_that_need_not_wait_is_first_and_one_that_is_over_stands_before_nobody(monkeypatch):
    desk = LiveRuns(Session())
    first = desk.open("a", VALUES)
    monkeypatch.setattr(live_runs, "MAX_RUNS", 1)
    now = desk.open("b", VALUES, waits=False)
    assert (desk.ahead(now.id), desk.ahead(first.id)) == (0, 1)
    now.stop()
    assert desk.ahead(first.id) == 0


def test_a_model_of_images_is_not_loaded_as_one_of_points():
    with pytest.raises(Refused, match=r"data of shape \[1, 28, 28\], wanted one or two coordinates"):
        LiveRuns(Session()).load(checkpoint.WEIGHTS / "mnist" / "model.safetensors", "me")


def test_a_run_ends_by_the_clock_on_the_wall_too(monkeypatch):
    monkeypatch.setattr(live, "PAUSE_LIMIT", -1999.95)  # of twice the seconds, .05 are left
    *_, last = Run(replace(CONFIG, steps=10**9), toy(CONFIG.data), seconds=1000).frames()
    assert last.state == "stopped" and "on the clock" in last.note


def test_the_curve_and_the_card_say_what_is_drawn():
    config = Config("8-gaussians", T=2, width=16, depth=2, batch=64, ema=0.05, steps=30)
    run = Run(config, toy("8-gaussians"), seconds=10**6)
    *_, last = run.frames()
    point, cover = last.curve[-1], coverage(last.cloud, run.law)
    assert (point.seconds, point.modes, point.on_mode) == (last.seconds, cover.modes, cover.on_mode)
    denoiser = run.denoiser()
    *_, end = sample(Schedule.vp(2), denoiser, Draws.from_seeds(range(10_000), (2,), 2, 2))
    assert denoiser.card["metrics"]["T=2"]["on_mode"] == coverage(end.x_s, run.law).on_mode
