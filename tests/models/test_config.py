import json
import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddgan.data.toys import TOYS, toy
from ddgan.errors import Refused
from ddgan.models import registry
from ddgan.models.checkpoint import WEIGHTS, read_card
from ddgan.models.config import PRESETS, Config, preset

ANY = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=2)
)


def test_a_config_survives_json():
    for config in PRESETS.values():
        assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*PRESETS["25-gaussians"].to_dict(), "misspelt"]), ANY, max_size=4))
def test_any_dict_gives_a_valid_config_or_one_sentence(values):
    try:
        config = Config.from_dict(values)
    except Refused as error:
        assert str(error) and "\n" not in str(error)
    else:
        assert Config.from_dict(config.to_dict()) == config


def test_difference_names_what_changed():
    config = preset("25-gaussians")
    assert config.difference(replace(config, seed=3)) == {"seed": (0, 3)}


def test_an_unknown_preset_is_a_sentence_with_the_known_ones():
    with pytest.raises(Refused, match="25-gaussians"):
        preset("26-gaussians")


def test_a_preset_is_what_the_card_of_its_model_says():
    """Of those that the card's command makes by the preset's name alone,
    or with the rates of a second training of points.
    """
    found, second = [], {"init", "seed", "gamma", "lr_g", "lr_d", "steps"}
    for name, config in PRESETS.items():
        if (WEIGHTS / name / "card.json").is_file():
            card = read_card(WEIGHTS / name)
            if re.fullmatch(rf"python -m ddgan train {name} --out \S+( --minutes \d+)?", card["command"]):
                assert Config.from_dict(card["config"]) == config, name
                found.append(name)
            elif " --lr-g 7e-5 " in card["command"]:
                assert {*config.difference(Config.from_dict(card["config"]))} <= second, name
                (first,) = card["history"]
                assert first["command"].startswith(f"python -m ddgan train {name} --out "), name
                found.append(name)
    assert len(found) >= 16


@pytest.mark.parametrize("name", TOYS)
def test_every_toy_has_a_ddgan_and_three_to_hold_it_against_of_about_its_size(name):
    shape, sizes = toy(name).shape, {}
    for objective, ending in {"ddgan": "", **{o: f"-{o}" for o in ("regression", "mixture", "consistency")}}.items():
        config = preset(name + ending)
        assert (config.data, config.objective, config.T) == (name, objective, None)
        sizes[objective] = sum(p.numel() for p in registry.new_generator(config, tuple(shape)).parameters())
    for objective in ("mixture", "consistency"):
        assert sizes[objective] == pytest.approx(sizes["ddgan"], rel=0.01)


def test_a_criterion_is_a_word_for_what_is_minimised():
    words = [preset(f"rings{ending}").criterion for ending in ("", "-regression", "-mixture", "-consistency")]
    assert words == ["r1r2", "least squares", "likelihood", "pseudo-Huber"]
