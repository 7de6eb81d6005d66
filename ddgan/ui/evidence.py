"""The tab *Evidence*: for every experiment a claim, a figure, and our numbers beside the paper's.

All other numbers, and the command that measures them again, are behind a fold. It is made of assets/evidence.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import cache
from html import escape
from typing import Any

import gradio as gr
from PIL import Image
from plotly import graph_objects as go
from plotly.io.json import to_json_plotly

from ..evidence import ASSETS, EXPERIMENTS, Beside, Experiment, Result, beside, provenance, read, summary, table
from .canvas import QUIET
from .server.gradio_internals import PlotData
from .words import TERMS, with_glosses

__all__ = ["build", "page"]

_ON_LOAD = """const enter = part => {  // its fold too
  part.querySelector('details').open = true;
  part.scrollIntoView();
};
const arrive = () => {
  const part = document.getElementById(location.hash.slice(1));
  if (part?.matches('.evidence-part')) enter(part);
};
watch('value', () => requestAnimationFrame(arrive));
element.addEventListener('toggle', async event => {  // the whole of a figure is large: it comes when it is looked at
  const picture = event.target.querySelector('img[data-of]:not([src])');
  if (picture && event.target.open) picture.src = await server.whole(picture.dataset.of);
}, true);
element.addEventListener('click', async event => {
  const entry = event.target.closest('a[href^="#"]');
  if (entry) {  // by hand: the page's <base> would make it a link to its start
    event.preventDefault();
    const part = element.querySelector(entry.hash);
    part.tabIndex = -1;
    part.focus({preventScroll: true});
    enter(part);
    history.replaceState(history.state, '', location.pathname + location.search + entry.hash);
    return;
  }
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  let done = true;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {  // where the page may not, the command is left selected
    getSelection().selectAllChildren(button.previousElementSibling);
    done = document.execCommand('copy');
  }
  button.textContent = done ? 'Copied' : 'Selected';
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
});"""
_THERE = "() => [document.querySelector('#evidence nav') ? 'there' : '']"
_PARTS = "${value.above}@children${value.below}"  # of a section: its figure stands between them
_NOTHING = {"above": "", "below": ""}
_HEAD = """<h2>The paper's argument, measured here</h2>
<p>Each part has a claim, a figure, and our numbers beside the paper's. Its fold has all numbers and the command that
measures them. This page, the README and the figures are made from the same files. If a result falls short of the
paper's, the table or its note says so.</p>"""
_COMING = {"above": f"{_HEAD}<p>The figures are coming …</p>", "below": ""}
MEASURES = (
    "±", "on a mode", "KL of the histogram", "energy distance", "width", "bound", "NFE", "SW₂", "precision", "recall",
    "floor", "CFD", "FID",
)  # fmt: skip
HEIGHT = 250  # the most of a figure of one panel, pixels


def build(tab: gr.Tab) -> None:
    """A part for every experiment and its figure, empty until the tab is first shown: then plotly.js is loaded too."""
    there = gr.Textbox(visible=False)
    template = {"html_template": _PARTS, "apply_default_css": False}
    events = {"js_on_load": _ON_LOAD, "server_functions": [_whole()]}
    with gr.HTML(_COMING, elem_id="evidence", elem_classes="evidence", **events, **template) as whole:
        shown: list[Any] = [whole]
        for e in EXPERIMENTS.values():
            with gr.HTML(
                _NOTHING, js_on_load=None, elem_id=f"evidence-{e.name}", elem_classes="evidence-part", **template
            ) as part:
                label = f"{e.title}: a figure"
                figure = gr.Plot(label=label, show_label=False, container=False, elem_classes="evidence-figure")
            shown += [part, figure]
    tab.select(_filled, there, shown, js=_THERE, **QUIET)


def _filled(there: str) -> list[Any]:
    return page() if not there else [gr.skip()] * len(page())


@cache
def page() -> list[Any]:
    """The head, then text and figure of every experiment. The first time takes seconds."""
    links = "".join(f'<li><a href="#evidence-{e.name}">{escape(e.title)}</a></li>' for e in EXPERIMENTS.values())
    meanings = "".join(f"<dt>{term[0].upper()}{term[1:]}</dt><dd>{TERMS[term]}</dd>" for term in MEASURES)
    measures = f"<details><summary>What the measures mean</summary><dl>{meanings}</dl></details>"
    head = f'{_HEAD}<nav aria-label="Experiments"><ol>{links}</ol></nav>{measures}'
    return [{"above": head, "below": ""}, *(part for e in EXPERIMENTS.values() for part in _section(e, read(e.name)))]


def _section(e: Experiment, results: list[Result]) -> tuple[dict[str, str], PlotData | None]:
    """What stands beside its figure, and the figure; pictures are a part of the text."""
    chosen = list(filter(e.chosen, results))
    figure = e.figure(chosen) if chosen else None
    opened = f'<a class="evidence-open" href="{escape(e.link)}" target="_blank">Open in the explorer</a>'
    claim = with_glosses(f'<p class="evidence-claim">{_words(e.claim)}</p>{_beside(beside(e, results))}')
    pictures = _pictures(e, figure) if isinstance(figure, Image.Image) else ""
    above = f'<div class="evidence-text"><h3>{_words(e.title)}</h3>{opened}{claim}</div>{pictures}'
    below = f"<details><summary>Numbers, and the command that prints them</summary>{_fold(e, results)}</details>"
    return {"above": above, "below": below}, _plot(figure) if isinstance(figure, go.Figure) else None


def _beside(numbers: tuple[Beside, ...]) -> str:
    """The few numbers that matter, as a table."""
    if not numbers:
        return "<p><em>Not all of it was measured yet.</em></p>"
    lines = "".join(
        f'<tr><th scope="row">{_words(of.what)}</th><td>{_words(of.ours)}</td><td>{_words(of.paper)}</td></tr>'
        for of in numbers
    )
    head = '<thead><tr><td></td><th scope="col">Ours</th><th scope="col">The paper</th></tr></thead>'
    return f'<table class="evidence-beside">{head}<tbody>{lines}</tbody></table>'


def _fold(e: Experiment, results: list[Result]) -> str:
    """All numbers, the whole figure where a part of it is shown, and where both come from."""
    measured = "<p><em>Not run yet: the command below makes it.</em></p>"
    if results:
        words = f"{escape(e.title)}: the figure of all results"
        picture = f'<img data-of="{e.name}" alt="{words}">' if e.chosen else ""
        measured = (
            f"<p><b>Ours</b> {_words(summary(e, results))}</p><p><b>The paper</b> {_words(e.paper)}</p>"
            f"{_table(e, table(e, results))}{picture}"
        )
    closes = f"<p>Nearer to the paper: {_command(e.closes[0])} {_words(e.closes[1])}.</p>" if e.closes else ""
    origin = f'<p class="evidence-note">{escape(provenance(e, results))}</p>' if results else ""
    return f'{measured}<p class="evidence-note">{_words(e.note)}</p><p>{_command(e.command)}</p>{closes}{origin}'


def _whole() -> Callable[[Any], str | None]:
    def whole(name):  # noqa: ANN001, ANN202 - Gradio hands over JSON
        """The file with the whole figure of an experiment, as an address that holds it; nothing where there is none."""
        kinds = {".svg": "svg+xml", ".webp": "webp"}
        for suffix, kind in kinds.items() if isinstance(name, str) and name in EXPERIMENTS else ():
            if (path := ASSETS / f"{name}{suffix}").is_file():
                return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
        return None

    return whole


def _plot(figure: go.Figure) -> PlotData:
    """The figure for gr.Plot, low where it has one panel, without plotly's buttons: there is nothing to zoom."""
    height, title = figure.layout.height, figure.layout.title
    if height > HEIGHT and not figure.layout.annotations:  # annotations are the panels' names
        figure.update_layout(height=HEIGHT, title_y=title.y * height / HEIGHT)  # the title keeps its place at the foot
    shown = {**figure.to_dict(), "config": {"displayModeBar": False}}
    return PlotData(type="plotly", plot=to_json_plotly(shown))


def _table(e: Experiment, lines: list[list[str]]) -> str:
    def row(cells: list[str], first: str, other: str) -> str:
        kinds = [first, *[other] * (len(cells) - 1)]
        return (
            "<tr>"
            + "".join(f"<{kind}>{_words(cell)}</{kind[:2]}>" for kind, cell in zip(kinds, cells, strict=True))
            + "</tr>"
        )

    # the corner has no words, and is no header
    head, body = row(lines[0], "td", 'th scope="col"'), "".join(row(line, 'th scope="row"', "td") for line in lines[1:])
    return (
        f'<div class="evidence-table" tabindex="0" role="region" aria-label="Numbers: {escape(e.title)}"><table>'
        f"<thead>{head}</thead><tbody>{body}</tbody></table></div>"
    )


def _pictures(e: Experiment, image: Image.Image) -> str:
    image.save(file := io.BytesIO(), "WEBP", lossless=True)
    source = base64.b64encode(file.getvalue()).decode()
    words = f"{escape(e.title)}: rows of pictures, each a start image and its variants"
    return f'<figure class="evidence-picture"><img src="data:image/webp;base64,{source}" alt="{words}"></figure>'


def _words(text: str) -> str:
    """Text as HTML. Hardly any font has the subscripts s and t."""
    return escape(text).translate({ord("ₛ"): "<sub>s</sub>", ord("ₜ"): "<sub>t</sub>"})


def _command(words: str) -> str:
    words = escape(words)
    button = f'<button type="button" data-copy="{words}">Copy</button>'
    return f'<span class="evidence-command"><code>{words}</code>{button}</span>'
