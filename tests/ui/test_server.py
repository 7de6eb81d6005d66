"""What a host may be sent, and what it must survive. The thirteen faults, and where each is shown:

1   bad input            test_session.py, test_api.py
2   bad requests         test_what_the_page_does_not_send_is_refused_in_one_sentence
3   twenty press Train   test_twenty_press_train
4   nobody reads         test_what_nobody_reads_stops, test_a_reader_far_behind_is_told_and_its_stream_ends;
                         soak: test_orphans_and_slow_readers
5   hostile files        test_hostile_models_through_the_page, test_images.py, test_live.py
6-8 disk, kill, NaN      test_faults.py, test_live.py
9   isolation            test_twenty_sessions_at_once_get_what_each_gets_alone
10  CPU and GPU          test_cpu_and_gpu_draw_the_same_images
11  a long day           soak: test_five_thousand_requests_and_a_thousand_sessions
12  restart, exports     browser/test_restart.py, views/test_files.py
13  routes               test_every_route_is_known
"""

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import gradio as gr
import httpx
import numpy as np
import pytest
import test_images
import test_live
import torch
from gradio.data_classes import PredictBodyInternal
from gradio.routes import App
from starlette.exceptions import HTTPException
from test_live import trained  # noqa: F401 - a fixture
from visitor import API, Visitor

from ddgan import ui
from ddgan.data.points import encode_points
from ddgan.diffusion.sampler import Draws, sample
from ddgan.diffusion.schedule import Schedule
from ddgan.errors import Refused
from ddgan.evidence.bench.page import started
from ddgan.evidence.bench.speed import awake
from ddgan.explorer import priority
from ddgan.explorer.live_runs import MAX_RUNS
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.models import registry
from ddgan.ui import exports
from ddgan.ui.server import Page, app_kwargs, guard, storage, version
from ddgan.ui.server import readers as reading
from ddgan.ui.server.head import Headed
from ddgan.views.encoding import packed
from ddgan.views.picture import Look
from ddgan.views.pictures import KINDS

ROOT = Path(__file__).parents[2]


class Server:
    """The app in a process of its own."""

    def __init__(self, process: subprocess.Popen, address: str, log: Path) -> None:
        self.process, self.address, self._log = process, address, log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def memory(self) -> float:
        """Resident megabytes."""
        line = next(line for line in Path(f"/proc/{self.process.pid}/status").open() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1000

    def kept_files(self) -> int:
        """What it has in its directory for temporary files."""
        return sum(path.is_file() for path in self._log.parent.rglob("*"))

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with open(folder / "log", "wb") as log, started(output=log, TMPDIR=str(folder)) as (process, address):
        yield Server(process, address, folder / "log")


@pytest.fixture
def visitor(server):
    return Visitor(server.address)


def in_a_loop(coroutine):
    """Its result, from a thread of its own: in this one Playwright may have a loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def until(true, seconds=20.0):
    """Whether it comes true in time, which is generous: what is tested is that it does."""
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


# ---------------------------------------------------------------- 2: requests that the page does not send


def posted(path, body, **headers):
    content = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    return lambda http: http.post(path, content=content, headers={"content-type": "application/json", **headers})


def join(**body):
    return posted(f"{API}/queue/join", {"session_hash": "mine", "fn_index": 0, "data": [], **body})


def chunked(size):
    return lambda http: http.post(
        f"{API}/queue/join",
        content=(b" " * 1000 for _ in range(size // 1000)),
        headers={"content-type": "application/json"},
    )


REFUSED = {
    "50 MB of JSON": (posted(f"{API}/queue/join", b" " * 50_000_000), 413),
    "much JSON in parts": (chunked(200_000), 413),
    "deep JSON": (join(data=json.loads("[" * 200 + "]" * 200)), 400),
    "deeper JSON": (posted(f"{API}/queue/join", b"[" * 60_000), 400),
    "deep JSON of objects": (posted(f"{API}/component_server", b'{"a":' * 5_000), 400),
    "no JSON": (posted(f"{API}/queue/join", b"hello"), 400),
    "bytes that are no text": (posted(f"{API}/queue/join", b"\xff\xfe\x00"), 400),
    "a list": (posted(f"{API}/queue/join", [1]), 400),
    "a form": (posted(f"{API}/queue/join", b"a=1", **{"content-type": "application/x-www-form-urlencoded"}), 415),
    "no content type": (posted(f"{API}/queue/join", b"{}", **{"content-type": ""}), 415),
    "an unknown function": (join(fn_index=10**6), 404),
    "a negative function": (join(fn_index=-1), 404),
    "a function that is true": (join(fn_index=True), 404),
    "a function that is text": (join(fn_index="0"), 404),
    "no function": (join(fn_index=None), 404),
    "no session": (join(session_hash=None), 400),
    "a session that is a list": (join(session_hash=[1]), 400),
    "a session that is a path": (join(session_hash="../../etc"), 400),
    "a long session": (join(session_hash="a" * 1000), 400),
    "data that is no list": (join(data=3), 422),
    "a session that is not there": (lambda http: http.get(f"{API}/queue/data?session_hash=of-somebody"), 404),
    "results of no job": (lambda http: http.get(f"{API}/call/x/0123456789abcdef"), 404),
    "no endpoint": (posted(f"{API}/call/v2", {}), 404),
    "an unknown endpoint": (posted(f"{API}/call/nothing", {"data": []}), 404),
    "an unknown component": (
        posted(
            f"{API}/component_server", {"session_hash": "mine", "component_id": 10**6, "fn_name": "place", "data": 1}
        ),
        404,
    ),
    "a method of a component": (
        posted(
            f"{API}/component_server", {"session_hash": "mine", "component_id": 1, "fn_name": "__init__", "data": 1}
        ),
        404,
    ),
    "half a component": (posted(f"{API}/component_server", {"session_hash": "mine", "component_id": 1}), 400),
    "a cancel of nothing": (posted(f"{API}/cancel", {"session_hash": "mine"}), 422),
    "a large file": (lambda http: http.post(f"{API}/upload", files={"files": ("a.csv", b"0" * 9_000_000)}), 413),
    "an upload that is none": (posted(f"{API}/upload", {}), 415),
    "another address": (lambda http: http.get(f"{API}/file=https://example.com/a.png"), 404),
    "a file of the machine": (lambda http: http.get(f"{API}/file=/etc/passwd"), 403),
    "a recording": (lambda http: http.post(f"{API}/process_recording", files={"file": b"0"}), 404),
    "around the queue": (posted(f"{API}/run/predict", {"data": []}), 404),
    "a proxy": (lambda http: http.get(f"{API}/proxy=https://example.hf.space/a"), 404),
    "the monitor": (lambda http: http.get("/monitoring"), 404),
    "another method": (lambda http: http.put("/config"), 404),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_page_does_not_send_is_refused_in_one_sentence(server, visitor, case):
    send, code = REFUSED[case]
    answer = visitor.http.request("GET", "/health") and send(visitor.http)
    assert answer.status_code == code, answer.text
    assert "\n" not in answer.text and len(answer.text) < 500 and "Traceback" not in answer.text
    assert until(lambda: visitor.health()["waiting"] + visitor.health()["running"] == 0)
    assert "Traceback" not in server.log


VALUES = {
    "too few": [],
    "text for a number": ["mnist", ["ddgan"], 4, "vp", "many", 9, "any"],
    "nulls": [None] * 7,
    "another choice": ["/etc/passwd", ["ddgan"], 4, "vp", 0, 9, "any"],
    "objects": [{"a": {}}] * 7,
}


@pytest.mark.parametrize("case", VALUES)
def test_values_that_the_controls_do_not_have_are_one_sentence_and_no_traceback(server, visitor, case):
    last = visitor.run(visitor.functions["images-ask-other", "click"], VALUES[case])
    said = last["output"].get("error") or json.loads(last["output"]["data"][0])["error"]
    assert said.endswith(".") and "\n" not in said
    assert "Traceback" not in server.log
    assert visitor.points()["panels"]


def test_a_seed_that_is_not_whole_is_refused_in_every_tab_and_not_rounded(visitor):
    said = "Seed must be a whole number in 0..2147483647, got 1.5."
    assert visitor.picture("points", "seed=1.5").json()["detail"] == said
    for of, other in (("images-ask-other", {"images_seed": 1.5}), ("start", {"train_seed": 1.5})):
        assert json.loads(visitor.press(of, **other)[0])["error"] == said, of
    assert "error" not in json.loads(visitor.press("images-ask-other", images_seed=1)[0])


def test_the_page_has_its_head_before_any_script_runs(visitor):
    page = visitor.http.get("/")
    first = page.text.index("window.begun ??= fetch('gradio_api/pictures/")
    assert first < page.text.index("window.gradio_config") and page.text.index(".gradio-container {") < 5000
    plain = visitor.http.get("/", headers={"Accept-Encoding": "identity"})
    assert int(plain.headers["content-length"]) == len(plain.content) == len(page.content)
    assert visitor.http.head("/").status_code == 200
    assert "window.begun" not in visitor.http.get("/health").text


@pytest.mark.parametrize(
    ("kind", "encoded", "seen"),
    [("text/html; charset=utf-8", False, b"<html><head>M</head></html>"), ("application/json", False, None),
     ("text/html", True, None)],
)  # fmt: skip
def test_markup_goes_first_into_the_head_of_html_in_parts_and_into_nothing_else(kind, encoded, seen):
    parts, sent = [b"<html><he", b"ad></head></html>"], []

    async def app(scope, receive, send):
        headers = [(b"content-type", kind.encode()), (b"content-length", b"26")]
        headers += [(b"content-encoding", b"br")] * encoded
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for i, body in enumerate(parts):
            await send({"type": "http.response.body", "body": body, "more_body": i == 0})

    async def keep(message):
        sent.append(message)

    in_a_loop(Headed(app, "M")({"type": "http", "method": "GET"}, None, keep))
    body = b"".join(message.get("body", b"") for message in sent)
    assert body == (seen or b"".join(parts))
    assert dict(sent[0]["headers"])[b"content-length"] == str(len(body)).encode()


def test_the_page_travels_compressed_and_results_as_they_come(visitor):
    plain, small = (visitor.http.get("/", headers={"Accept-Encoding": encoding}) for encoding in ("identity", "gzip"))
    assert small.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert len(small.content) == len(plain.content) > 3 * int(small.headers["content-length"])
    visitor.join(visitor.denoise, visitor.denoising())
    with visitor.http.stream("GET", f"{API}/queue/data", params={"session_hash": visitor.session}) as stream:
        assert "gzip" in stream.request.headers["accept-encoding"] and "content-encoding" not in stream.headers
        assert any("process_completed" in line for line in stream.iter_lines())


def test_a_second_cancel_is_no_failure(visitor):
    other = visitor.functions["images-ask-other", "click"]

    def cancel(job):
        return visitor.post("cancel", fn_index=other["id"], event_id=job).status_code

    for _ in range(5):
        job = visitor.join(other).json()["event_id"]
        results = visitor.results()
        assert any(message["msg"] == "process_generating" for message in results)
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(cancel, [job] * 4)) == {200}
        assert next(message for message in results if message["msg"] == "process_completed")["event_id"] == job
    assert until(lambda: visitor.health()["running"] == 0)


# ---------------------------------------------------------------- 3: twenty press Train


@pytest.mark.slow
def test_twenty_press_train(server):
    visitors = [Visitor(server.address) for _ in range(20)]
    opened, reading = [], []

    def begin(visitor):
        live, *_ = visitor.press("start", seconds=120)
        if isinstance(live, str):
            return json.loads(live)["error"]
        run = json.loads(live["value"])["run"]
        opened.append((visitor, run))
        visitor.join(visitor.watching)
        reading.append(results := visitor.results())  # or the place would be another's before all have come
        next(results)
        return run

    with ThreadPoolExecutor(20) as pool:
        said = list(pool.map(begin, visitors))
    busy = [words for words in said if " " in words]
    assert len(busy) == 20 - MAX_RUNS and all(f"{MAX_RUNS} trainings" in words for words in busy)
    live = next(i for i, c in visitors[0].components.items() if c["props"].get("elem_id") == "live")
    places = [v.post("component_server", component_id=live, fn_name="place", data=run).json() for v, run in opened]
    assert sorted(places)[0] == 0 and all(isinstance(place, int) for place in places)
    for results in reading:
        results.close()
    assert until(lambda: not visitors[0].health()["training"] and not visitors[0].health()["waiting"])
    assert until(lambda: isinstance(Visitor(server.address).press("start")[0], dict)), "nor do they keep their places"


def test_training_gives_way_to_what_somebody_waits_for():
    waited = threading.Event()
    with priority.urgent():
        begun = time.monotonic()
        priority.give_way()
        assert time.monotonic() - begun >= priority.COURTESY
        thread = threading.Thread(target=lambda: [priority.give_way(), waited.set()])
    thread.start()
    assert waited.wait(5)


@pytest.mark.slow
def test_one_visitor_leaves_room_for_the_others(visitor):
    """Who posts jobs and reads none of them is stopped at MAX_OF_ONE; trainings without a session at MAX_RUNS."""
    said = [visitor.join(visitor.denoise, visitor.denoising(seed=seed)) for seed in range(guard.MAX_OF_ONE + 5)]
    assert [answer.status_code for answer in said].count(429) >= 3 and f"{guard.MAX_OF_ONE} jobs" in said[-1].json()[
        "detail"
    ]
    said = [visitor.http.post(f"{API}/call/v2/train", json={"seconds": 120}) for _ in range(MAX_RUNS + 5)]
    assert [answer.status_code for answer in said].count(429) >= 3 and f"{MAX_RUNS} trainings" in said[-1].json()[
        "detail"
    ]
    assert Visitor(visitor.http.base_url).points()["panels"], "another's picture comes all the same"
    assert until(lambda: visitor.health()["waiting"] + visitor.health()["running"] == 0, 60)


def refused(path, headers, sessions, room):
    """What those are told of the POSTs that begin together for which there is no room;
    twice: what has ended leaves it.
    """
    with Page(delete_cache=(600, 3600)) as demo:
        button = gr.Button()

    async def story():
        told, end = [], asyncio.Event()
        door = guard.Guard(lambda *_: end.wait(), demo, reading.Readers(demo))
        scope = {"type": "http", "method": "POST", "path": f"{API}/{path}", "query_string": b"", "headers": headers}

        async def send(message):
            told.append(message.get("status") or json.loads(message["body"])["detail"])

        async def post(session):
            body = json.dumps({"session_hash": session, "component_id": button._id}).encode()
            await door(scope, lambda: asyncio.sleep(0, {"type": "http.request", "body": body}), send)

        for _ in range(2):
            posts = [asyncio.create_task(post(session)) for session in sessions]
            while (ended := sum(post.done() for post in posts)) < len(posts) - room:
                await asyncio.sleep(0.01)
            assert ended == len(posts) - room
            end.set()
            await asyncio.gather(*posts)
            end.clear()
        return set(told)

    return in_a_loop(asyncio.wait_for(story(), 20))


def test_server_functions_of_components_have_the_limits_of_jobs():
    calls = partial(refused, "component_server", [(b"content-type", b"application/json")])
    assert calls(["one"] * 30, guard.MAX_OF_ONE) == {
        429,
        f"You wait for {guard.MAX_OF_ONE} jobs here already: please let one end.",
    }
    everybody = [f"session-{i}" for i in range(guard.MAX_WAITING + 5)]
    assert calls(everybody, guard.MAX_WAITING) == {
        429,
        f"{guard.MAX_WAITING} jobs wait here already: please try again in a moment.",
    }


def test_an_answer_that_is_not_read_takes_no_turn():
    with Page(delete_cache=(600, 3600)) as demo:
        button = gr.Button()
    body = json.dumps({"session_hash": "one", "component_id": button._id}).encode()
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"{API}/component_server",
        "headers": [(b"content-type", b"application/json")],
    }

    async def story():
        begun, all_began = [], asyncio.Event()

        async def answer(scope, receive, send):
            begun.append(send)
            if len(begun) > guard.AT_ONCE:
                all_began.set()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        door = guard.Guard(answer, demo, reading.Readers(demo))
        came = {"type": "http.request", "body": body}
        posts = [
            door(scope, lambda: asyncio.sleep(0, came), lambda _: all_began.wait()) for _ in range(guard.AT_ONCE + 1)
        ]
        await asyncio.wait_for(asyncio.gather(*posts), 20)

    in_a_loop(story())


MOST = guard.MAX_UPLOAD + 2**12


@pytest.mark.parametrize("announced", [[(b"content-length", b"%d" % MOST)], []])
def test_the_files_of_all_visitors_have_their_limit_those_that_still_come_too(tmp_path, monkeypatch, announced):
    monkeypatch.setattr(storage, "MAX_SENT", 2**20 + 2 * MOST)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    (tmp_path / "old").write_bytes(bytes(2**20))
    uploads = partial(refused, "upload", [(b"content-type", b"multipart/form-data; boundary=x"), *announced])
    status, words = sorted(uploads([""] * 5, 2), key=str)
    assert status == 429 and "files of all visitors" in words


def test_a_body_that_comes_no_further_leaves_its_place_and_a_whole_one_may_take_its_time(monkeypatch):
    monkeypatch.setattr(guard, "STALL", 0.05)

    async def read(body):
        parts = asyncio.Queue()
        for k, part in enumerate(body):
            parts.put_nowait({"type": "http.request", "body": part, "more_body": k < 2})
        limited = guard._limited(parts.get, 100, 100)
        for _ in body:
            await limited()
        await asyncio.wait_for(limited(), 0.2)

    with pytest.raises(HTTPException, match="Nothing came"):
        in_a_loop(read([b"a", b"b"]))
    with pytest.raises(asyncio.TimeoutError):
        in_a_loop(read([b"a", b"b", b"c"]))


@pytest.mark.parametrize("folder, left", [(storage.PREFIX, {"made", "young"}), ("of-others", {"made", "young", "old"})])
def test_what_gradio_has_not_deleted_in_time_is(tmp_path, monkeypatch, folder, left):
    """Uploads that broke off. What we made ourselves is no upload, and what others delete meanwhile no failure."""
    own = tmp_path / folder
    for name in (f"{storage.EXPORTS}/a/made", "a/old", "young"):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_bytes(bytes(10))
        time.sleep(0.05)
    now = 3600 + ((own / "a" / "old").stat().st_ctime + (own / "young").stat().st_ctime) / 2
    monkeypatch.setattr(time, "time", lambda: now)
    others_delete(monkeypatch, own / "before", own / "after")
    assert storage.kept_bytes(own, 3600) == 10 * len(left - {"made"} | {"after"})
    assert {path.name for path in own.rglob("*") if path.is_file()} == left


def others_delete(monkeypatch, before, after):
    """Write two files of ten bytes,
    of which the one is gone as soon as somebody looks at it, the other when he has looked.
    """
    for path in (before, after):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(10))
    look = Path.stat

    def stat(path, **how):
        before.unlink(missing_ok=True) if path == before else None
        found = look(path, **how)
        after.unlink() if path == after else None
        return found

    monkeypatch.setattr(Path, "stat", stat)


def test_downloads_are_kept_as_far_as_there_is_room(tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "MAX_EXPORTS", 100)
    for age, (name, size) in enumerate({"new": 60, "second": 40, "old": 1, "oldest": 1}.items()):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(bytes(size))
        os.utime(tmp_path / name / "file", (1000 - age, 1000 - age))
    exports._make_room(tmp_path)
    assert sorted(path.parent.name for path in tmp_path.rglob("file")) == ["new", "second"]
    monkeypatch.setattr(exports, "MAX_EXPORTS", 10)
    others_delete(monkeypatch, tmp_path / "other" / "before", tmp_path / "other" / "after")
    os.utime(tmp_path / "new" / "file", (2e9, 2e9))
    exports._make_room(tmp_path)
    assert [*tmp_path.rglob("*")] == [tmp_path / "new", tmp_path / "new" / "file"], (
        "what was just made is sent, whatever its size"
    )


def test_a_download_is_made_once_for_all_looks_that_it_does_not_show_and_again_where_it_was_deleted(
    tmp_path, monkeypatch
):
    session, small = Session(), Request("rings", ("exact",), T=1, n=20)
    with pytest.raises(Refused, match="held sample"):
        exports._file(session, tmp_path, "png", small, 0, Look(hold=20), "")
    assert not [*tmp_path.rglob("*")], "what is refused leaves nothing"
    for kind, count in {"png": 2, "npz": 1, "json": 1}.items():
        found = [exports._file(session, tmp_path, kind, small, 0, look, "") for look in (Look(), Look(hold=3))]
        assert len(set(found)) == count and all(length == path.stat().st_size for path, length in found)
    path, _ = found[0]
    os.utime(path, (0, 0))
    exports._file(session, tmp_path, kind, small, 0, Look(), "")
    assert path.stat().st_mtime > 0, "whoever asks again has it as long as the first"
    monkeypatch.setattr(os, "utime", Path.unlink)
    assert exports._file(session, tmp_path, kind, small, 0, Look(), "")[0].is_file()


# ---------------------------------------------------------------- 4: what nobody reads


def train(visitor):
    """Begin to, once there is room, and read nothing of it."""
    assert until(lambda: isinstance(visitor.press("start", seconds=120)[0], dict), 30)
    visitor.join(visitor.watching)


@pytest.mark.slow
def test_what_nobody_reads_stops(visitor):
    train(visitor)
    assert until(lambda: visitor.health()["training"])
    assert until(lambda: not visitor.health()["training"], reading.ABSENCE + 20)


@pytest.mark.slow
def test_a_sampling_whose_reader_leaves_stops_between_two_steps(server, visitor):
    """Eight seconds of work and more, each; a plain function, which Gradio by itself would let run to its end."""
    asked = {"data": "checkerboard", "denoisers": ["exact"], "n": 5000, "T": 75}
    jobs = [visitor.http.post(f"{API}/call/v2/compare", json=asked).json()["event_id"] for _ in range(2)]
    assert until(lambda: visitor.health()["running"] == 2)
    for job in jobs:
        with visitor.http.stream("GET", f"{API}/call/compare/{job}") as answer:
            assert answer.status_code == 200
    assert until(lambda: visitor.health()["running"] == 0)
    ends = [line for line in server.log.splitlines() if "api compare: checkerboard" in line]
    assert len(ends) == 2 and all(line.endswith(" s, left") for line in ends)


def test_a_closed_tab_frees_its_slot(visitor):
    train(visitor)
    results = visitor.results()
    while next(results)["msg"] != "process_generating":
        pass
    assert visitor.health()["training"]
    results.close()
    assert until(lambda: not visitor.health()["training"])


def test_who_leaves_midway_and_asks_again_gets_an_answer_and_an_end(visitor):
    train(visitor)
    results = visitor.results()
    while next(results)["msg"] != "process_generating":
        pass
    results.close()
    assert visitor.join(visitor.denoise, visitor.denoising()).status_code == 200
    said = [message["msg"] for message in until_an_heartbeat(visitor.results())]
    assert said[-2:] == ["process_completed", "close_stream"]


def until_an_heartbeat(messages):
    """A stream that has nothing to say any more, and does not end, says so every 15 seconds."""
    for message in messages:
        yield message
        if message["msg"] == "heartbeat":
            return


def test_a_reader_far_behind_is_told_and_its_stream_ends():
    async def story():
        with Page() as demo:
            gr.Button()
        readers, queue = reading.Readers(demo), demo.queue()._queue
        messages = queue.pending_messages_per_session["slow"] = asyncio.Queue()
        queue.pending_event_ids_session["slow"] = {"one", "other"}
        with readers.reading("slow"):
            for i in range(reading.BACKLOG):
                messages.put_nowait(i)
            await readers.tidy()
            assert messages.qsize() == reading.BACKLOG
            messages.put_nowait(0)
            await readers.tidy()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=demo.app), base_url="http://here") as client:
            answer = await asyncio.wait_for(client.get(f"{API}/queue/data", params={"session_hash": "slow"}), 5)
        said = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data:")]
        assert {event["event_id"] for event in said if event["msg"] == "process_completed"} == {"one", "other"}
        assert all("too slow" in event["output"]["error"] for event in said[:2]) and said[2]["msg"] == "close_stream"

    in_a_loop(story())


def test_sessions_that_nobody_reads_are_forgotten_and_said_to_have_left(monkeypatch):
    monkeypatch.setattr(reading, "READER_PATIENCE", 0.0)
    monkeypatch.setattr(reading, "ABSENCE", 0.0)

    async def story():
        with Page() as demo:
            gr.Button()
        gone = []
        demo.left.append(gone.append)
        readers, queue = reading.Readers(demo), demo.queue()._queue
        for session in ("read", "unread"):
            queue.pending_messages_per_session[session] = asyncio.Queue()
            queue.pending_event_ids_session[session] = {"job"}
        with readers.reading("read"):
            await readers.tidy()
            await asyncio.sleep(0.01)
            await readers.tidy()
            assert list(queue.pending_messages_per_session) == list(queue.pending_event_ids_session) == ["read"]
            assert gone == ["unread"]

    in_a_loop(story())


def test_results_wait_longer_for_a_reader_who_is_still_to_come_than_for_one_who_has_left(monkeypatch):
    monkeypatch.setattr(reading, "READER_PATIENCE", 0.0)

    async def story():
        with Page() as demo:
            gr.Button()
        readers, queue = reading.Readers(demo), demo.queue()._queue
        for session in ("late", "call", "left"):
            queue.pending_messages_per_session[session] = asyncio.Queue()
        readers.asked("late")
        await readers.tidy()  # a call makes up its session as it goes
        with readers.reading("left"):
            pass
        await asyncio.sleep(0.01)
        await readers.tidy()
        assert set(queue.pending_messages_per_session) == {"late", "call"}
        monkeypatch.setattr(reading, "ABSENCE", 0.0)
        await readers.tidy()
        assert not queue.pending_messages_per_session

    in_a_loop(story())


def test_what_a_session_asks_for_while_its_unread_results_are_dropped_is_done(monkeypatch):
    monkeypatch.setattr(reading, "ABSENCE", 0.0)

    async def story():
        with Page() as demo:
            gr.Button().click(lambda: None, api_name="work")
        readers, queue = reading.Readers(demo), demo.queue()._queue

        async def ask():
            body = PredictBodyInternal(session_hash="late", fn_index=0, data=[])
            return (await queue.push(body=body, request=None, username=None))[1]

        await ask()
        await readers.tidy()
        await asyncio.sleep(0.01)
        await queue.delete_lock.acquire()  # should Gradio ever hold it for longer than a moment
        tidying = asyncio.create_task(readers.tidy())
        await asyncio.sleep(0.01)
        new = await ask()
        queue.delete_lock.release()
        await tidying
        left = queue.event_queue_per_concurrency_id[demo.fns[0].concurrency_id].queue
        assert [event._id for event in left] == [new]
        assert queue.pending_event_ids_session["late"] == {new} and "late" in queue.pending_messages_per_session

    in_a_loop(story())


# ---------------------------------------------------------------- 5: hostile files


@pytest.mark.parametrize("case", test_live.HOSTILE)
def test_hostile_models_through_the_page(server, visitor, trained, case):  # noqa: F811
    data = test_live.HOSTILE[case](trained[2])
    (path,) = visitor.http.post(f"{API}/upload", files={"files": ("bad.safetensors", data)}).json()
    file = {"path": path, "orig_name": "bad.safetensors", "meta": {"_type": "gradio.FileData"}}
    last = visitor.run(visitor.functions["upload", "upload"], [file])
    said = last["output"].get("error") or last["output"]["data"][2]
    assert "\n" not in said and len(said) < 600 and ("bad.safetensors" in said or "not values" in said)
    assert "Traceback" not in server.log and not Path(path).exists()


def test_there_are_sixty_hostile_files():
    assert len(test_live.HOSTILE) + len(test_images.HOSTILE) >= 60


# ---------------------------------------------------------------- 9, 10: the same for everybody, everywhere


@pytest.mark.slow
def test_twenty_sessions_at_once_get_what_each_gets_alone(server):
    def drawn(seed):
        return Visitor(server.address).picture("points", f"n=500&seed={seed}").content

    with ThreadPoolExecutor(20) as pool:
        together = list(pool.map(drawn, range(20)))
    show, session = KINDS["points"].show, Session()
    assert together == [packed(show(session, Request(seed=seed, n=500))) for seed in range(20)]
    assert len(set(together)) == 20


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("latent_dim", [8, 0])
def test_cpu_and_gpu_draw_the_same_images(latent_dim):
    shape = (3, 16, 16)
    network = awake(
        registry.generator("unet", shape, latent_dim=latent_dim, width=32, depth=1, multipliers=(1, 2), patch=1)
    )
    draws = Draws.from_seeds(range(4), shape, 4, latent_dim)
    *_, here = sample(Schedule.vp(4), network, draws)
    with torch.backends.cudnn.flags(allow_tf32=False):
        *_, there = sample(Schedule.vp(4), network.to("cuda"), draws)
    assert (here.x_s - there.x_s.cpu()).norm() < 1e-4 * here.x_s.norm()


# ---------------------------------------------------------------- 13: routes

# every route of Gradio's, and whether the page uses it: an upgrade that adds one has to be looked at
ROUTES = {
    "GET": {
        "/gradio_api/pictures/{version}/{kind}": True,
        "/": True, "/config": True, "/static/{path:path}": True, "/assets/{path:path}": True,
        "/svelte/{path:path}": True, "/favicon.ico": True, "/theme.css": True, "/robots.txt": True,
        "/manifest.json": True, "/pwa_icon": True, "/pwa_icon/{size}": True, "/health": True,
        "/gradio_api/plotly": True, "/gradio_api/info": True, "/gradio_api/openapi.json": True,
        "/gradio_api/startup-events": True, "/gradio_api/theme.css": True, "/gradio_api/app_id": True,
        "/gradio_api/queue/data": True, "/gradio_api/queue/status": True, "/gradio_api/upload_progress": True,
        "/gradio_api/heartbeat/{session_hash}": True, "/gradio_api/call/{api_name}/{event_id}": True,
        "/gradio_api/call/v2/{api_name}/{event_id}": True, "/gradio_api/file={path_or_url:path}": True,
        "/gradio_api/custom_component/{id}/{environment}/{type}/{file_name}": True,
        "/gradio_api/deep_link": False, "/monitoring": False, "/monitoring/summary": False, "/monitoring/{key}": False,
        "/logout": False, "/gradio_api/user": False, "/gradio_api/login_check": False, "/gradio_api/token": False,
        "/gradio_api/dev/reload": False, "/gradio_api/runs": False, "/gradio_api/proxy={url_path:path}": False,
        "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist.m3u8": False,
        "/gradio_api/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext}": False,
        "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist-file": False,
        "/gradio_api/file/{path:path}": False, "/gradio_api/vibe-code": False,
        "/gradio_api/run-history/buckets": False, "/gradio_api/run-history/records": False,
        "/gradio_api/run-history/records/{endpoint}/{record_id}/assets/{asset_id}": False,
    },
    "POST": {
        "/gradio_api/queue/join": True, "/gradio_api/call/{api_name}": True, "/gradio_api/call/v2/{api_name}": True,
        "/gradio_api/pictures/{version}/{kind}": True,
        "/gradio_api/component_server": True, "/gradio_api/cancel": True, "/gradio_api/reset": True,
        "/gradio_api/upload": True,
        "/login": False, "/gradio_api/run/{api_name}": False, "/gradio_api/api/{api_name}": False,
        "/gradio_api/stream/{event_id}": False, "/gradio_api/stream/{event_id}/close": False,
        "/gradio_api/run-history/connect": False, "/gradio_api/process_recording": False,
        "/gradio_api/vibe-edit": False, "/gradio_api/undo-vibe-edit": False,
        "/gradio_api/vibe-code": False, "/gradio_api/vibe-starter-queries": False,
    },
}  # fmt: skip


def routes(of):
    for route in of:
        if hasattr(route, "original_router"):
            yield from routes(route.original_router.routes)
        else:
            yield from ((method, route.path.rstrip("/") or "/") for method in route.methods - {"HEAD"})


def test_every_route_is_known():
    demo = ui.build()
    app = App.create_app(
        demo, app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None, **app_kwargs(demo)}
    )
    found = set(routes(app.routes))
    assert found == {(method, path) for method, paths in ROUTES.items() for path in paths}
    for method, path in found:
        example = path.replace("{path_or_url:path}", "/tmp/a").replace("{", "").replace("}", "").replace(":path", "")
        assert bool(guard.USED[method].fullmatch(example)) == ROUTES[method][path], (method, path)


# ---------------------------------------------------------------- logs, health, start and end


def new_lines(server, word):
    """The lines with this word that the log has from now on; an earlier job may still write others."""
    before = len(server.log.splitlines())
    return lambda: [line for line in server.log.splitlines()[before:] if word in line]


def test_the_log_has_one_line_a_job_and_nothing_of_a_visitor(server, visitor):
    lines = new_lines(server, "points")
    visitor.points("seed=987654&n=500")
    assert visitor.picture("points", "n=500&denoisers=,").status_code == 400
    assert until(lambda: len(lines()) == 2)
    done, refused = lines()
    assert "points: 25-gaussians, T = 4, n = 500, 3 denoisers: " in done and done.endswith(" s, ok")
    assert refused.endswith(" s, refused") and "987654" not in server.log
    own = encode_points(np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0]]))
    for kind, words in (("field", "step=2"), ("bent", "at=2,0.5"), ("bars", "")):
        seen = new_lines(server, kind)
        visitor.picture(kind, f"data={own}&n=500&{words}")
        assert until(seen) and "own points, T = 4" in seen()[0], kind
    assert own not in server.log


def test_a_bug_is_a_sentence_for_the_visitor_and_a_traceback_for_the_host(caplog):
    def bug():
        raise KeyError("secret")

    def numpys():
        np.zeros(3).reshape(2)  # a ValueError that nobody meant as a refusal

    def mistake():
        raise Refused("n must be small, got 7")

    with Page() as demo:
        for function in (bug, numpys, mistake):
            gr.Button().click(function)
    with caplog.at_level(logging.INFO, "ddgan"):
        demo.create_limiter()
        for fn, words in ((0, "failed here"), (1, "failed here"), (2, "n must be small, got 7.")):
            with pytest.raises(gr.Error, match=words) as error:
                in_a_loop(demo.call_function(fn, []))
            assert "secret" not in error.value.message and not error.value.print_exception
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


def test_a_plain_value_error_is_a_bug_in_a_panel_and_in_an_endpoint_too(caplog, monkeypatch):
    """Planted where samples are drawn: no panel says it as if it were a refusal, the host has its traceback."""

    def broken(*_, **__):
        raise ValueError("secret")

    demo = ui.build()
    monkeypatch.setattr(Session, "run", broken)
    found = next(f for f in demo.fns.values() if f.api_name == "denoise")
    values = [component.value for component in found.inputs]
    with caplog.at_level(logging.INFO, "ddgan"):
        demo.create_limiter()
        with pytest.raises(gr.Error, match="failed here"):
            in_a_loop(demo.call_function(found, values))
        assert sum(bool(record.exc_info) for record in caplog.records) == 1
        (answer,) = in_a_loop(fetched(demo, f"{API}/pictures/{version()}/points"))
    assert answer.status_code == 500 and "failed here" in answer.json()["detail"]
    assert sum(bool(record.exc_info) for record in caplog.records) == 2


async def fetched(demo, *paths):
    """What the whole app answers to each path, without a network."""
    app = App.create_app(demo, app_kwargs=app_kwargs(demo))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
        return [await http.get(path) for path in paths]


def test_a_refusal_is_a_line_of_the_log_too(server, visitor):
    lines = new_lines(server, "refused")
    assert visitor.http.post(f"{API}/call/v2/denoise", json={"T": 0}).status_code == 422
    assert visitor.http.post(f"{API}/call/secret", json={"data": []}).status_code == 404
    assert until(lambda: len(lines()) == 2)
    values, route = lines()
    assert values.endswith("api denoise: -: 0.00 s, refused") and route.endswith(
        "POST /gradio_api/call: -: 0.00 s, refused (404)"
    )


def test_health_is_small_and_says_how_it_is(visitor):
    health = visitor.health()
    assert health.pop("commit") is None or len(visitor.health()["commit"]) >= 7
    assert set(health) == {"status", "seconds", "waiting", "running", "training"} and health["status"] == "ok"


@pytest.mark.slow
def test_it_ends_when_told_to_and_leaves_no_files(tmp_path):
    stale, mine = tmp_path / f"{storage.PREFIX}999999999", tmp_path / f"{storage.PREFIX}{os.getpid()}"
    for folder in (stale, mine):
        (folder / "x").mkdir(parents=True)
    with started(TMPDIR=str(tmp_path)) as (process, address):
        assert not stale.exists() and mine.exists(), "another process that runs keeps its files"
        http = httpx.Client(base_url=address)
        http.post(f"{API}/upload", files={"files": ("a.csv", b"1,2")}).raise_for_status()
        assert (tmp_path / f"{storage.PREFIX}{process.pid}").is_dir()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert list(tmp_path.glob(f"{storage.PREFIX}*")) == [mine]


@pytest.mark.slow
@pytest.mark.parametrize("port", ["", "99999"])
def test_a_port_that_is_taken_or_none_is_one_sentence_and_exit_code_2(port):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = port or str(taken.getsockname()[1])
        run = subprocess.run(
            [sys.executable, str(ROOT / "app.py"), "--port", port], capture_output=True, text=True, cwd=ROOT
        )
        assert run.returncode == 2 and port in run.stderr
        assert len(run.stderr.strip().splitlines()) == 1 and "Traceback" not in run.stderr


# ---------------------------------------------------------------- ZeroGPU

STAND_IN = '''
"""As the real one: each call is forked; arguments and results are pickled, and no tensor is among them."""
import functools, inspect, io, multiprocessing, os, pickle, sys
assert "torch" not in sys.modules or not sys.modules["torch"].cuda.is_initialized()
calls = []

class Plain(pickle.Pickler):
    def reducer_override(self, value):
        if type(value).__module__.split(".")[0] == "torch":
            raise pickle.PicklingError(f"{type(value)} cannot leave the process")
        return NotImplemented

def plain(value):
    file = io.BytesIO()
    Plain(file).dump(value)
    return file.getvalue()

def GPU(task=None, *, duration=60):
    if task is None:
        return functools.partial(GPU, duration=duration)
    def results(*args, **kw):
        calls.append(task.__name__)
        sent = plain((args, kw))
        fork = multiprocessing.get_context("fork")
        here, there = fork.Pipe(False)
        def child():
            args, kw = pickle.loads(sent)
            try:
                found = task(*args, **kw)
                for value in found if inspect.isgeneratorfunction(task) else [found]:
                    there.send_bytes(b"v" + plain(value))
                there.send_bytes(b"e")
            except Exception as error:
                there.send_bytes(b"x" + type(error).__name__.encode())
            os._exit(0)
        process = fork.Process(target=child, daemon=True)
        process.start()
        while (got := here.recv_bytes())[:1] == b"v":
            yield pickle.loads(got[1:])
        process.join()
        if got[:1] == b"x":
            raise RuntimeError(f"GPU task aborted: {got[1:].decode()}")
    if inspect.isgeneratorfunction(task):
        return functools.wraps(task)(lambda *args, **kw: results(*args, **kw))
    return functools.wraps(task)(lambda *args, **kw: next(results(*args, **kw)))
'''
ON_LOAN = """
import json, sys
import ddgan.ui
import torch
torch.set_num_threads(1)
import spaces
from ddgan.explorer.posterior import ImageQuestion
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.views.encoding import encoded
from ddgan.views.image_grid import drawing
from ddgan.views.image_posterior import explore
class Counted(Session):
    loaded = 0
    def _denoiser(self, *asked):
        Counted.loaded += 1
        return super()._denoiser(*asked)
session = Counted()
placed = Counted.loaded
point = Request(n=50)
for name in point.denoisers:
    list(session.run(point, name))
assert not spaces.calls, "points stay on the CPU"
request = Request.parse({"data": "mnist", "T": 2, "n": 2, "forks": "eps.1.5.1"})
*_, picture = map(encoded, drawing(session, request))
*_, answer = map(encoded, explore(session, ImageQuestion(request, 1, 0, "ddgan")))
judged = session.evaluate(Request("mnist", T=1, n=4), "ddgan")
*_, refused = map(encoded, drawing(session, Request.parse({"data": "mnist", "T": 128, "n": 1})))
found = {"placed": placed, "calls": spaces.calls, "picture": picture, "answer": answer}
print(json.dumps({**found, "judged": judged, "refused": refused}))
"""


@pytest.mark.slow
def test_images_are_sampled_where_a_gpu_is_lent_by_the_call_and_are_the_same(tmp_path):
    (tmp_path / "spaces.py").write_text(STAND_IN)
    found = {}
    for name, path in (("lent", f"{tmp_path}{os.pathsep}{ROOT}"), ("here", str(ROOT))):
        script = ON_LOAN if name == "lent" else ON_LOAN.replace("import spaces", "class spaces: calls = []")
        run = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
        )
        assert run.returncode == 0, run.stderr
        found[name] = json.loads(run.stdout)
    lent, here = found["lent"], found["here"]
    assert lent["placed"] >= 4 and here["placed"] == 0
    assert (
        set(lent["calls"]) == {"_arrays", "_redrawn", "_batches"}
        and lent["judged"] == here["judged"]
        and here["calls"] == []
    )
    assert (
        lent["picture"] == here["picture"] and lent["answer"] == here["answer"] and lent["refused"] == here["refused"]
    )
    assert "choose 50 or fewer" in json.loads(lent["refused"])["panels"][0]["error"]


# ---------------------------------------------------------------- python -m pytest tests -m soak


@pytest.mark.soak
def test_orphans_and_slow_readers(server):
    """Twenty jobs more that nobody reads keep nothing more;
    a reader that does not read loses its job, and frees the slot.
    """
    visitor = Visitor(server.address)
    memory = []
    for _ in range(6):
        for seed in range(20):
            orphan = Visitor(server.address)
            orphan.join(orphan.denoise, orphan.denoising(seed=seed, n=5000, T=8, arrays=True))
        assert until(lambda: visitor.health()["waiting"] + visitor.health()["running"] == 0, 60)
        time.sleep(reading.ABSENCE + reading.READER_PATIENCE)
        memory.append(server.memory())
        print(f"20 orphans more: {memory[-1] - memory[0]:+.1f} MB", flush=True)
    assert memory[-1] - memory[0] < 20, "of a hundred answers, 38 MB, that nobody fetched"
    before = server.memory()
    train(visitor)
    host, port = server.address.removeprefix("http://").strip("/").split(":")
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((host, int(port)))
        deaf.sendall(f"GET {API}/queue/data?session_hash={visitor.session} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        begun = time.monotonic()
        assert until(lambda: visitor.health()["training"])
        assert until(lambda: not visitor.health()["training"], 110)
        print(f"a deaf reader: stopped after {time.monotonic() - begun:.0f} s, {server.memory() - before:+.1f} MB")


@pytest.mark.soak
def test_five_thousand_requests_and_a_thousand_sessions(server):
    """Once Gradio holds the states of as many sessions as it may, memory is flat, and so are files and descriptors."""

    def day(visitors, each):
        for _ in range(visitors):
            visitor = Visitor(server.address)
            for seed in range(each):
                visitor.run(visitor.denoise, visitor.denoising(seed=seed, n=500, T=2))
                visitor.points(f"seed={seed}&n=500&T=2")
            visitor.http.close()

    def days() -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: day(25, 5), range(4)))

    days(), days()
    before, files, kept, memory = server.memory(), server.open_files(), server.kept_files(), []
    for _ in range(10):
        days()
        memory.append(server.memory())
        print(f"{memory[-1] - before:+.1f} MB, {server.open_files()} descriptors", flush=True)
    assert max(memory) - before < 30 and memory[-1] - memory[4] < 10  # megabytes
    assert until(lambda: server.open_files() <= files + 4) and server.kept_files() <= kept
