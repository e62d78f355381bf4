from types import SimpleNamespace

import pytest

from experiments.models.families import FAMILIES, RING, TINY, family_model, first_decays

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize("name", [*FAMILIES, f"Griffin{RING}", f"Hawk{RING}"])
def test_the_name_of_a_family_says_its_model_and_its_first_decays(name):
    model = family_model(SimpleNamespace(family=name, config=TINY.replace(decay_initializer=first_decays(name))))
    assert type(model) is FAMILIES[name.removesuffix(RING)]
    assert model.config.decay_initializer == ("ring" if name.endswith(RING) else "paper")
