"""The tab Evidence without a browser: what its parts are made of."""

from ddgan.ui import evidence
from ddgan.ui.words import TERMS


def test_measures_have_a_meaning_at_the_head_and_where_they_first_stand():
    head, *parts = [part for part in evidence.page() if isinstance(part, dict)]
    assert all(term in TERMS for term in evidence.MEASURES)
    assert sum('class="gloss' in part["above"] for part in parts) > len(parts) / 2
    assert "What the measures mean" in head["above"]


def test_a_name_that_is_no_experiment_has_no_figure():
    whole = evidence._whole()
    assert [whole(name) for name in ("../oracle", "none", None, 3, ["oracle"])] == [None] * 5
    assert whole("oracle").startswith("data:image/svg+xml;base64,")
