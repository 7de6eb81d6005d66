"""What could one x_t of points have been? The answer and the map of gaps, as assets/posterior.js draws them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..diffusion.mixture import Law, lattice
from ..errors import Refused
from ..explorer.plane import centres, scale, width
from ..explorer.posterior import Answer, Question, ask, fold, gaps, kernel_density, log_ratio, weights
from ..explorer.session import Session
from .answers import label, sentence
from .encoding import DENSITY_CELLS, pictured, quantised, upright

__all__ = ["NATS", "SEEN", "folded", "gap_map", "posterior"]

NATS = (0.5, 1.0, 2.0, 4.0)  # where the colours of a log ratio may end
SEEN = 0.1  # what of a log ratio is seen: where the law is at least so dense, as a share of its peak
COUNTS = 0.05  # nats: the least range of the colours of a map; below it they would show rounding
OFTEN = 0.1  # of the largest density: x_t that are more likely decide where the colours begin
GAPS = 24


def posterior(session: Session, question: Question) -> dict[str, Any]:
    """The answer to a question: the truth, and what every denoiser of the request draws."""
    answer = ask(session, question)
    truth = answer.truth
    mean, cov = truth.moments()
    limit = width(session.law(question.request.data))
    return {
        **_asked(question),
        "dim": len(mean),
        "scale": scale(limit),
        "size": DENSITY_CELLS[len(mean)],
        "truth": pictured(truth, limit),
        "modes": answer.modes,
        "weights": [{"at": at.tolist(), "weight": weight} for at, weight in weights(truth)],
        "of_modes": truth.modes,
        "entropy": answer.entropy,
        "gap": answer.gap,
        "mean": mean.tolist(),
        "cov": cov.tolist(),
        "panels": [_drawn(name, answer, limit) for name in question.request.denoisers],
        "floor": answer.floor,
        "surfaces": _surfaces(session, question, limit),
    }


def _asked(question: Question) -> dict[str, Any]:
    return {"t": question.t, "T": question.request.T, "x": list(question.x), "of": question.of}


def _drawn(name: str, answer: Answer, limit: float) -> dict[str, Any]:
    x = answer.draws[name]
    if isinstance(x, Refused):
        return {"key": name, "label": label(name), "error": sentence(x), "points": "", "density": ""}
    density = kernel_density(x).widened(limit / DENSITY_CELLS[1])
    pictures = {"points": quantised([x], limit), "density": pictured(density, limit)}
    shown = {"key": name, "label": label(name), "error": None, **pictures, "gaussian": _gaussian(name, answer.truth, x)}
    return {**shown, **answer.distances[name]}


def _gaussian(name: str, truth: Law, draws: Tensor) -> dict[str, Any] | None:
    """Mean and covariance of what a denoiser draws, where that is a Gaussian."""
    if name not in ("gaussian", "mean", "regression"):
        return None
    mean, cov = (truth if name == "gaussian" else Law.uniform(draws, 0)).moments()
    return {"mean": mean.tolist(), "cov": cov.tolist()}


def _surfaces(session: Session, question: Question, limit: float) -> dict[str, Any] | None:
    """D* and D over x_s, where there is a DDGAN, both clipped at the least
    of NATS that holds nearly all that is seen.
    """
    if "ddgan" not in question.request.denoisers:
        return None
    size = {1: 256, 2: 64}[len(question.x)]
    try:
        optimal, learned, seen = log_ratio(session, question, centres(size, limit), blur=limit / size)
    except Refused:
        return None

    visible = torch.cat([ratio[seen > SEEN].abs() for ratio in (optimal, learned) if ratio is not None])
    nats = next((v for v in NATS if (visible <= v).double().mean() > 0.98), NATS[-1])

    def picture(ratio: Tensor) -> Any:
        return (upright(ratio).clamp(-nats, nats) * (127 / nats)).round().to(torch.int8).numpy()

    faint = (255 * upright(seen).sqrt()).round().to(torch.uint8).numpy()
    both = {"optimal": picture(optimal), "learned": None if learned is None else picture(learned)}
    return {"size": size, "nats": nats, "seen": faint, **both}


def folded(session: Session, question: Question) -> dict[str, Any]:
    """The plane of z as a generator lays it, int16 (size, size, D), for the panel `key`."""
    if len(question.x) != 2:
        raise Refused("the grid of z is drawn in a plane: these data lie on a line")
    name, x = fold(session, question)
    limit = width(session.law(question.request.data))
    return {"key": name, "size": len(x), "scale": scale(limit), "lines": quantised([*x], limit)}


def gap_map(session: Session, question: Question) -> dict[str, Any]:
    """KL from the truth to its best Gaussian for every x_t of the plane, and where x_t lies.

    Colours go from `low` to `top`, in nats: from 0, or, where all x_t that are often seen lose nearly as much, from the
    least of them.
    """
    law = session.law(question.request.data)
    limit = width(law)
    points = lattice(centres(GAPS, limit).float(), len(question.x))
    found = upright(gaps(session, question, points).reshape([GAPS] * len(question.x)))
    top = max(float(found.max()), COUNTS)
    marginal = law.marginal(session.schedule(question.request).level(question.t))
    often = upright(marginal.log_prob(points).reshape([GAPS] * len(question.x)))
    least = float(found[often > often.max() + math.log(OFTEN)].min())
    low = min(least, top - COUNTS) if least > top / 2 else 0.0
    return {
        **_asked(question),
        "size": GAPS,
        "low": low,
        "top": top,
        "data": (255 * (found - low).clamp(min=0) / (top - low)).round().to(torch.uint8).numpy(),
        "seen_size": DENSITY_CELLS[len(question.x)],
        "seen": pictured(marginal, limit),
    }
