"""The terms of the page: what is marked in a text has a meaning, which is in the page once."""

import re

import pytest

from ddgan.ui import about, race, train
from ddgan.ui.words import GLOSSES, SCHEDULES, TERMS, glossary, glossed, schedules, with_glosses
from ddgan.views.lessons import EXPERIMENTS


def test_a_marked_term_becomes_a_button_that_is_described_by_its_meaning():
    found = glossed("draw from the [[law]], of [[mode|many modes]]")
    assert re.sub("<[^>]+>", "", found) == "draw from the law, of many modes"
    for place in re.findall('aria-describedby="([^"]+)"', found):
        assert f'<p id="{place}">' in glossary()
    assert found.endswith("many modes</button>") and found.startswith('draw from the <span class="gloss-end"><button')
    assert "law</button>,</span> of" in found, "no line begins with a comma"
    assert re.sub("<button.*button>", "x", glossed("of **[[mode]]**.")) == 'of <span class="gloss-end">**x**.</span>'
    assert re.sub("<button.*button>", "x", glossed("<b>of [[mode]]</b>.")) == "<b>of x</b>."
    with pytest.raises(KeyError):
        glossed("the [[flux]]")


def test_every_meaning_is_in_the_page_once_and_in_sentences():
    places = re.findall('<p id="([^"]+)">', glossary())
    assert len(places) == len({*places}) == len(TERMS)
    assert all(words.endswith(".") and len(words) < 240 for words in TERMS.values())
    assert {"law", "mode", "nat", "z", "D", "posterior", "schedule", "NFE"} <= TERMS.keys()
    assert not {"\u209b", "\u209c"} & {*glossary()}, "hardly any font has them"


def test_the_texts_of_the_page_mark_what_has_a_meaning():
    for text in (about._HEAD, about._MACHINE, about._TEXT):
        assert "[[" in text and "[[" not in glossed(text)
    assert "[[" not in race._QUESTION and 'class="gloss' in race._QUESTION


def test_a_text_without_marks_has_each_word_glossed_once_and_none_within_another():
    assert {*GLOSSES.values(), *train.PLAYERS.values()} <= TERMS.keys()
    terms = {"modes": "mode", "mode": "mode", "z": "z", "law": "law"}
    found = with_glosses("modes of the law, modes on a mode; z", terms)
    assert re.findall("<button[^>]*>([^<]+)</button>", found) == ["modes", "law", "mode", "z"]
    assert re.sub("<[^>]+>", "", found) == "modes of the law, modes on a mode; z"


def test_every_comment_of_an_experiment_reads_as_written():
    for _, words in EXPERIMENTS.values():
        assert re.sub("<[^>]+>", "", train._comment(words)) == re.sub("<[^>]+>", "", words)
    assert 'class="gloss' in train._comment(EXPERIMENTS["Fails: no z"][1])


def test_vp_is_called_the_papers_with_the_papers_range_alone():
    assert schedules() == schedules("vp", (0.1, 20.0)) == schedules("cosine", (0.1, 0.9)) == SCHEDULES
    assert dict(SCHEDULES)["vp (paper)"] == "vp"
    other = schedules("vp", (0.1, 5.0))
    assert "vp (paper)" not in dict(other) and dict(other)["vp (other)"] == "vp"
    assert [name for _, name in other] == [name for _, name in SCHEDULES]
