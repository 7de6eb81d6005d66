"""The menu of methods: the usual ones in a line, and behind a button all of them in their groups.

It is one group of check boxes, whose order is that of the panels. What a style sheet can say without a second
component, the headings, the counts of evaluations and what is hidden, is written from METHODS.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import gradio as gr

from ..explorer.methods import GROUPS, METHODS
from ..explorer.request import Request
from ..views.answers import label

__all__ = ["Menu", "build", "choices"]

USUAL = ("exact", "ddgan", "gaussian", "regression", "mean")  # in sight while the menu is closed, as what is checked is
BUDGETS = [("Steps", "T"), ("Evaluations", "nfe")]
# here, since Gradio's rewriting of a sheet loses what stands above its blocks
_LAYOUT = """
#menu-style { display: none; }
#methods { align-items: center; gap: 8px 14px; }
#denoisers { flex: 0 1 auto; width: auto; }
#more-ways { flex: none; white-space: nowrap; }
#methods > .form { flex: none; display: flex; flex-wrap: wrap; align-items: center; gap: 6px 24px; max-width: 100%;
  border: 0; background: none; overflow: visible; box-shadow: none; }
html:not([data-ways]) #methods > .form { display: none; }
#methods .form .block { border: 0; padding: 0; background: none; min-width: 0 !important; flex: none; width: 230px; }
html[data-ways] #denoisers { flex: 1 0 100%; }
html[data-ways] #denoisers .wrap { display: grid; grid-template-columns: repeat(5, auto); gap: 8px 14px;
  padding: 26px 0 0; justify-content: start; }
html[data-ways] #denoisers label { position: relative; }
html[data-ways] #denoisers label::before { position: absolute; left: 2px; top: -24px; font-size: 13px;
  font-weight: 700; white-space: nowrap; }
html[data-ways] #denoisers label::after { font-size: 12px; opacity: 0.75; margin-left: 6px; }
@media (min-width: 1100px) {
  html:not([data-ways]) #methods { padding-right: 424px; }  /* where the two below stand */
  #own:not(:has(.open)), #range:not(:has(.open)) { width: 200px; min-width: 0 !important; margin: -44px 0 0 auto;
    padding-block: 6px !important; }
  #range:not(:has(.open)) { width: 216px; margin-right: 210px; }
  #own:has(.open) ~ #range:not(:has(.open)) { margin: 0; }  /* it stands below the box that is open */
  #denoisers .wrap { gap: 6px; }
  #denoisers label { padding: 5px 8px; }
}
@media (max-width: 560px) {  /* the picture stands in the first view */
  html:not([data-ways]) #denoisers label:not(.selected) { display: none; }
  #methods { gap: 6px; }
  #more-ways { padding-inline: 7px; font-size: 12px; }
}
@media (max-width: 1000px) {
  html[data-ways] #denoisers .wrap { display: flex; flex-wrap: wrap; padding: 0; }
  html[data-ways] #denoisers label::before { position: static; margin-right: 8px; }
  #methods .form .block { width: 150px; }
}
"""
_TOGGLE = """() => {
  const open = document.documentElement.toggleAttribute('data-ways');
  const button = document.querySelector('#more-ways');
  button.setAttribute('aria-expanded', open);
  button.textContent = open ? 'Fewer ways' : 'More ways'; }"""


class Menu(NamedTuple):
    """The components that hold a value: names of methods, what T counts, and DDIM's eta."""

    denoisers: gr.CheckboxGroup
    budget: gr.Radio
    eta: gr.Slider


def build(first: Request) -> Menu:
    """The menu's components, for points."""
    gr.HTML(f"<style>{_style()}</style>", apply_default_css=False, elem_id="menu-style")
    with gr.Row(elem_id="methods"):
        denoisers = gr.CheckboxGroup(
            choices(), value=list(first.denoisers), show_label=False, scale=0, min_width=0,
            label="Denoisers, all on the same noise", container=False, elem_id="denoisers",
        )  # fmt: skip
        more = gr.Button("More ways", size="sm", scale=0, min_width=0, elem_id="more-ways")
        budget = gr.Radio(BUDGETS, value=first.budget or "T", label="T counts", scale=0, min_width=0, elem_id="budget")
        eta = gr.Slider(0, 1, first.eta or 0, step=0.05, label="η of DDIM", scale=0, min_width=160, elem_id="eta")
    more.click(None, None, None, js=_TOGGLE, api_visibility="private")
    return Menu(denoisers, budget, eta)


def choices(asked: Iterable[str] = ()) -> list[tuple[str, str]]:
    """All of METHODS that points have, and those asked for, a visitor's own among them."""
    ours = [name for name in METHODS if name != "official"]
    return [(label(name), name) for name in dict.fromkeys([*ours, *asked])]


def _style() -> str:
    """What is seen of the menu when it is closed, and where each method stands when it is open."""
    usual = ", ".join(f'[name="{name}"]' for name in USUAL)
    rules = [f"html:not([data-ways]) #denoisers label:not(.selected):not(:has({usual})) {{ display: none; }}"]
    rows = dict.fromkeys(GROUPS, 0)
    for name, method in ((name, METHODS[name]) for _, name in choices()):
        rows[method.group] += 1
        row, column = rows[method.group], 1 + GROUPS.index(method.group)
        of = f'html[data-ways] #denoisers label:has([name="{name}"])'
        rules.append(f"{of} {{ grid-area: {row} / {column}; }}")
        if row == 1:
            rules.append(f'{of}::before {{ content: "{method.group}"; }}')
        if method.solver.nfe(2) > 2:
            rules.append(f'{of}::after {{ content: "2 T − 1 evaluations"; }}')
    return "\n".join([_LAYOUT, *rules])
