"""The config: derived fields, rules, counts."""

import dataclasses

import pytest

from keras_griffin.models import GriffinConfig

pytestmark = pytest.mark.any_backend

SMALL = {"vocabulary_size": 11, "width": 48, "num_layers": 5, "num_heads": 3}


@pytest.mark.parametrize(("width", "expected"), [(8, 16), (64, 80), (192, 256), (256, 336), (768, 1024), (1024, 1408)])
def test_recurrence_width_is_about_four_thirds_of_the_width(width, expected):
    assert GriffinConfig(11, width, 2, 1).recurrence_width == expected


def test_options_of_a_mixer_replace_what_follows_from_the_fields():
    options = {"local_mqa": {"window": 7}}
    config = GriffinConfig(**SMALL, mixer_options=options)
    options["local_mqa"]["window"] = 9
    assert config.mixer_arguments("local_mqa") == {**GriffinConfig(**SMALL).mixer_arguments("local_mqa"), "window": 7}
    assert config.mixer_arguments("recurrent") == GriffinConfig(**SMALL).mixer_arguments("recurrent")
    assert config.to_dict()["mixer_options"] == {"local_mqa": {"window": 7}}
    assert GriffinConfig(**config.to_dict()) == config != GriffinConfig(**SMALL)
    wide = GriffinConfig(**SMALL, mixer_options={"recurrent": {"recurrence_width": 96}})
    assert wide.parameter_count() > config.parameter_count()
    # As earlier versions wrote it.
    assert "mixer_options" not in GriffinConfig(**SMALL).to_dict()


def test_it_is_frozen_and_goes_through_json():
    config = GriffinConfig(**SMALL, logits_soft_cap=30.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.width = 3
    assert GriffinConfig(**config.to_dict()) == config
    assert hash(config) == hash(GriffinConfig(**config.to_dict()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": 0}, r"GriffinConfig: window must be an integer of at least 1\. Got window 0\."),
        ({"mlp_width": -1}, r"GriffinConfig: mlp_width must be an integer of at least 0, or None\. Got mlp_width -1\."),
        ({"logits_soft_cap": 0.0}, r"logits_soft_cap must be a positive .*, or None\. Got logits_soft_cap 0\.0\."),
        ({"norm_epsilon": -1.0}, r"norm_epsilon must be a positive finite number\. Got norm_epsilon -1\.0\."),
        ({"rotary_fraction": 2.0}, r"rotary_fraction must be a number from 0 to 1\. Got rotary_fraction 2\.0\."),
        ({"num_heads": 5}, r"num_heads must divide width when head_dim is not given\. Got num_heads 5 and width 48\."),
        (
            {"recurrence_width": 40},
            r"num_gate_blocks must divide recurrence_width\. Got .* 16 and recurrence_width 40\.",
        ),
        ({"num_key_value_heads": 2}, r"num_key_value_heads must divide num_heads\. Got .* 2 and num_heads 3\."),
        (
            {"block_pattern": ("recurrent", "lstm")},
            r"block_pattern must be .* mixers among recurrent, .*, s5, .*\. Got block_",
        ),
        ({"mixer_options": [1]}, r"GriffinConfig: mixer_options must be a dict of dicts\. Got mixer_options \[1\]\."),
        (
            {"mixer_options": {"global_mqa": {}}},
            r"must be for mixers of the pattern .*, local_mqa\. Got some for 'global_mqa'\.",
        ),
        (
            {"mixer_options": {"recurrent": {"windows": 3}}},
            r"options of recurrent must be among .*unit_options\. Got windows\.",
        ),
        ({"decay_initializer": "x"}, r"decay_initializer must be one of paper, ring\. Got decay_initializer 'x'\."),
    ],
)
def test_messages(changes, message):
    with pytest.raises(ValueError, match=message):
        GriffinConfig(**{**SMALL, **changes})


def test_replace_names_unknown_fields():
    with pytest.raises(ValueError, match=r"^GriffinConfig: every change must .* Got widht; did you mean 'width'\?"):
        GriffinConfig(**SMALL).replace(widht=3)
    assert GriffinConfig(**SMALL).replace(window=5).window == 5


def test_replace_lets_inner_widths_follow_unless_they_were_chosen():
    config = GriffinConfig(**SMALL, mlp_width=100).replace(width=96)
    assert (config.mlp_width, config.recurrence_width, config.head_dim) == (100, 128, 32)
