"""The public endpoints, asked as a stranger would: gradio_client, curl, raw HTTP."""

import asyncio
import base64
import inspect
import io
import json
import shlex
import shutil
import subprocess
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ddgan import cli
from ddgan.data.points import encode_points
from ddgan.errors import Refused
from ddgan.evidence.bench import crowd
from ddgan.evidence.bench.page import served
from ddgan.explorer.live_runs import LiveRuns
from ddgan.explorer.methods import METHODS
from ddgan.explorer.posterior import Question, ask
from ddgan.explorer.request import Request
from ddgan.explorer.scene import scene
from ddgan.explorer.session import Session
from ddgan.models.checkpoint import load, save_file
from ddgan.models.config import PRESETS, Config
from ddgan.ui import api, exports
from ddgan.views import answers, files
from ddgan.views.code import snippets

POINTS = Request.parse(
    {"data": "rings", "denoisers": "exact,ddgan,gaussian", "T": 3, "seed": 7, "n": 40, "forks": "z.2.5"}
)
IMAGES = Request.parse({"data": "mnist", "denoisers": "ddgan,regression", "T": 2, "seed": 3, "n": 4})
SESSION = Session()


@pytest.fixture(scope="module")
def address():
    with served() as (address, _):
        yield address


@pytest.fixture(scope="module")
def client(address):
    return Client(address, verbose=False)


def array(a):
    return np.frombuffer(base64.b64decode(a["data"]), a["dtype"]).reshape(a["shape"])


def states(request, name):
    steps = list(SESSION.run(request, name))
    return np.stack([steps[0].x_t.numpy(), *(step.x_s.numpy() for step in steps)])


def test_the_public_endpoints_are_these_typed_and_described(client):
    found = client.view_api(return_format="dict")["named_endpoints"]
    assert sorted(found) == ["/compare", "/denoise", "/evaluate", "/picture", "/posterior", "/presets", "/train"]
    for name, endpoint in found.items():
        assert endpoint["description"], name
        for parameter in endpoint["parameters"]:
            assert parameter["python_type"]["type"] != "Any", (name, parameter)


@pytest.mark.parametrize("request_", [POINTS, IMAGES], ids=["points", "images"])
def test_denoise_gives_the_arrays_of_the_session_and_of_the_command_line_bit_for_bit(client, request_, tmp_path):
    told = client.predict(**request_.to_dict(), arrays=True, api_name="/denoise")
    path = tmp_path / "x.npz"
    words = [f"--{'denoiser' if key == 'denoisers' else key}" for key in ("denoisers", "T", "seed")]
    asked = dict(zip(words, (",".join(request_.denoisers), request_.T, request_.seed), strict=True))
    options = [str(part) for pair in asked.items() for part in pair] + (["--forks", "z.2.5"] if request_.forks else [])
    assert cli.main(["export", request_.data, "-n", str(request_.n), *options, "--out", str(path)]) == 0
    with np.load(path) as file:
        for name in request_.denoisers:
            got = array(told["denoisers"][name]["states"])
            assert np.array_equal(got, states(request_, name)) and np.array_equal(got, file[f"{name}.states"])
            assert np.array_equal(array(told["denoisers"][name]["predicted"]), file[f"{name}.predicted"])
    assert Request.parse(told["request"]) == request_


def test_posterior_gives_the_exact_law_and_the_draws_of_the_library(client):
    told = client.predict(x=[0.2, 0.1], t=1, data="25-gaussians", T=4, arrays=True, api_name="/posterior")
    answer = ask(SESSION, Question.parse({"query": Request(n=1).to_query(), "x": [0.2, 0.1], "t": 1}))
    assert told["entropy"] == answer.entropy and sum(mode["weight"] for mode in told["modes"]) <= 1 + 1e-6
    assert np.array_equal(array(told["denoisers"]["ddgan"]["draws"]), answer.draws["ddgan"].numpy())


def test_compare_and_evaluate_give_the_metrics_of_the_session(client):
    asked = {"data": "25-gaussians", "denoisers": ["exact", "gaussian"], "n": 3000}
    request = Request.parse(asked)
    compared = client.predict(**asked, arrays=True, api_name="/compare")["denoisers"]
    for name in request.denoisers:
        *_, last = SESSION.run(request, name)
        assert np.array_equal(array(compared[name]["x"]), last.x_s.numpy())
        assert compared[name]["metrics"]["on_mode"] == SESSION.score(request, last.x_s)["on_mode"]
    judged = client.predict(**asked, api_name="/evaluate")["denoisers"]
    assert judged["exact"] == pytest.approx(SESSION.evaluate(request, "exact"), rel=1e-6)
    assert judged["exact"]["on_mode"] > 0.99 > judged["gaussian"]["on_mode"]


def test_presets_are_the_table(client):
    found = client.predict(api_name="/presets")
    assert {name: Config.from_dict(of) for name, of in found.items()} == PRESETS


def size(answer):
    """Characters of an answer as JSON, and as Gradio writes it for a language model."""
    return max(len(json.dumps(answer, allow_nan=False)), len(str(answer)))


EVERY = ["exact", "ddgan", "gaussian", "regression", "mean"]
DRAWN = encode_points(np.random.default_rng(0).normal(size=(900, 2)))
LARGE = [
    {"data": "rings", "denoisers": EVERY, "T": 150, "n": 20},
    {
        "data": "checkerboard",
        "denoisers": EVERY,
        "T": 16,
        "n": 500,
        "forks": [f"z.{t}.{i}" for t in (1, 2) for i in range(30)],
    },
    {"data": "4-gaussians-1d", "denoisers": EVERY, "n": 100},
    {"data": DRAWN, "denoisers": ["exact", "gaussian", "mean"], "n": 100},
    {"data": "25-gaussians", "denoisers": [name for name in METHODS if name != "official"], "T": 8, "n": 100},
    {"data": "mnist", "denoisers": ["ddgan", "regression"], "n": 4},
    {"data": "cifar10", "denoisers": ["ddgan"], "T": 2, "n": 4},
]
EACH_LARGE = pytest.mark.parametrize("asked", LARGE, ids=[asked["data"][:12] for asked in LARGE])


@pytest.mark.slow
@EACH_LARGE
def test_an_answer_without_arrays_fits_into_what_a_language_model_reads(asked):
    request = Request.parse(asked)
    assert size(answers.denoise(scene(SESSION, request, answers.summed_up(request)))) <= answers.MAX_TEXT
    assert size(answers.compare(scene(SESSION, request, (), (0,)))) <= answers.MAX_TEXT
    if SESSION.source(request.data).law is not None:
        question = {
            "query": replace(request, n=1, forks=()).to_query(),
            "x": [0.3] * len(request.shape) * request.shape[0],
            "t": request.T,
        }
        for of in ("x_0", "x_s"):
            assert size(answers.posterior(SESSION, Question.parse({**question, "of": of}))) <= answers.MAX_TEXT


@pytest.mark.slow
@EACH_LARGE
def test_a_picture_fits_and_is_one(asked):
    data = files.preview(SESSION, Request.parse(asked), 0)
    assert 4 * len(data) / 3 <= answers.MAX_TEXT
    with Image.open(io.BytesIO(data)) as image:
        assert image.width >= 240 and np.asarray(image.convert("L")).std() > 10


def test_the_presets_and_what_is_evaluated_fit_too():
    assert size(api.presets().run(None)) <= answers.MAX_TEXT
    request = Request.parse({"data": DRAWN, "denoisers": ["exact", "gaussian"], "n": 200})
    assert size(answers.evaluate(SESSION, request, 2)) <= answers.MAX_TEXT


@pytest.mark.parametrize("request_", [POINTS, IMAGES], ids=["points", "images"])
def test_a_summary_is_of_the_sessions_samples(client, request_):
    told = client.predict(**request_.to_dict(), api_name="/denoise")
    for name in request_.denoisers:
        x = states(request_, name)
        rows = np.moveaxis(x, 2, -1).reshape(len(x), -1, x.shape[2])  # the numbers of a coordinate, or of a channel
        for i, found in enumerate(told["denoisers"][name]["states"]):
            np.testing.assert_allclose(found["mean"], rows[i].mean(0), rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(found["std"], rows[i].std(0), rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(found["quantiles"]["75%"], np.quantile(rows[i], 0.75, 0), rtol=1e-3, atol=1e-4)
    assert told["t"] == list(range(request_.T, -1, -1)) and len(told["denoisers"][name]["predicted"]) == request_.T


def test_a_long_chain_is_summed_up_at_nine_states_from_noise_to_data():
    request = Request("rings", ("exact",), T=64, n=30)
    told = answers.denoise(scene(SESSION, request, answers.summed_up(request)))
    assert len(told["t"]) == len(told["alpha_bar"]) == 9 and (told["t"][0], told["t"][-1]) == (64, 0)
    x = states(request, "exact")
    for t, found in zip(told["t"], told["denoisers"]["exact"]["states"], strict=True):
        np.testing.assert_allclose(found["mean"], x[64 - t].mean(0), rtol=1e-3, atol=1e-4)


def test_the_likeliest_modes_are_named_and_how_many_there_are():
    question = Question.parse({"query": Request("25-gaussians", n=1).to_query(), "x": [0.2, 0.1], "t": 4})
    short, long = (answers.posterior(SESSION, question, arrays=arrays) for arrays in (False, True))
    weights = [mode["weight"] for mode in long["modes"]]
    assert short["modes"] == long["modes"][:12] and weights == sorted(weights, reverse=True) and len(weights) > 12
    assert short["of_modes"] == 25


def test_a_picture_comes_as_a_file(client):
    with Image.open(client.submit(data="rings", n=100, at=2, api_name="/picture").result()) as image:
        assert image.format == "WEBP"


@pytest.mark.slow
def test_train_streams_and_ends_with_a_model_that_the_other_endpoints_know(client):
    job = client.submit(data="8-gaussians", seconds=2, width=16, batch=64, api_name="/train")
    last = job.result()
    records = job.outputs()
    assert len(records) > 2 and records[0]["model"] is None and records[-1]["step"] >= records[0]["step"]
    model = last["model"]
    path = model if isinstance(model, str) else model["path"]
    told = client.predict(data="8-gaussians", denoisers=[last["denoiser"]], n=20, arrays=True, api_name="/compare")
    *_, step = SESSION.run(Request("8-gaussians", (SESSION.adopt(load(Path(path))),), n=20), list(SESSION.adopted)[-1])
    assert np.array_equal(array(told["denoisers"][last["denoiser"]]["x"]), step.x_s.numpy())


@pytest.mark.parametrize(
    ("endpoint", "values", "words"),
    [
        ("/denoise", {"T": 0}, "T must be a whole number in 1.."),
        ("/denoise", {"T": True}, "T must be a number"),
        ("/denoise", {"data": "nothing"}, "data must be one of"),
        ("/denoise", {"n": 100_000, "T": 16, "arrays": True}, "a reply holds at most 2,000,000 numbers"),
        ("/denoise", {"data": "mnist", "n": 65}, "at most 64 images"),
        ("/compare", {"denoisers": ["best"]}, "a denoiser must be one of"),
        ("/posterior", {"x": [1.0]}, "x must be 2 numbers"),
        ("/picture", {"T": 4, "at": 5}, "at must be a whole number in 0..4"),
        ("/evaluate", {"samplings": 1000}, "samplings must be a whole number in 1..20"),
        ("/train", {"width": -1}, "width must be"),
        ("/train", {"data": "mnist"}, "data must be one of 25-gaussians"),
        ("/train", {"seconds": 1e9}, "seconds must be"),
        ("/train", {"network": "unet"}, "network must be one of plain, skip"),
        ("/train", {"loss": "hinge"}, "loss must be one of r1r2, paper"),
    ],
)
def test_bad_input_comes_back_as_one_sentence_and_the_next_request_is_right(client, endpoint, values, words):
    with pytest.raises(Exception) as refused:
        client.predict(**values, api_name=endpoint)
    assert words in str(refused.value) and "Traceback" not in str(refused.value)
    assert client.predict(n=5, denoisers=["exact"], api_name="/compare")["denoisers"]["exact"]["x"]["shape"] == [5, 2]


def test_the_code_for_python_runs_and_gives_the_sessions_arrays(address):
    space = {}
    exec(snippets(POINTS, address)["python"], space)
    for name in POINTS.denoisers:
        assert np.array_equal(space["states"][name], states(POINTS, name))


def test_the_code_for_the_command_line_is_that_request(tmp_path, monkeypatch):
    words = shlex.split(snippets(POINTS, "http://h/")["cli"])
    assert words[:3] == ["python", "-m", "ddgan"]
    monkeypatch.chdir(tmp_path)
    assert cli.main(words[3:]) == 0
    with np.load("arrays.npz") as file:
        for name in POINTS.denoisers:
            assert np.array_equal(file[f"{name}.states"], states(POINTS, name))


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_the_code_for_curl_runs_and_gives_the_sessions_arrays(address):
    out = subprocess.run(
        ["sh", "-c", snippets(POINTS, address)["curl"]], capture_output=True, text=True, timeout=60
    ).stdout
    line = next(line for line in out.splitlines() if line.startswith("data: "))
    told = json.loads(line.removeprefix("data: "))
    told = told[0] if isinstance(told, list) else told
    assert np.array_equal(array(told["denoisers"]["exact"]["states"]), states(POINTS, "exact"))


def test_the_link_is_the_request(address):
    assert Request.from_query(snippets(POINTS, address)["link"].split("?")[1]) == POINTS


def post(address, body):
    """(status, text) of a raw request to denoise, its result read to the end."""
    url = f"{address}/gradio_api/call/v2/denoise"
    asked = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            event = json.load(answer)["event_id"]
        with urllib.request.urlopen(f"{address}/gradio_api/call/denoise/{event}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"data": [1]}', b'{"T": {"a": 1}}', b'{"sneaky": 1}', b'{"span": [NaN, 1]}']
)
def test_a_raw_body_that_is_none_is_refused_without_a_traceback(address, body):
    status, text = post(address, body)
    assert 400 <= status < 500 or "event: error" in text
    assert "Traceback" not in text


def test_the_code_of_what_does_not_fit_into_a_reply_gives_the_last_states(address):
    request, space = Request("8-gaussians", ("exact", "mean"), T=128, n=5000), {}
    with pytest.raises(Refused, match="a reply holds at most"):
        answers.afford(request, 257)
    exec(snippets(request, address)["python"], space)
    *_, last = SESSION.run(request, "mean")
    assert np.array_equal(space["x"]["mean"], last.x_s.numpy())


@pytest.mark.parametrize(("model", "objective"), [("rings", "ddgan"), ("rings-regression", "regression")])
def test_a_visitors_model_is_a_file_on_the_command_line(tmp_path, monkeypatch, model, objective):
    session = Session()
    own = session.adopt(load(model))
    shown = Request("rings", ("exact", own, "ddgan"), T=3, n=5)
    asked = json.dumps({"query": shown.to_query(), "t": 0, "address": "http://h/"})
    note, command = exports._coder(session)(asked)["cli"].splitlines()
    assert (
        note.startswith("# MODEL.safetensors is the file")
        and f"export MODEL.safetensors --denoiser exact,{objective} " in command
    )
    monkeypatch.chdir(tmp_path)
    save_file(Path("MODEL.safetensors"), session.adopted[own])
    assert cli.main(shlex.split(command)[3:]) == 0
    *_, last = session.run(shown, own)
    assert np.array_equal(np.load("arrays.npz")[f"{objective}.states"][-1], last.x_s.numpy())


def test_a_crowd_counts_every_answer_and_every_refusal(address):
    async def waves():
        async with httpx.AsyncClient(base_url=address) as client:
            visitors = [crowd.Visitor(client, await crowd.endpoints(client)) for _ in range(3)]
            return [
                await crowd.wave(visitors, 2, {**crowd.ASK_POINTS, "n": 20, **more})
                for more in ({}, {"T": 0}, {"n": 10**9})
            ]

    with ThreadPoolExecutor(1) as pool:  # in this thread Playwright may have a loop
        fine, *refused = pool.submit(asyncio.run, waves()).result()
    assert fine["requests"] == 6 and not fine["errors"] and 0 < fine["p50"] <= fine["p95"] <= fine["p99"]
    assert all(wave["requests"] == 6 == sum(wave["errors"].values()) for wave in refused)


# ---------------------------------------------------------------- anything at all (fault 1)

LEAF = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["rings", "vp", "z.1.2", "exact"])
)
ANY = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
ASKED = st.dictionaries(
    st.sampled_from(list(Request().to_dict()) + ["forks", "edit", "span"]) | st.text(max_size=6), ANY, max_size=5
)


@pytest.mark.parametrize(
    "asked",
    [
        api.denoise,
        api.compare,
        api.picture,
        api.posterior,
        api.evaluate,
        pytest.param(api.train, marks=pytest.mark.slow),
    ],
    ids=lambda asked: asked.__name__,
)
@given(st.data())
@settings(max_examples=100)
def test_any_values_of_any_endpoint_are_work_or_get_one_sentence(asked, data):
    names = list(inspect.signature(asked).parameters)
    values = data.draw(st.dictionaries(st.sampled_from(names), ANY, max_size=4))
    try:
        asked(**{**({"x": [0.0, 0.0]} if "x" in names else {}), **values})
    except Refused as error:
        assert str(error) and "\n" not in str(error) and len(str(error)) < 400


@pytest.mark.soak
@given(ASKED)
@settings(max_examples=10_000)
def test_ten_thousand_values_are_a_request_or_get_one_sentence(values):
    try:
        assert Request.parse(Request.parse(values).to_dict()) == Request.parse(values)
    except Refused as error:
        assert str(error) and "\n" not in str(error) and len(str(error)) < 400


@pytest.mark.soak
@given(ASKED)
@settings(max_examples=1_000)
def test_a_thousand_raw_bodies_get_an_answer_without_a_traceback(address, values):
    status, text = post(address, json.dumps(values).encode())
    assert status < 500 and "Traceback" not in text


@pytest.mark.parametrize(
    "endpoint, asked, wrong",
    [
        (api.picture, {"n": 5001}, "n"),
        (api.picture, {"at": 9}, "at"),
        (api.denoise, {"data": "mnist", "n": 65}, "data"),
        (api.posterior, {"x": [0.0, 0.0], "data": "points:AAAA"}, "data"),
        (api.posterior, {"x": [0.0]}, "x"),
        (api.posterior, {"x": [0.0, 0.0], "of": "x_1"}, "of"),
        (api.posterior, {"x": [0.0, 0.0], "T": 2, "t": 3}, "t"),
        (api.posterior, {"x": [0.0, 0.0], "data": "4-gaussians-1d"}, "x"),
        (api.picture, {"T": 2, "at": 3}, "at"),
        (api.denoise, {"denoisers": []}, "denoisers"),
        (api.denoise, {"forks": ["z.9.1"]}, "forks"),
        (api.denoise, {"span": [3, 2]}, "span"),
        (api.denoise, {"n": 100_000, "T": 1000, "seed": 3}, "n"),
        (api.evaluate, {"n": 0, "seed": -1}, "seed"),
        (api.train, {"lr_g": 3}, "lr_g"),
        (api.train, {"data": "mnist"}, "data"),
    ],
)
def test_what_is_wrong_is_said_at_the_parameter_that_the_sentence_is_about(endpoint, asked, wrong):
    signature = inspect.signature(endpoint)
    values = {name: asked.get(name, known.default) for name, known in signature.parameters.items()}
    found = dict(zip(values, api._checked(endpoint, *values.values()), strict=True))
    assert [name for name, said in found.items() if not said["is_valid"]] == [wrong], found[wrong]


@pytest.mark.parametrize("network, latent_dim", [("skip", 2), ("mixture", 3), ("flow", 0)])
def test_a_network_is_given_the_latent_that_it_needs(network, latent_dim):
    assert LiveRuns(SESSION).latent_dim("25-gaussians", network) == latent_dim
