"""The tab *Evidence*: what is claimed, what was measured, and what measures it again;
made of the results in assets/evidence.
"""

from __future__ import annotations

import base64
import io
import json
from functools import cache
from html import escape
from typing import Any

import gradio as gr
from PIL import Image
from plotly import graph_objects as go

from ..evidence import EXPERIMENTS, Experiment, Result, provenance, read, summary, table
from .server.gradio_internals import PlotData

__all__ = ["build"]

_ON_LOAD = """const arrive = () => { document.getElementById(location.hash.slice(1))?.scrollIntoView(); };
watch('value', () => requestAnimationFrame(arrive));
element.addEventListener('click', async event => {
  const entry = event.target.closest('a[href^="#"]');
  if (entry) {  // by hand: the page's <base> would make it a link to its start
    event.preventDefault();
    const part = element.querySelector(entry.hash);
    part.tabIndex = -1;
    part.focus({preventScroll: true});
    part.scrollIntoView();
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
_THERE = "() => [document.querySelector('#evidence h2') ? 'there' : '']"
_PARTS = "${value.above}@children${value.below}"  # of a section: its figure stands between them
_NOTHING = {"above": "", "below": ""}
_HEAD = """<h2>The paper's argument, measured here</h2>
<p>Every number of ours in a table or figure was written by the command beside it, into a file that this page, the
README and the figures are made of. Where ours falls short of the paper's, the table or its note says so.</p>
<p>±: standard deviation over seeds. On a mode: samples within four standard deviations of one; no verdict without the
modes and KL beside it, since all samples may be on one mode. KL: of the histogram of modes or classes, in nats. Energy:
energy distance to the law; 95 % of exact samplings score less than its floor. Width: how wide the modes are; 1 is as
wide as the law's. Bound: the sum of KL(q ‖ p) over the steps of a chain, in nats; KL(law ‖ samples) is not above it.
NFE: calls of the network for a sample. SW₂: sliced Wasserstein distance to as many exact samples. Precision: generated
images among the real ones; recall: real ones among the generated. Floor: what real or exact samples score. CFD: Fréchet
distance to the training images in the features of our own classifier, as a share of their variance; FID is that
distance, not as a share, in Inception's, and the two do not compare.</p>"""


def build(tab: gr.Tab) -> None:
    """A part for every experiment and its figure, empty until the tab is first shown: then plotly.js is loaded too."""
    there = gr.Textbox(visible=False)
    page = {"html_template": _PARTS, "apply_default_css": False}
    with gr.HTML(_NOTHING, js_on_load=_ON_LOAD, elem_id="evidence", elem_classes="evidence", **page) as whole:
        shown: list[Any] = [whole]
        for e in EXPERIMENTS.values():
            with gr.HTML(
                _NOTHING, js_on_load=None, elem_id=f"evidence-{e.name}", elem_classes="evidence-part", **page
            ) as part:
                label = f"{e.title}: a figure of the numbers in the table"
                figure = gr.Plot(label=label, show_label=False, container=False, elem_classes="evidence-figure")
            shown += [part, figure]
    tab.select(_filled, there, shown, js=_THERE, show_progress="hidden", api_visibility="private")


def _filled(there: str) -> list[Any]:
    return _page() if not there else [gr.skip()] * len(_page())


@cache
def _page() -> list[Any]:
    """The head, then text and figure of every experiment."""
    links = "".join(f'<li><a href="#evidence-{e.name}">{escape(e.title)}</a></li>' for e in EXPERIMENTS.values())
    head = f'{_HEAD}<nav aria-label="Experiments"><ol>{links}</ol></nav>'
    return [{"above": head, "below": ""}, *(part for e in EXPERIMENTS.values() for part in _section(e, read(e.name)))]


def _section(e: Experiment, results: list[Result]) -> tuple[dict[str, str], PlotData | None]:
    """What stands above and below its figure, and the figure; pictures are a part of the text."""
    measured = "<p><em>Not run yet: the command below makes it.</em></p>"
    figure = e.figure(results) if results else None
    if results:
        pictures = _pictures(e, figure) if isinstance(figure, Image.Image) else ""
        measured = (
            f"<p><b>Ours</b> {_words(summary(e, results))}</p><p><b>The paper</b> {_words(e.paper)}</p>"
            f"{_table(e, table(e, results))}{pictures}"
        )
    closes = f"<p>Nearer to the paper: {_command(e.closes[0])} {_words(e.closes[1])}.</p>" if e.closes else ""
    above = f'<h3>{_words(e.title)}</h3><p class="evidence-claim">{_words(e.claim)}</p>{measured}'
    below = (
        f'<p class="evidence-note">{_words(e.note)}</p>'
        f'<p><a class="evidence-open" href="{escape(e.link)}" target="_blank">Open in the explorer</a> '
        f"{_command(e.command)}</p>{closes}"
        f'<p class="evidence-note">{escape(provenance(e, results)) if results else ""}</p>'
    )
    return {"above": above, "below": below}, _plot(figure) if isinstance(figure, go.Figure) else None


def _plot(figure: go.Figure) -> PlotData:
    """The figure for gr.Plot, without plotly's buttons: there is nothing to zoom."""
    shown = {**json.loads(figure.to_json()), "config": {"displayModeBar": False}}
    return PlotData(type="plotly", plot=json.dumps(shown))


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
    words = f"{escape(e.title)}: a row of pictures for every line of the table"
    return f'<figure><img src="data:image/webp;base64,{source}" alt="{words}"></figure>'


def _words(text: str) -> str:
    """Text as HTML. Hardly any font has the subscripts s and t."""
    return escape(text).translate({ord("ₛ"): "<sub>s</sub>", ord("ₜ"): "<sub>t</sub>"})


def _command(words: str) -> str:
    words = escape(words)
    button = f'<button type="button" data-copy="{words}">Copy</button>'
    return f'<span class="evidence-command"><code>{words}</code>{button}</span>'
