"""The tab *Evidence*: what is claimed, what was measured, and what measures it again; made of the files in assets/evidence."""

from __future__ import annotations

import base64
from functools import cache
from html import escape
from typing import Any

import gradio as gr

from ..evidence import ASSETS, EXPERIMENTS, Experiment, provenance, read, summary, table

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
_THERE = "() => [document.querySelector('#evidence .evidence') ? 'there' : '']"
_HEAD = """<h2>The paper's argument, measured here</h2>
<p>Every number of ours in a table or figure was written by the command beside it, into a file that this page, the README and the
figures are made of. Where ours falls short of the paper's, the table or its note says so.</p>
<p>±: standard deviation over seeds. On a mode: samples within four standard deviations of one. KL: of the histogram of modes or classes, in nats. NFE: calls of the
network for a sample. SW₂: sliced Wasserstein distance to as many exact samples. Precision: generated images among the real ones;
recall: real ones among the generated. Floor: what real or exact samples score. CFD: Fréchet
distance to the training images in the features of our own classifier, as a share of their variance; FID is that distance, not
as a share, in Inception's, and the two do not compare.</p>"""


def build(tab: gr.Tab) -> None:
    """The tab's one component, filled when the tab is first shown."""
    shown, there = gr.HTML(js_on_load=_ON_LOAD, apply_default_css=False, elem_id="evidence"), gr.Textbox(visible=False)
    tab.select(_filled, there, shown, js=_THERE, show_progress="hidden", api_visibility="private")


def _filled(there: str) -> Any:
    return gr.skip() if there else _page()


@cache
def _page() -> str:
    links = "".join(f'<li><a href="#evidence-{e.name}">{escape(e.title)}</a></li>' for e in EXPERIMENTS.values())
    sections = "".join(_section(e) for e in EXPERIMENTS.values())
    return f'<div class="evidence">{_HEAD}<nav aria-label="Experiments"><ol>{links}</ol></nav>{sections}</div>'


def _section(e: Experiment) -> str:
    results = read(e.name)
    measured = "<p><em>Not run yet: the command below makes it.</em></p>"
    if results:
        measured = (
            f"<p><b>Ours</b> {escape(summary(e, results))}</p><p><b>The paper</b> {escape(e.paper)}</p>"
            f'<div class="evidence-shown">{_table(e, table(e, results))}{_figure(e)}</div>'
        )
    closes = f"<p>Nearer to the paper: {_command(e.closes[0])} {escape(e.closes[1])}.</p>" if e.closes else ""
    return (
        f'<section id="evidence-{e.name}"><h3>{escape(e.title)}</h3><p class="evidence-claim">{escape(e.claim)}</p>{measured}'
        f'<p class="evidence-note">{escape(e.note)}</p>'
        f'<p><a class="evidence-open" href="{escape(e.link)}" target="_blank">Open in the explorer</a> {_command(e.command)}</p>{closes}'
        f'<p class="evidence-note">{escape(provenance(e, results)) if results else ""}</p></section>'
    )


def _table(e: Experiment, lines: list[list[str]]) -> str:
    def row(cells: list[str], tag: str) -> str:
        kinds = ['th scope="row"', *[tag] * (len(cells) - 1)]
        return "<tr>" + "".join(f"<{kind}>{escape(cell)}</{kind[:2]}>" for kind, cell in zip(kinds, cells, strict=True)) + "</tr>"

    head, body = row(lines[0], 'th scope="col"'), "".join(row(line, "td") for line in lines[1:])
    return (
        f'<div class="evidence-table" tabindex="0" role="region" aria-label="Numbers: {escape(e.title)}"><table>'
        f"<thead>{head}</thead><tbody>{body}</tbody></table></div>"
    )


def _figure(e: Experiment) -> str:
    if (path := ASSETS / f"{e.name}.svg").is_file():
        return f"<figure>{path.read_text(encoding='utf-8')}</figure>"
    if not (path := path.with_suffix(".webp")).is_file():
        return ""
    source = base64.b64encode(path.read_bytes()).decode()
    words = f"{escape(e.title)}: a row of pictures for every line of the table"
    return f'<figure><img src="data:image/webp;base64,{source}" alt="{words}"></figure>'


def _command(words: str) -> str:
    words = escape(words)
    return f'<span class="evidence-command"><code>{words}</code><button type="button" data-copy="{words}">Copy</button></span>'
