"""What this app uses of Gradio beyond what Gradio promises, by name: an update that renames one fails here first."""

import ast
import importlib
from pathlib import Path

import gradio as gr
import pytest
from gradio.queueing import Event, EventQueue, Queue

from ddgan.ui import server

ROOT = Path(__file__).parents[2]
HOME = ROOT / "ddgan" / "ui" / "server" / "gradio_internals.py"

# the attributes that gradio_internals.py touches, on what they are
PRIVATE = {
    "Blocks": {"_queue", "blocks", "fns"},
    "Queue": {
        "clean_events",
        "event_ids_to_events",
        "event_queue_per_concurrency_id",
        "pending_event_ids_session",
        "pending_messages_per_session",
    },
    "EventQueue": {"current_concurrency", "queue"},
    "Event": {"alive", "session_hash"},
    "Parameter": {"_api_info"},
    "BlockFunction": {"api_name", "api_visibility", "inputs", "validator"},
    "SessionState": {"config_values"},
    "LocalContext": {"event_id", "request"},
}
# and what it imports from Gradio's modules
IMPORTED = {
    "gradio.blocks": {"BlockFunction"},
    "gradio.components.plot": {"PlotData"},
    "gradio.context": {"LocalContext", "get_blocks_context"},
    "gradio.exceptions": {"ServerFailedToStartError"},
    "gradio.server_messages": {"ProcessCompletedMessage"},
    "gradio.state_holder": {"SessionState"},
    "gradio.utils": {"error_payload", "get_upload_folder"},
}
OVERRIDDEN = ("preprocess_data", "call_function", "postprocess_data")  # methods of gr.Blocks, in page.py

EVERY = set().union(*PRIVATE.values())
# names that others have too: nobody outside HOME touches the rest, whatever it is on
OWN = EVERY - {"blocks", "queue", "inputs", "alive", "event_id", "api_name", "request", "validator", "session_hash"}


def attributes(source: str) -> set[str]:
    return {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}


def from_gradio(source: str) -> dict[str, set[str]]:
    """Module of Gradio -> names taken from it; `gradio` itself is public."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gradio."):
            found.setdefault(node.module, set()).update(alias.name for alias in node.names)
        if isinstance(node, ast.Import):
            found.update({alias.name: set() for alias in node.names if alias.name.startswith("gradio.")})
    return found


def touched(source: str) -> set[str]:
    """The parts of Gradio that it does not promise, and `source` uses."""
    return (attributes(source) & OWN) | set(from_gradio(source))


@pytest.mark.parametrize(
    "path", [p for p in sorted((ROOT / "ddgan").rglob("*.py")) if p != HOME], ids=lambda p: str(p.relative_to(ROOT))
)
def test_no_other_file_touches_a_private_part_of_gradio(path):
    assert not touched(path.read_text()), "put it behind a named function of gradio_internals.py"


@pytest.mark.parametrize(
    "line",
    ["len(demo._queue)", "b._api_info |= x", "from gradio.context import Context", "import gradio.routes", "page.fns"],
)
def test_the_rule_sees_every_way_to_touch_one(line):
    assert touched(line) and not touched(
        "import gradio as gr\nfrom gradio import Button\ndemo.queue(max_size=1).blocks"
    )


def test_the_table_names_what_is_used_and_no_more():
    source = HOME.read_text()
    assert from_gradio(source) == IMPORTED and attributes(source) >= EVERY
    # underscored names and names of the queue come from nowhere else
    assert {name for name in attributes(source) if name.startswith("_")} == {
        name for name in EVERY if name.startswith("_")
    }
    on_queue = {
        n.attr
        for n in ast.walk(ast.parse(source))
        if isinstance(n, ast.Attribute) and ast.unparse(n.value).endswith(("queue", "_queue"))
    }
    assert on_queue == PRIVATE["Queue"] | PRIVATE["EventQueue"]


def test_gradio_has_them_all():
    def doubled(x: float) -> float:
        return 2 * x

    with server.Page() as demo:
        gr.api(doubled)
    demo.queue()
    made = {
        "Blocks": demo,
        "Queue": demo._queue,
        "EventQueue": EventQueue("x", 1),
        "Parameter": demo.fns[0].inputs[0],
        "BlockFunction": demo.fns[0],
        "SessionState": importlib.import_module("gradio.state_holder").SessionState(demo),
        "LocalContext": importlib.import_module("gradio.context").LocalContext,
        "Event": Event("session", demo.fns[0], None, None),
    }
    assert made.keys() == PRIVATE.keys() and isinstance(demo._queue, Queue)
    for kind, names in PRIVATE.items():
        assert not [name for name in names if not hasattr(made[kind], name)], kind
    assert all(hasattr(gr.Blocks, name) and name in vars(server.Page) for name in OVERRIDDEN)
    for module, names in IMPORTED.items():
        assert not [name for name in names if not hasattr(importlib.import_module(module), name)], module
