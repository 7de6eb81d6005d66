"""What the page says around its pictures: choices, terms, notes, and the text of an answer with what it answers.

A text marks a term as [[mode]], or as [[mode|many modes]] where it stands in other words. `glossed` makes a button of
it, and assets/page.js shows what TERMS says of it while it is pointed at or focused.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..data.toys import TOYS, data_label
from ..diffusion.schedule import FAMILIES
from ..errors import Refused
from ..views.answers import refusal
from ..views.encoding import encoded

__all__ = [
    "GLOSSES", "INSTEAD", "SCHEDULES", "TERMS", "answered", "data_choices", "glossary", "glossed", "misunderstood",
    "note", "schedules", "with_glosses",
]  # fmt: skip

INSTEAD = "This is the first view instead."
SCHEDULES = [({"vp": "vp (paper)", "linear": "linear σ²"}.get(name, name), name) for name in FAMILIES]

# every word of the page that is not school mathematics, and what it means, as HTML
TERMS = {
    "law": "A law is a probability distribution: it says how likely every value is.",
    "mode": "A mode is a place where samples crowd, such as one of the 25 spots. Between modes there are hardly any.",
    "Gaussian": "A Gaussian is a normal distribution: one hump, given by its mean and its covariance.",
    "nat": "A nat is a unit of information, as a bit is: one nat is 1.44 bits. KL and entropy are measured in nats.",
    "KL": "KL(q ‖ p), the Kullback-Leibler divergence, says how far the law p is from the law q. It is 0 where they "
    "are equal.",
    "z": "z holds a few random numbers, drawn anew at every step. With another z the generator guesses another "
    "x<sub>0</sub> for the same x<sub>t</sub>.",
    "G": "G, the generator, is the network that samples: from x<sub>t</sub> and z it guesses clean data x<sub>0</sub>.",
    "D": "D, the discriminator, is a network that only training uses. It sees a pair (x<sub>s</sub>, x<sub>t</sub>) "
    "and says whether the step is real or made with G.",
    "posterior": "A posterior is the law of something unknown, given what was seen. Given x<sub>t</sub> and "
    "x<sub>0</sub>, that of x<sub>s</sub> is a Gaussian with a formula; given x<sub>t</sub> alone it can have many "
    "modes.",
    "schedule": "A schedule says how much noise there is in each x<sub>t</sub>. The paper's is called vp.",
    "NFE": "NFE is the number of function evaluations: how often a network is called for one sample. It is the cost.",
    "log-SNR": "The log-SNR is the logarithm of signal over noise, each squared: −10 is nearly pure noise, 5 is "
    "nearly clean.",
    "±": "The standard deviation over seeds, the numbers that a training's randomness starts from.",
    "on a mode": "The share of samples within four standard deviations of a mode. All of them may be on one mode, so "
    "this number needs the modes and KL beside it.",
    "KL of the histogram": "How unevenly the samples are spread over the modes or classes, in nats. It is 0 for "
    "the shares of the law.",
    "energy distance": "How far the samples are from the law. It is 0 for equal laws; 95 % of exact samplings score "
    "less than its noise floor.",
    "width": "How wide the modes of the samples are: 1 is as wide as the law's, less is too narrow. "
    "About 2 on a plane means scattered samples, without modes.",
    "bound": "The sum of KL(q ‖ p) over the steps of a chain, and of that from q at x_T to pure noise, in nats. The KL "
    "from the law to the samples is at most this sum.",
    "SW₂": "The sliced Wasserstein distance to as many exact samples: how far one set has to be moved to become the "
    "other, seen from all sides.",
    "precision": "The share of generated images that lie among real ones.",
    "recall": "The share of real images that lie among generated ones.",
    "floor": "The score that real or exact samples get by chance.",
    "CFD": "The Fréchet distance to the training images in the features of our own classifier, as a share of their "
    "variance.",
    "FID": "The Fréchet distance in the features of the Inception network, which papers report. CFD and FID do not "
    "compare.",
}

# words with a gloss at their first place in a text that marks none: the term that they are
GLOSSES = {name: name for name in ("on a mode", "energy distance", "bound", "CFD", "FID", "KL", "NFE", "law", "z")}
GLOSSES |= {"modes": "mode", "nats": "nat"}


def glossed(text: str) -> str:
    """The HTML, or Markdown, with a button for every term that it marks. KeyError for a term that TERMS lacks."""
    return _MARKED.sub(_marked, text)


def with_glosses(text: str, words: Mapping[str, str] = GLOSSES) -> str:
    """The HTML, which marks nothing, with a gloss for each of the words where it first stands."""
    for word, term in words.items():
        text = re.sub(rf"\b{word}\b(?![^\[]*\]\])", f"[[{term}|{word}]]", text, count=1)
    return glossed(text)


def glossary() -> str:
    """What the buttons of `glossed` are described by: it is in the page once, and out of sight."""
    meanings = "".join(f'<p id="{_place(term)}">{words}</p>' for term, words in TERMS.items())
    return f"<div hidden>{meanings}</div>"


# a term, with the emphasis and the punctuation that touch it
_MARKED = re.compile(r"(\(?)(\*\*|<b>)?\[\[([^]|]+)(?:\|([^]]+))?\]\]((?(2)(?:\*\*|</b>)))([.,:;?!)]*)")


def _marked(found: re.Match[str]) -> str:
    """The button; no line ends between it and its punctuation."""
    before, begin, term, words, end, after = found.groups(default="")
    button = f"{before}{begin}{_gloss(term, words or term)}{end}{after}"
    return f'<span class="gloss-end">{button}</span>' if before or after else button


def _gloss(term: str, words: str) -> str:
    if term not in TERMS:
        raise KeyError(term)
    kind = "gloss short" if len(words) == 1 else "gloss"
    return f'<button type="button" class="{kind}" aria-describedby="{_place(term)}">{words}</button>'


def _place(term: str) -> str:
    return "gloss-" + re.sub(r"\W+", "-", term)


def schedules(chosen: str = "", span: tuple[float, float] | None = None) -> list[tuple[str, str]]:
    """The menu of schedules where this one is chosen with this range: vp is the paper's with its own alone."""
    other = chosen == "vp" and span not in (None, FAMILIES["vp"].default)
    return [("vp (other)" if other and name == "vp" else label, name) for label, name in SCHEDULES]


def data_choices(*own: str) -> list[tuple[str, str]]:
    """(label, name) of all toys, and of a visitor's own points."""
    return [(data_label(name), name) for name in dict.fromkeys([*TOYS, *own])]


def misunderstood(error: Refused) -> str:
    """The sentence about a link that was not understood."""
    return f"The link was not understood: {error}. {INSTEAD}"


def note(kind: str, words: str, *, failed: bool = False) -> str:
    """A note beside a control, as HTML; `kind` is the class that styles it."""
    return f'<p class="note {kind}{" failed" if failed else ""}" role="status">{html.escape(words)}</p>'


def answered(
    answer: dict[str, Any] | Refused, asked: int | None = None, controls: Iterable[Any] = (), problem: str | None = None
) -> str:
    """The text that the page is sent: a picture, or the sentence of a refusal.

    `asked` is the time at which it was asked for, `controls` what they held then: the page shows no older picture after
    it, and asks for nothing anew that is there. A `problem` is why this picture stands for another: it says so, and
    leaves the address alone.
    """
    said = refusal(answer) if isinstance(answer, Refused) else answer
    if problem:
        said = {**said, "message": problem, "query": ""}
    return encoded(said if asked is None else {**said, "asked": asked, "controls": [*controls]})
