"""Pictures as resources: the same query, the same bytes; computed once for all who wait, for nobody who has left."""

import asyncio
import json
import random
import threading
from collections import Counter
from urllib.parse import quote, urlencode

import numpy as np
import pytest
from starlette.requests import Request as HttpRequest
from test_server import fetched, in_a_loop

from ddgan import ui
from ddgan.errors import Cancelled, Refused
from ddgan.explorer import priority
from ddgan.explorer.posterior import Question
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.ui.server import pictures
from ddgan.ui.server.pictures import Pictures, version
from ddgan.views.encoding import packed, unpacked
from ddgan.views.pictures import KINDS, Kind
from ddgan.views.posterior import gap_map, posterior
from ddgan.views.stage import stage, staged, step_gaps

OWN = "own-0123456789abcdef"


class Browser:
    """Asks a Pictures as a server would, and can leave."""

    def __init__(self, of: Pictures, name: str = "one") -> None:
        self.of, self.name, self.leave = of, name, asyncio.Event()

    async def get(self, kind: str, query: str = "", of: str = "", **headers: str):
        async def receive():
            await self.leave.wait()
            return {"type": "http.disconnect"}

        said = {"x-visitor": self.name, **{name.replace("_", "-"): value for name, value in headers.items()}}
        scope = {
            **{"type": "http", "method": "GET", "path": "/", "query_string": query.encode()},
            "headers": [(name.encode(), value.encode()) for name, value in said.items()],
            "path_params": {"version": of or version(), "kind": kind},
        }
        return await self.of.answer(HttpRequest(scope, receive))


def plain(value):
    return json.loads(json.dumps(value, default=lambda array: array.ravel().tolist()))


class Slow:
    """A kind that is computed when it is told to, says in which order, and how often each was asked for."""

    def __init__(self, monkeypatch, name="points", after=False):
        self.go, self.begun, self.order = threading.Event(), threading.Event(), []
        monkeypatch.setitem(KINDS, name, Kind(lambda query: (name, query), self.show, after))

    def show(self, session, asked):
        self.order.append(asked[1])
        self.begun.set()
        for _ in priority.while_wanted(range(2000)):
            if self.go.wait(0.01):
                return {"of": asked[1]}
        raise AssertionError("nobody said go")


# ---------------------------------------------------------------- what they hold


def test_bytes_come_back_as_the_arrays_that_they_were():
    answer = {"a": np.arange(-3, 4, dtype=np.int16), "b": [{"c": np.ones((2, 3))}, None], "d": "ü", "$": {"e": 1}}
    data = packed(answer)
    found = unpacked(data)
    assert plain(found) == plain(answer) and found["a"].dtype == np.int16 and found["b"][0]["c"].dtype == np.float64
    assert all(part["$"][1] % 8 == 0 for part in (json.loads(data[4 : 4 + data[0] + 256 * data[1]])["a"],))
    with pytest.raises(ValueError):
        packed({"x": float("nan")})


def test_a_picture_is_the_stage_and_its_numbers_come_after():
    session, request = Session(), Request(n=300, T=3, denoisers=("exact", "ddgan", "gaussian"))
    whole = stage(staged(session, request))
    first = KINDS["points"].show(session, request)
    numbers = KINDS["scores"].show(session, request)["panels"]
    assert all(panel["metrics"] is None for panel in first["panels"])
    for panel, metrics in zip(first["panels"], numbers, strict=True):
        panel["metrics"] = metrics
    assert plain(first) == plain(whole)
    assert KINDS["scores"].show(Session(), request)["panels"] == numbers, "also where the picture is no longer here"


def test_every_kind_is_what_the_library_says():
    session, at = Session(), "T=4&at=2,0.5,-0.25,x_s"
    asked = Question(Request(seed=0, n=1), 2, (0.5, -0.25), "x_s")
    wanted = {
        "posterior": posterior(session, asked),
        "map": gap_map(session, Question(asked.request, 2, (0.0, 0.0), "x_s")),
        "bars": {"steps": step_gaps(session, Request())},
    }
    for kind, answer in wanted.items():
        assert plain(KINDS[kind].show(session, KINDS[kind].parse(at))) == plain(answer)
    paths = KINDS["path"].show(session, KINDS["path"].parse("T=4&schedule=vp"))
    assert paths["best"]["nats"] < paths["chosen"]["nats"] and len(paths["best"]["t"]) == 5


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("points", "", "T=4&schedule=vp&span=0.1,20&unknown=1"),
        ("points", "data=mnist", ""),
        ("bars", "T=5&seed=3&n=7", "T=5&denoisers=exact"),
        ("posterior", "at=1,0.3,0.2,x_0&seed=9&n=20&forks=z.1.1", "at=1,.3,.2,x_0"),
        ("map", "at=1,0.3,0.2,x_0&denoisers=exact", "at=1,-1,2,x_0"),
    ],
)
def test_what_does_not_change_an_answer_is_not_in_its_name(kind, one, other):
    assert KINDS[kind].parse(one) == KINDS[kind].parse(other)


# ---------------------------------------------------------------- how they are kept


def test_an_answer_is_kept_by_browsers_under_its_version_and_known_again():
    async def story():
        browser = Browser(Pictures(Session()))
        first = await browser.get("points", "n=50&T=2")
        assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert unpacked(first.body)["n"] == 50 and browser.of.kept.bytes == len(first.body)
        again = await browser.get("points", "T=2&n=50", if_none_match=first.headers["etag"])
        assert (again.status_code, again.body) == (304, b"")
        old = await browser.get("points", "n=50&T=2", of="0123456789ab")
        assert (old.body, old.headers["cache-control"]) == (first.body, "no-store"), "of a page that is older"

    in_a_loop(story())


def test_a_visitors_own_model_is_not_kept():
    async def story():
        of = Pictures(Session())
        answer = await Browser(of).get("points", f"n=50&denoisers=exact,{OWN}")
        assert "no longer here" in unpacked(answer.body)["panels"][1]["error"]
        assert answer.headers["cache-control"] == "no-store" and "etag" not in answer.headers and not of.kept.bytes

    in_a_loop(story())


def test_what_is_kept_has_its_limit_and_the_oldest_goes():
    kept = pictures.Kept(10)
    for key in "abc":
        kept.put(key, b"1234")
    assert (kept.get("a"), kept.get("b"), kept.get("c"), kept.bytes) == (None, b"1234", b"1234", 8)
    kept.put("b", b"1"), kept.put("d", b"12345")
    assert (kept.get("b"), kept.get("c"), kept.bytes) == (b"1", b"1234", 10)
    assert kept.put("e", b"x" * 11) and kept.get("e") is None


# ---------------------------------------------------------------- who waits for what


def test_a_hundred_who_open_one_link_cost_one_computation(monkeypatch):
    slow = Slow(monkeypatch)

    async def story():
        of = Pictures(Session())
        asked = [asyncio.create_task(Browser(of, f"v{i}").get("points", "same")) for i in range(100)]
        await asyncio.to_thread(slow.begun.wait, 5)
        slow.go.set()
        assert {answer.body for answer in await asyncio.gather(*asked)} == {packed({"of": "same"})}
        assert slow.order == ["same"] and not of._flights and not of.of_one

    in_a_loop(story())


def test_who_leaves_is_not_computed_for(monkeypatch):
    slow = Slow(monkeypatch)

    async def story():
        of = Pictures(Session())
        browsers = [Browser(of, f"v{i}") for i in range(6)]
        asked = [asyncio.create_task(b.get("points", str(i))) for i, b in enumerate(browsers)]
        await asyncio.to_thread(slow.begun.wait, 5)
        await asyncio.sleep(0.1)
        assert sorted(slow.order) == ["0", "1"] and of.waiting == 4
        for browser in browsers[:5]:
            browser.leave.set()
        await asyncio.sleep(0.2)  # those that ran end, those that waited never begin
        assert [task.done() for task in asked] == [True] * 5 + [False]
        slow.go.set()
        assert (await asked[5]).body == packed({"of": "5"})
        assert sorted(slow.order) == ["0", "1", "5"] and not of._flights

    in_a_loop(story())


def test_who_comes_as_the_last_one_leaves_gets_an_answer(monkeypatch):
    """The computation that was given up begins anew."""
    tries = []

    def show(session, asked):
        tries.append(asked)
        if len(tries) == 1:
            raise Cancelled("nobody waits for this any more")
        return {"of": asked}

    monkeypatch.setitem(KINDS, "points", Kind(str, show))
    answer = in_a_loop(asked_once(Pictures(Session()), "x"))
    assert (answer.status_code, len(tries)) == (200, 2)


async def asked_once(of, query):
    return await Browser(of).get("points", query)


def test_pictures_go_before_what_comes_after_them(monkeypatch):
    points, scores = Slow(monkeypatch), Slow(monkeypatch, "scores", after=True)
    scores.go, scores.order = points.go, points.order

    async def story():
        of = Pictures(Session())
        first = [asyncio.create_task(Browser(of, "a").get("points", f"first{i}")) for i in range(2)]
        await asyncio.sleep(0.1)
        later = [asyncio.create_task(Browser(of, "b").get("scores", f"later{i}")) for i in range(3)]
        await asyncio.sleep(0)
        sooner = [asyncio.create_task(Browser(of, "c").get("points", f"sooner{i}")) for i in range(3)]
        idle = await Browser(of, "d").get("points", "idle", x_idle="1")
        assert idle.status_code == 204, "it gives way to all else"
        points.go.set()
        await asyncio.gather(*first, *later, *sooner)
        assert [word[:5] for word in points.order[2:]] == ["soone"] * 3 + ["later"] * 3

    in_a_loop(story())


def test_there_is_room_for_so_many_and_of_one_visitor_for_fewer(monkeypatch):
    slow = Slow(monkeypatch)

    async def story():
        of = Pictures(Session())
        mine = [asyncio.create_task(Browser(of, "me").get("points", f"m{i}")) for i in range(pictures.MAX_OF_ONE + 3)]
        await asyncio.sleep(0.1)
        refused = [task.result() for task in mine if task.done()]
        assert [answer.status_code for answer in refused] == [429] * 3
        assert refused[0].headers["retry-after"] == "1" and b"let one end" in refused[0].body
        others = [
            asyncio.create_task(Browser(of, f"v{i}").get("points", f"v{i}")) for i in range(pictures.MAX_WAITING + 9)
        ]
        await asyncio.sleep(0.5)
        assert of.waiting == pictures.MAX_WAITING
        full = [task.result().status_code for task in others if task.done()]
        assert full == [429] * (len(mine) - 3 - pictures.AT_ONCE + 9)
        slow.go.set()
        assert Counter(answer.status_code for answer in await asyncio.gather(*mine, *others))[200] == (
            pictures.MAX_WAITING + pictures.AT_ONCE
        )

    in_a_loop(story())


# ---------------------------------------------------------------- hostile queries

WORDS = ["", "0", "-1", "1", "4", "1e9", "nan", "inf", "x_0", "x_s", "vp", "optimal", "exact", "ddgan", OWN, "ü\0", "%"]
WORDS += ["1,2", "0.1,20", "9" * 400, "z.1.1", "eps.2.7.1", "1,0.3,0.2,x_0", "25-gaussians", "../../etc/passwd", "[]"]
WORDS += ["a" * 9000, "points:", "points:AAAA", "mnist", "nfe", "4-gaussians-1d", "1,0.1,x_0", "{}", "null", ",", ",,"]
FIELDS = ["data", "denoisers", "T", "schedule", "span", "seed", "n", "forks", "edit", "eta", "budget", "label", "at"]


def hostile(chance):
    fields = chance.sample(FIELDS, chance.randint(0, 6))
    return urlencode([(field, chance.choice(WORDS)) for field in fields]) + chance.choice(["", "&", "&&=", "&T", ";"])


def test_ten_thousand_queries_are_understood_or_refused():
    chance, found = random.Random(0), Counter()
    for _ in range(10_000):
        kind = chance.choice([*KINDS])
        try:
            found[hash(KINDS[kind].parse(hostile(chance))) is not None] += 1
        except Refused as error:
            found["refused"] += 1
            assert "\n" not in str(error) and len(str(error)) < 400
    assert found["refused"] > 1000 and found[True] > 1000


@pytest.mark.slow
def test_a_thousand_raw_requests_are_answered_and_none_fails(caplog):
    chance, demo = random.Random(1), ui.build()
    paths = []
    for _ in range(1000):
        kind = chance.choice([*KINDS, "nothing", "points/more", "", "POINTS", "%00"])
        query = hostile(chance).replace("n=4", "n=40") if chance.random() < 0.9 else quote(chance.choice(WORDS))
        paths.append(f"/gradio_api/pictures/{chance.choice([version(), 'old', '%2e%2e'])}/{kind}?{query}")
    said = in_a_loop(fetched(demo, *paths))
    assert {answer.status_code for answer in said} <= {200, 400, 404, 499}
    assert not [record for record in caplog.records if record.exc_info]
