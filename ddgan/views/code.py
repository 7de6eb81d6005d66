"""A request -> code that gives the same arrays: Python, curl, the command line, a link. Pure, for "Copy as code"."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

from ..errors import Refused
from ..explorer.request import OWN, Request, link
from . import answers

__all__ = ["KINDS", "snippets"]

KINDS = {"python": "Python", "curl": "curl", "cli": "Command line", "link": "Link"}
_PYTHON = """\
# pip install gradio_client numpy
from base64 import b64decode

import numpy as np
from gradio_client import Client

client = Client({address})
reply = client.predict(
{arguments}
    arrays=True,
    api_name="/{endpoint}",
)
{key} = {{}}  # of every denoiser: {shape}
for name, answer in reply["denoisers"].items():
    a = answer.get("{key}")  # {other}an "error" where it refused
    {key}[name] = a and np.frombuffer(b64decode(a["data"]), a["dtype"]).reshape(a["shape"])
"""
_ALL = {"key": "states", "shape": "(T + 1, n, ...), from noise to data", "other": 'or "predicted"; '}
_LAST = {"key": "x", "shape": "(n, ...), the last states: all of them do not fit into one reply", "other": ""}
_CURL = """\
EVENT=$(curl -s {start} -H 'Content-Type: application/json' -d {body} | sed 's/.*"event_id":"\\([^"]*\\)".*/\\1/')
curl -sN {result}/$EVENT
"""
_OWN = (
    "# MODEL.safetensors is the file that the tab Train lets you download; with it the data are those of its training\n"
)


def snippets(request: Request, address: str, objective: str = "ddgan") -> dict[str, str]:
    """KINDS -> code that asks the page at this address, or this package, for all states of the request.

    Where these do not fit into a reply, the page is asked for the last ones. `objective` is that of a visitor's own
    model.
    """
    asked, endpoint, arrays = request.to_dict(), "denoise", _ALL
    try:
        answers.afford(request, 2 * request.start + 1)
    except Refused:
        endpoint, arrays = "compare", _LAST
    arguments = "\n".join(f"    {name}={json.dumps(value)}," for name, value in asked.items())
    api = f"{address.rstrip('/')}/gradio_api/call"
    return {
        "python": _PYTHON.format(address=json.dumps(address), arguments=arguments, endpoint=endpoint, **arrays),
        "curl": _CURL.format(
            start=shlex.quote(f"{api}/v2/{endpoint}"),
            body=shlex.quote(json.dumps({**asked, "arrays": True})),
            result=shlex.quote(f"{api}/{endpoint}"),
        ),
        "cli": _command(request, objective),
        "link": link(request, address),
    }


def _command(request: Request, objective: str) -> str:
    """The command line that writes the request's arrays to an .npz file."""
    own = any(OWN.fullmatch(name) for name in request.denoisers)
    if own:  # the command line knows it by what its file holds, which holds no other
        names = [
            objective if OWN.fullmatch(name) else name
            for name in request.denoisers
            if name not in ("ddgan", "regression")
        ]
        request = replace(request, data="MODEL.safetensors", denoisers=tuple(dict.fromkeys(names)))
    words = request.to_words()
    data, flags = words.pop("data"), {"denoisers": "--denoiser", "n": "-n"}
    options = [part for name, word in words.items() for part in (flags.get(name, f"--{name}"), word)]
    return _OWN * own + shlex.join(["python", "-m", "ddgan", "export", data, *options, "--out", "arrays.npz"])
