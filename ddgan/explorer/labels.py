"""How a model that knows classes is told the class that a request asks for.

Without one each sample has a class of its own, a function of its seed, by the shares of the training set. "any" is the
model's own "any class"; a name, or an index, is that class for all samples.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from ..diffusion.denoiser import Denoiser
from ..diffusion.sampler import Labels, own_classes
from ..errors import Refused

__all__ = ["ANY", "class_names", "ignored", "index", "labels"]

ANY = "any"
NAMED = 12  # classes that a refusal lists


def class_names(card: dict[str, Any] | None, known: int) -> tuple[str, ...]:
    """The names of the classes that a model knows; their numbers if its card has no names."""
    return tuple((card or {}).get("classes") or map(str, range(known))) if known else ()


def index(denoiser: Denoiser, label: str) -> int:
    """The class of this name, or else of this index, as a model that knows classes counts it; Refused for another."""
    names = class_names(denoiser.card, denoiser.classes)
    if label == ANY:
        return denoiser.classes
    if label in names:
        return names.index(label)
    if label.isascii() and label.isdecimal() and int(label) < denoiser.classes:
        return int(label)
    more = ", ..." * (len(names) > NAMED)
    raise Refused(f"label must be any or one of {', '.join(names[:NAMED])}{more}, got {label[:40]!r}")


def labels(denoiser: Denoiser, label: str | None) -> Labels | None:
    """The classes of samples by their seeds, as `label` asks; None where the model knows no classes."""
    if not denoiser.classes:
        return None
    if label is None:
        shares = (denoiser.card or {}).get("class_counts") or [1] * denoiser.classes
        return partial(own_classes, weights=shares)
    k = index(denoiser, label)
    return lambda seeds: torch.full((len(seeds),), k)


def ignored(denoiser: Denoiser, label: str | None) -> bool:
    """Whether a class is asked for, but the model knows no classes."""
    return label not in (None, ANY) and not denoiser.classes
