"""A request -> code that gives the same arrays: Python, curl, the command line, a link. Pure, for "Copy as code"."""

from __future__ import annotations

import json
import shlex

from .export import link
from .request import Request

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
    api_name="/denoise",
)
states = {{}}  # of every denoiser: (T + 1, n, ...), from noise to data
for name, answer in reply["denoisers"].items():
    a = answer.get("states")  # or "predicted"; an "error" where it refused
    states[name] = a and np.frombuffer(b64decode(a["data"]), a["dtype"]).reshape(a["shape"])
"""
_CURL = """\
EVENT=$(curl -s {start} -H 'Content-Type: application/json' -d {body} | sed 's/.*"event_id":"\\([^"]*\\)".*/\\1/')
curl -sN {result}/$EVENT
"""


def snippets(request: Request, address: str) -> dict[str, str]:
    """KINDS -> code that asks the page at this address, or this package, for all states of the request."""
    asked = request.to_dict()
    arguments = "\n".join(f"    {name}={json.dumps(value)}," for name, value in asked.items())
    api = f"{address.rstrip('/')}/gradio_api/call"
    return {
        "python": _PYTHON.format(address=json.dumps(address), arguments=arguments),
        "curl": _CURL.format(
            start=shlex.quote(f"{api}/v2/denoise"), body=shlex.quote(json.dumps(asked)), result=shlex.quote(f"{api}/denoise")
        ),
        "cli": _command(request),
        "link": link(request, address),
    }


def _command(request: Request) -> str:
    """The command line that writes the request's arrays to an .npz file."""
    words = request.to_words()
    data, flags = words.pop("data"), {"denoisers": "--denoiser", "n": "-n"}
    options = [part for name, word in words.items() for part in (flags.get(name, f"--{name}"), word)]
    return shlex.join(["python", "-m", "ddgan", "export", data, *options, "--out", "arrays.npz"])
