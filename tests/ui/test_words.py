"""The terms of the page: what is marked in a text has a meaning, which is in the page once."""

import re

import pytest

from ddgan.ui import about, race
from ddgan.ui.words import TERMS, glossary, glossed


def test_a_marked_term_becomes_a_button_that_is_described_by_its_meaning():
    found = glossed("draw from the [[law]], of [[mode|many modes]]")
    assert re.sub("<[^>]+>", "", found) == "draw from the law, of many modes"
    for place in re.findall('aria-describedby="([^"]+)"', found):
        assert f'<p id="{place}">' in glossary()
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
