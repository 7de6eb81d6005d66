"""A visitor without a browser: presses the page's buttons over HTTP, as the page's own script does."""

import inspect
import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx

from ddgan.ui import api
from ddgan.ui.server import version
from ddgan.views.encoding import unpacked

API = "/gradio_api"
DENOISE = {name: p.default for name, p in inspect.signature(api.denoise).parameters.items()}


class Visitor:
    """One session. Functions are named by the elem_id of what triggers them and the event."""

    def __init__(self, address: str) -> None:
        self.session = uuid.uuid4().hex[:11]
        self.http = httpx.Client(base_url=address, timeout=60)
        config = self.http.get("/config").json()
        self.components = {c["id"]: c for c in config["components"]}
        self.functions = {
            (self.components[of]["props"].get("elem_id"), event): function
            for function in config["dependencies"]
            for of, event in function["targets"]
            if of in self.components
        }
        (self.denoise,) = (f for f in config["dependencies"] if f["api_name"] == "denoise")
        own = [f for f in config["dependencies"] if f["targets"]]  # the others are public endpoints
        (self.watching,) = (f for f in own if (f["targets"][0][1:], len(f["outputs"])) == (["change"], 9))

    def values(self, function: dict[str, Any], **other: Any) -> list[Any]:
        """What the controls hold at first, but for some by elem_id."""
        props = [self.components[i]["props"] for i in function["inputs"]]
        return [other.get((p.get("elem_id") or "").replace("-", "_"), p.get("value")) for p in props]

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.http.post(f"{API}/{path}", json={"session_hash": self.session, **body})

    def join(self, function: dict[str, Any], data: list[Any] | None = None) -> httpx.Response:
        return self.post("queue/join", fn_index=function["id"], data=self.values(function) if data is None else data)

    def results(self) -> Iterator[dict[str, Any]]:
        """All messages of the jobs of this session, until the stream ends."""
        with self.http.stream("GET", f"{API}/queue/data", params={"session_hash": self.session}) as stream:
            assert stream.status_code == 200, stream.read()
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])

    def run(self, function: dict[str, Any], data: list[Any] | None = None) -> dict[str, Any]:
        """The last message of a job."""
        joined = self.join(function, data)
        assert joined.status_code == 200, joined.text
        return next(message for message in self.results() if message["msg"] == "process_completed")

    def press(self, of: str, event: str = "click", **other: Any) -> list[Any]:
        """The data that a job returns; its own sentence is the AssertionError where it fails."""
        function = self.functions[of, event]
        last = self.run(function, self.values(function, **other))
        assert last["success"], last["output"].get("error")
        return last["output"]["data"]

    def denoising(self, **given: Any) -> list[Any]:
        """The values of the public endpoint denoise, self.denoise: a job of Gradio's queue that is soon done."""
        return list({name: given.get(name, default) for name, default in DENOISE.items()}.values())

    def picture(self, kind: str, query: str = "", **headers: str) -> httpx.Response:
        """A picture of points, as the page fetches it."""
        url = f"{API}/pictures/{version()}/{kind}?{query}"
        return self.http.get(url, headers={"x-visitor": self.session, **headers})

    def points(self, query: str = "") -> dict[str, Any]:
        """What the stage draws; its own sentence is the AssertionError where there is none."""
        answer = self.picture("points", query)
        assert answer.status_code == 200, answer.json()["detail"]
        return unpacked(answer.content)

    def health(self) -> dict[str, Any]:
        return self.http.get("/health").json()
