"""The mean steps of all denoisers at the places of a coarse grid, as assets/field.js draws them."""

from __future__ import annotations

from typing import Any

from ..diffusion.mixture import lattice
from ..errors import Refused
from ..explorer.field import FieldQuestion, mean_step
from ..explorer.plane import centres, scale, width
from ..explorer.session import Session
from .answers import sentence
from .encoding import quantised

__all__ = ["SIDE", "field"]

SIDE = {1: 33, 2: 17}  # places along an axis, by the dimension of the data


def field(session: Session, question: FieldQuestion) -> dict[str, Any]:
    """Of every denoiser of the request the mean steps, `moves` int16 (N, D), at the lattice of the view's centres."""
    law = session.law(question.request.data)
    limit, dim = width(law), law.shape[0]
    places = lattice(centres(SIDE[dim], limit).float(), dim)

    def panel(name: str) -> dict[str, Any]:
        try:
            moves = mean_step(session, question.request, name, question.t, places)
            if not moves.isfinite().all():
                raise Refused("its mean steps are not finite")
        except Refused as error:
            return {"key": name, "error": sentence(error), "moves": None}
        return {"key": name, "error": None, "moves": quantised([moves], limit)}

    panels = [panel(name) for name in question.request.denoisers]
    return {"t": question.t, "size": SIDE[dim], "scale": scale(limit), "panels": panels}
