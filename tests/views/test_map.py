"""The map of gaps: its colours are the nats of `gaps`, on a scale that tells where they differ."""

import numpy as np
import pytest

from ddgan.diffusion.mixture import lattice
from ddgan.explorer.plane import centres, width
from ddgan.explorer.posterior import Question, gaps
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.views.encoding import upright
from ddgan.views.posterior import GAPS, gap_map


@pytest.mark.parametrize(
    ("data", "t", "of", "begins"),
    [
        ("25-gaussians", 1, "x_s", True),
        ("25-gaussians", 2, "x_s", False),
        ("25-gaussians", 4, "x_0", True),
        ("4-gaussians-1d", 1, "x_0", True),
        ("two-moons", 1, "x_s", False),
    ],
)
def test_the_colours_of_the_map_are_the_gaps_from_low_to_top(data, t, of, begins):
    session, x = Session(), (0.0,) if data.endswith("1d") else (0.0, 0.0)
    question = Question(Request(data=data), t, x, of)
    found, limit = gap_map(session, question), width(session.law(data))
    points = lattice(centres(GAPS, limit).float(), len(x))
    nats = upright(gaps(session, question, points).reshape([GAPS] * len(x))).numpy()
    low, top = found["low"], found["top"]
    shown = low + found["data"] / 255 * (top - low)
    np.testing.assert_allclose(shown, np.maximum(nats, low), atol=(top - low) / 500)
    assert (low > top / 2) == begins == (low > 0) and top - low > 0.0499, "rounding is not shown"
    assert np.ptp(found["data"]) > 170 or np.ptp(nats) < 0.02, "it shows where"
