import json
import math
import shutil
from itertools import pairwise
from urllib.parse import urlencode

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ddgan.data.images import SETS, ImageSet
from ddgan.data.points import encode_points, fingerprint, of_columns
from ddgan.data.tables import read_table
from ddgan.data.toys import TOYS, law_of, toy
from ddgan.diffusion.denoiser import ExactDenoiser, MeanDenoiser
from ddgan.diffusion.sampler import Draws, sample
from ddgan.diffusion.schedule import FAMILIES, Schedule
from ddgan.errors import Cancelled, Refused
from ddgan.explorer import priority
from ddgan.explorer.catalogue import training_images
from ddgan.explorer.methods import METHODS
from ddgan.explorer.posterior import Question
from ddgan.explorer.request import MAX_WORK, Edit, Request, forked, unforked
from ddgan.explorer.scene import scene
from ddgan.explorer.session import MAX_ADOPTED, MAX_OWNED, Session
from ddgan.metrics.points import slices
from ddgan.models import checkpoint
from ddgan.models.checkpoint import WEIGHTS, load, read_card
from ddgan.models.config import Config
from ddgan.training.run import fit
from ddgan.views.answers import message
from ddgan.views.posterior import posterior
from ddgan.views.stage import stage, staged

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.lists(st.one_of(st.integers(), st.text(max_size=5)), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
GOOD = {
    "data": st.sampled_from(list(TOYS)),
    "denoisers": st.lists(st.sampled_from(list(METHODS)), min_size=1, unique=True),
    "T": st.integers(1, 128),
    "schedule": st.sampled_from(list(FAMILIES)),
    "seed": st.integers(0, 2**31 - 1),
    "n": st.integers(1, 5000),
}
FIELDS = [*GOOD, "span", "forks", "edit"]


def test_large_references_are_not_kept(monkeypatch):
    made = []
    monkeypatch.setattr("ddgan.explorer.session.slices", lambda x: made.append(len(x)) or slices(x))
    session = Session()
    for n in (100, 5_001) * 2:
        session.score(Request(n=n), session.law("25-gaussians").sample(n, torch.Generator().manual_seed(0)))
    assert made == [100, 5_001, 5_001]


def test_a_file_that_changes_and_a_run_that_is_trained_anew_are_read_anew(tmp_path):
    csv, run, session = tmp_path / "mine.csv", tmp_path / "run", Session()

    found = []
    for steps, end in ((1, 2), (2, 5)):
        csv.write_text(f"x,y\n0,0\n1,{end}\n3,1\n")
        shutil.rmtree(run, ignore_errors=True)
        list(fit(Config(str(csv), width=8, depth=1, batch=16, steps=steps), run))
        for data in (str(csv), str(run)):
            assert session.source(data) is session.source(data), "as long as it stays as it is"
            found.append((session.law(data), session.reference(data, 5)))
        assert session.denoiser(str(run), "ddgan") is session.denoiser(str(run), "ddgan")
        assert session.denoiser(str(run), "ddgan").card["steps"] == steps
    for (law, reference), (other, another) in zip(found[:2], found[2:], strict=True):
        assert not torch.equal(law.mu, other.mu) and not np.array_equal(reference, another)
    csv.unlink()
    with pytest.raises(Refused, match="cannot be read"):
        session.source(str(csv))


def test_what_is_shipped_is_not_looked_for_again(monkeypatch):
    session = Session()
    session.denoiser("rings", "ddgan")
    monkeypatch.setattr("pathlib.Path.stat", pytest.fail)
    session.denoiser("rings", "ddgan"), session.source(encode_points([[0, 0], [1, 1]]))


def test_an_edit_keeps_its_noise_in_other_steps():
    edit = Edit(3, "pixels")
    assert [edit.in_steps(T, 4).t for T in (1, 2, 3, 4, 8, 16)] == [1, 2, 2, 3, 6, 12]
    for T in (4, 8, 16):
        level = Schedule.vp(T).level(edit.in_steps(T, 4).t)
        torch.testing.assert_close(level, Schedule.vp(4).level(3), rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("T=4", None),
        ("T=4&forks=z.2.7", "New z at the step 2 → 1 for all samples"),
        ("T=4&forks=eps.2.7.3", "for sample #3: x₂ and"),
        ("T=4&forks=z.2.7&denoisers=mean,regression", "nothing is drawn anew"),
        ("T=4&forks=z.2.7&denoisers=mean,gaussian", "New z"),
        ("T=4&forks=eps.2.7&denoisers=mean", "New posterior noise"),
        ("T=4&forks=eps.1.7", "The last step adds no noise"),
        ("T=4&schedule=linear&span=0.0001,0.5", None),  # of 25 Gaussians it is noise, to .01 nats
        ("T=4&schedule=linear&span=0.0001,0.3", "x₄ keeps 0.84 of the signal"),
        *((f"T=4&schedule={family}", None) for family in FAMILIES),
    ],
)
def test_a_visitor_is_told_what_a_fork_changed_and_where_noise_is_not_all(query, words):
    said = message(scene(Session(), Request.from_query(query)))
    assert (said is None) if words is None else (words in said)


def test_images_are_not_judged_as_if_forks_and_edits_were_none():
    request = Request.parse({"data": "mnist", "T": 2, "n": 4, "forks": "z.1.5"})
    with pytest.raises(Refused, match="without forks and without an edit"):
        Session().evaluate(request, "ddgan")


def test_two_judges_of_images_see_the_same_ones_drawn_once(monkeypatch):
    drawn, seen = [], []

    def watch(batches, of):
        for batch in batches:
            drawn.append(batch)
            yield batch

    monkeypatch.setattr("ddgan.explorer.session.load_images", lambda name: name)
    monkeypatch.setattr("ddgan.explorer.session.fid", lambda batches, n, data: seen.append([*batches]) or 3.75)
    monkeypatch.setattr("ddgan.explorer.session.score_set", lambda batches, *_: seen.append([*batches]) or {"n": 4})
    numbers = Session().evaluate(Request("stackedmnist", ("ddgan",), T=1, n=4), "ddgan", watch=watch, with_fid=True)
    assert numbers == {"n": 4, "fid": 3.75} and len(drawn) == 1
    assert all(len(batches) == 1 and batches[0] is drawn[0] for batches in seen)


@pytest.mark.parametrize("data", SETS)
def test_a_short_link_of_images_asks_for_models_that_are_shipped(data):
    assert {*Request.from_query(f"data={data}").denoisers} <= {*Session().source(data).models}


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional=GOOD))
def test_a_request_survives_its_link_and_its_json(values):
    try:
        request = Request.parse(values)
    except Refused as error:
        assert "limited" in str(error)  # n x T x denoisers
        return
    assert Request.from_query(request.to_query()) == request
    assert Request.parse(json.loads(json.dumps(request.to_dict()))) == request


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.one_of(st.sampled_from(FIELDS), st.text(max_size=5)), JUNK, max_size=4))
@example({"T": True})
@example({"T": "4.5"})
@example({"n": 1e300})
@example({"seed": float("nan")})
@example({"span": "nan,1"})
@example({"denoisers": ["exact", "exact"]})
@example({"data": "/etc/passwd"})
@example({"data": "../weights/25-gaussians"})
@example({"n": 100_000, "T": 1000})
def test_any_mapping_is_a_request_within_bounds_or_one_sentence(values):
    try:
        request = Request.parse(values)
    except Refused as error:
        assert str(error) and "\n" not in str(error) and len(str(error)) < 400
    else:
        assert request.data in TOYS and set(request.denoisers) <= set(METHODS)
        assert request.n * request.T * len(request.denoisers) <= MAX_WORK
        assert request.named_schedule().T == request.T and Request.parse(request.to_dict()) == request


def test_a_strangers_images_are_priced_by_their_steps():
    wanted = {"data": "cifar10", "denoisers": "regression", "T": 1000, "n": 5}
    with pytest.raises(Refused, match="images x T x denoisers is limited to 4,000, got 5,000"):
        Request.parse(wanted)
    assert Request.parse({**wanted, "n": 4}).n == 4 and Request.parse(wanted, local=True).n == 5


def test_a_law_is_priced_by_its_components():
    def price(**values):
        with pytest.raises(Refused, match="is limited to 1,500,000,000, got") as error:
            Request.parse(values)
        return int(str(error.value).rsplit(" ", 1)[1].replace(",", ""))

    assert price(data="checkerboard", n=5000, T=1000, denoisers="exact") == 5000 * 1000 * 512
    assert price(data="25-gaussians", n=5000, T=1000, denoisers="exact,ddgan") == 5000 * 1000 * (25 + 300)
    assert price(data="rings", n=5000, T=1000, denoisers="flow,mean") == 5000 * 240 * (64 + 5 * 1000 + 1000)


@pytest.mark.parametrize("data", TOYS)
def test_a_visitor_may_ask_for_every_method_of_a_toy_at_once(data):
    methods = [name for name in METHODS if name != "official"]
    assert Request.parse({"data": data, "n": 5000, "T": 8, "denoisers": ",".join(methods[:6])}).n == 5000
    assert Request.parse({"data": data, "n": 5000, "T": 8, "denoisers": ",".join(methods[6:])}).T == 8


def test_a_visitor_has_few_models_and_takes_no_place_of_anothers():
    session = Session()
    mine = session.adopt(MeanDenoiser(toy("rings")), "me")
    theirs = [session.adopt(MeanDenoiser(toy("rings")), "them") for _ in range(MAX_OWNED + 3)]
    assert list(session.adopted) == [mine, *theirs[3:]]
    others = [session.adopt(MeanDenoiser(toy("rings")), str(i)) for i in range(MAX_ADOPTED)]
    assert list(session.adopted) == others


def test_what_nobody_waits_for_ends_between_two_steps(monkeypatch):
    steps = Session().run(Request(T=3, n=10), "exact")
    next(steps)
    monkeypatch.setattr(priority, "_wanted", lambda: False)
    with pytest.raises(Cancelled, match="nobody waits"):
        next(steps)


def test_a_fork_keeps_the_past_and_the_other_samples_and_changes_the_rest():
    plain = Request(n=20, T=4)
    forked = Request.from_query("n=20&T=4&forks=z.2.7.3,eps.3.1.5")
    assert Request.parse(forked.to_dict()) == forked
    for name in ("exact", "ddgan"):
        pairs = list(zip(Session().run(plain, name), Session().run(forked, name), strict=True))
        for a, b in pairs:
            changed = (a.x_s != b.x_s).any(1).nonzero().flatten().tolist()
            assert changed == {4: [], 3: [5], 2: [3, 5], 1: [3, 5]}[a.t]


@pytest.mark.parametrize(
    "fork", ["z", "z.2", "x.2.7", "z.5.7", "z.0.7", "z.2.7.20", "z.2.-1", "z.2.7.3.1", "z.2.7.3.", ["z.1.1"] * 65]
)
def test_a_fork_that_is_none_gets_a_sentence(fork):
    with pytest.raises(Refused, match="fork"):
        Request.parse({"n": 20, "T": 4, "forks": fork})


def test_a_link_keeps_foreign_parameters_out():
    assert Request.from_query("T=2&__theme=dark&utm_source=x") == Request(T=2)
    assert Request.from_query(urlencode({"span": "0.2,10"})).span == (0.2, 10.0)


def test_every_denoiser_starts_from_the_same_noise_and_the_same_request_gives_the_same_bytes():
    request = Request.parse({"n": 50, "seed": 7, "T": 3})
    firsts, lasts = [], []
    for session in (Session(), Session()):
        for name in ("exact", "gaussian", "mean"):
            first, *_, last = session.run(request, name)
            firsts.append(first.x_t)
            lasts.append(last.x_s)
    assert all(torch.equal(x, firsts[0]) for x in firsts)
    assert all(torch.equal(a, b) for a, b in zip(lasts[:3], lasts[3:], strict=True))
    assert not torch.equal(lasts[0], lasts[1])


def test_more_points_leave_the_first_ones_where_they_were():
    few, many = (list(Session().run(Request.parse({"n": n}), "exact"))[-1].x_s for n in (20, 300))
    assert torch.allclose(few, many[:20], atol=1e-5)


def tiny(**changes):
    return Config("8-gaussians", **{"width": 8, "depth": 1, "batch": 16, "steps": 12, **changes})


def test_a_stopped_and_resumed_run_equals_an_unbroken_one(tmp_path):
    list(fit(tiny(), tmp_path / "whole"))
    steps = fit(tiny(), tmp_path / "broken")
    for _ in range(5):
        next(steps)
    steps.close()
    list(fit(tiny(), tmp_path / "broken", resume=True))
    whole, broken = (load(tmp_path / name).state_dict() for name in ("whole", "broken"))  # the cards know the time
    assert whole.keys() == broken.keys() and all(torch.equal(whole[key], broken[key]) for key in whole)


def test_a_trained_directory_serves_where_a_data_name_stands(tmp_path):
    list(fit(tiny(T=2), tmp_path / "run"))
    request = Request.parse({"data": str(tmp_path / "run"), "denoisers": "ddgan", "T": 2, "n": 10}, local=True)
    *_, last = Session().run(request, "ddgan")
    assert last.x_s.shape == (10, 2) and last.x_s.isfinite().all()
    wrong = Request.parse({**request.to_dict(), "T": 3}, local=True)
    with pytest.raises(Refused, match="T = 1 or 2 alone: choose one of these"):
        list(Session().run(wrong, "ddgan"))
    with pytest.raises(Refused, match="no Learned Gaussian"):
        Session().run(request, "regression")


def test_a_training_set_that_could_not_be_read_is_read_again(monkeypatch):
    tries = []

    def reading(data):
        tries.append(data)
        if len(tries) == 1:
            raise Refused("not all of it")
        return "the images"

    monkeypatch.setattr("ddgan.explorer.session.find_images", lambda data: data)
    monkeypatch.setattr("ddgan.explorer.session.training_images", reading)
    session = Session()
    with pytest.raises(Refused, match="not all of it"):
        session.images("mnist")
    assert session.images("mnist") == "the images" and len(tries) == 2


def test_a_model_whose_samples_are_not_finite_leaves_the_others_their_panels():
    session = Session()
    denoiser = load("25-gaussians")
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.fill_(1e30)
    name = session.adopt(denoiser)
    values = {"data": "25-gaussians", "denoisers": f"exact,{name}", "n": 20}
    exact, own = stage(staged(session, Request.parse(values)))["panels"]
    assert exact["error"] is None and own["error"] == "Its samples are not finite."
    question = {"query": Request.parse(values).to_query(), "t": 1, "x": [0.3, 0.2], "of": "x_0"}
    exact, own = posterior(session, Question.parse(question))["panels"]
    assert exact["error"] is None and own["error"] == "Its samples are not finite."


def test_image_models_that_are_not_here_say_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint, "WEIGHTS", tmp_path)
    for name, expected in {
        "ddgan": "train cifar10 --out",
        "official": "python -m ddgan import-official",
        "exact": "no closed form",
    }.items():
        with pytest.raises(Refused, match=expected):
            Session().run(Request.parse({"data": "cifar10", "denoisers": name}), name)


def test_your_own_points_are_a_law_that_a_run_carries_with_it(tmp_path):
    csv = tmp_path / "mine.csv"
    csv.write_text("x,y\n" + "\n".join(f"{i % 3},{i // 3}" for i in range(9)))
    list(fit(Config(str(csv), width=8, depth=1, batch=16, steps=3), tmp_path / "run"))
    csv.unlink()
    session = Session()
    assert session.source(str(tmp_path / "run")).law.modes == 9
    request = Request.parse({"data": str(tmp_path / "run"), "denoisers": "exact", "n": 2000}, local=True)
    *_, last = session.run(request, "exact")
    assert session.score(request, last.x_s)["modes"] == 9


def test_a_model_of_an_earlier_version_keeps_the_one_scale_that_its_axes_shared(tmp_path):
    csv, run = tmp_path / "mine.csv", tmp_path / "run"
    csv.write_text("x,y\n" + "\n".join(f"{i % 3},{10 * (i // 3)}" for i in range(9)))
    list(fit(Config(str(csv), width=8, depth=1, batch=16, steps=3), run))
    now = Session().source(str(run))
    assert [axis.unit / other.unit for axis, other in pairwise(now.axes)] == [pytest.approx(0.1)]
    before, axes = of_columns(read_table(csv).points, "xy", "")
    card = json.loads((run / "card.json").read_text())
    for known in [{"data": fingerprint(before)}, {}]:
        (run / "card.json").write_text(json.dumps({k: v for k, v in card.items() if k != "data"} | known))
        found = Session().source(str(run))
        assert torch.equal(found.law.mu, before.mu) and found.axes == axes
    (run / "card.json").write_text(json.dumps(card))
    (run / "points.csv").write_text("x,y\n1,2\n3,4\n")
    with pytest.raises(Refused, match="points.csv: these are not the points that the model was trained on"):
        Session().source(str(run))


@pytest.mark.parametrize("columns", ["b,c", "2,3"])
def test_a_run_keeps_its_table_and_the_choice_of_its_columns(tmp_path, columns):
    table = tmp_path / "mine.csv"
    table.write_text("a,b,c\n" + "\n".join(f"{i},{i % 3},{i // 3}" for i in range(9)))
    list(fit(Config(f"{table}#{columns}", width=8, depth=1, batch=16, steps=3), tmp_path / "run"))
    table.unlink()
    assert [axis.name for axis in Session().source(str(tmp_path / "run")).axes] == ["b", "c"]


@pytest.mark.parametrize(
    "again, message",
    [
        (lambda out: fit(tiny(), out), "already holds a run"),
        (lambda out: fit(tiny(seed=1), out, resume=True), "seed 0 there and 1 now"),
        (lambda out: fit(tiny(), out.parent / "nowhere", resume=True), "no run to resume"),
    ],
)
def test_a_run_is_neither_overwritten_nor_confused_with_another(tmp_path, again, message):
    list(fit(tiny(), tmp_path / "run"))
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    with pytest.raises(Refused, match=message):
        next(again(tmp_path / "run"))
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_a_request_may_hold_its_own_points_and_says_what_has_not_been_trained_on_them():
    points = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    request = Request.parse({"data": encode_points(points), "n": 400, "T": 3})
    assert Request.from_query(request.to_query()) == request
    session = Session()
    *_, last = session.run(request, "exact")
    law = law_of(request.data)
    *_, own = sample(request.named_schedule(), ExactDenoiser(law), Draws.from_seeds(range(400), (2,), 3, 3))
    assert torch.equal(last.x_s, own.x_s)
    assert session.score(request, last.x_s)["of_modes"] == law.modes
    for name, ending in {"ddgan": " yet: the tab Train does it", "regression": ""}.items():
        with pytest.raises(Refused, match=f"has been trained on these points{ending}$") as caught:
            session.run(request, name)
        assert len(str(caught.value)) < 120
    many = {"data": request.data, "n": 5000, "T": 1000, "denoisers": "exact,gaussian,mean"}
    with pytest.raises(Refused, match="the components of this law, .* is limited to 1,500,000,000, got 4,500,000,000"):
        Request.parse(many)
    assert Request.parse(many, local=True).n == 5000


def test_a_model_of_own_points_brings_them_along(tmp_path):
    data = encode_points([[0, 0], [1, 0], [0, 1], [3, 3]])
    list(fit(Config(data, width=8, depth=1, batch=16, steps=2), tmp_path / "run"))
    assert torch.equal(Session().source(str(tmp_path / "run")).law.mu, Session().source(data).law.mu)


def test_a_stranger_draws_64_images_at_most_and_pays_for_every_sampling():
    with pytest.raises(Refused, match="at most 64 images are drawn at a time, got n = 65"):
        Request.parse({"data": "mnist", "n": 65, "T": 1})
    assert Request.parse({"data": "mnist", "n": 64, "T": 1}).n == 64
    request = Request.parse({"data": "rings", "denoisers": "exact", "n": 5000, "T": 1000})
    with pytest.raises(Refused, match="n x T x samplings x 240 .* is limited to 1,500,000,000, got 2,400,000,000"):
        request.afford(2)
    with pytest.raises(Refused, match="n x T x denoisers x samplings is limited to 20,000,000, got 25,000,000"):
        request.afford(5, local=True)


@pytest.mark.parametrize("denoisers", ["exact,exact", []])
def test_denoisers_are_chosen_each_once_and_one_at_least(denoisers):
    with pytest.raises(Refused, match="one or more denoisers, each once"):
        Request.parse({"denoisers": denoisers})


def test_a_fork_more_is_other_noise_and_can_be_taken_back():
    one = forked("", "z", 2)
    two = forked(one, "eps", 3, 15)
    three = forked(two, "z", 2)
    assert three == "z.2.1,eps.3.2.15,z.2.3" and unforked(three) == two and unforked(one) == ""


def test_samples_of_two_seeds_share_no_noise():
    first, second = (
        next(Session().run(Request("rings", ("exact",), T=1, n=30, seed=seed), "exact")).x_t for seed in (4, 5)
    )
    assert torch.cdist(first, second).min() > 0


def _ends(query):
    *_, last = Session().run(Request.from_query(query), "exact")
    return last.x_s


def test_the_last_of_two_forks_of_one_step_counts():
    assert torch.equal(_ends("n=20&T=3&forks=z.2.1,z.2.2"), _ends("n=20&T=3&forks=z.2.2"))
    assert not torch.equal(_ends("n=20&T=3&forks=z.2.1"), _ends("n=20&T=3&forks=z.2.2"))


def test_the_noise_of_a_fork_is_no_seeds_own():
    assert (_ends("n=20&T=3&seed=7&forks=z.1.7") != _ends("n=20&T=3&seed=7")).any(1).all()


def test_every_sampling_that_is_judged_has_a_seed_of_its_own(monkeypatch):
    session, seen, run = Session(), [], Session.run
    monkeypatch.setattr(session, "run", lambda request, name: seen.append(request.seed) or run(session, request, name))
    session.evaluate(Request(denoisers=("exact",), seed=4, n=50, T=1), "exact", 3)
    assert seen == [4, 5, 6]


def test_the_images_that_a_network_learns_from_are_the_mirrored_ones_too_where_it_is_so_trained(monkeypatch):
    data = ImageSet(np.random.default_rng(0).integers(0, 256, (3, 3, 4, 4), dtype=np.uint8))
    monkeypatch.setattr("ddgan.explorer.catalogue.load_images", lambda name: data)
    assert np.array_equal(training_images("cifar10").images, np.concatenate([data.images, data.images[..., ::-1]]))
    assert np.array_equal(training_images("mnist").images, data.images)


SHIPPED = [(data, kind) for data in TOYS for kind in Session().source(data).models]


def test_of_every_toy_a_ddgan_and_a_learned_gaussian_are_shipped_and_of_some_the_rivals():
    assert {(data, kind) for data in TOYS for kind in ("ddgan", "regression")} <= {*SHIPPED}
    assert {kind for _, kind in SHIPPED} == {"ddgan", "regression", "mixture", "consistency"}


@pytest.mark.parametrize(("data", "kind"), SHIPPED)
def test_a_shipped_model_of_points_draws_what_its_card_says(data, kind):
    """The card has the worst of three samplings of 10,000, this is one: five standard errors."""
    name, n = data if kind == "ddgan" else f"{data}-{kind}", 10_000
    session, request = Session(), Request(data, (kind,), n=n)
    *_, last = session.run(request, kind)
    score, card = session.score(request, last.x_s), read_card(WEIGHTS / name)["metrics"]["T=4"]
    p = card["on_mode"]
    assert abs(score["on_mode"] - p) < 5 * math.sqrt(2 * p * (1 - p) / n) + 0.01
    assert score["width"] == pytest.approx(card["width"], rel=0.05 if p > 0.5 else 0.3)
    assert score["kl"] < card["kl"] + 0.01 and score["sliced_w2"] < 1.5 * card["sliced_w2"] + card["floor_sliced_w2"]
