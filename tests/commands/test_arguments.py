import argparse

import pytest

from keras_griffin.commands.shared import options as arguments

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("positive_int", "1", 1),
        ("positive_float", "0.5", 0.5),
        ("non_negative_float", "0", 0.0),
        ("share", "1", 1.0),
        ("seed", "18446744073709551615", 2**64 - 1),
        ("names", "lru,local_mqa", ["lru", "local_mqa"]),
        ("option", "a.b=3", "a.b=3"),
        ("parsed_option", "a.b=3", (["a", "b"], 3)),
        ("parsed_option", "a.b.c=x=y", (["a", "b", "c"], "x=y")),
        ("parsed_option", "a.ring=[0.5, 0.9]", (["a", "ring"], [0.5, 0.9])),
    ],
)
def test_a_value_inside_the_rule_is_taken(kind, text, value):
    assert getattr(arguments, kind)(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "rule"),
    [
        ("positive_int", "0", "an integer of at least 1"),
        ("positive_int", "1.5", "an integer of at least 1"),
        ("seed", "-1", "an integer from 0 to 2**64 - 1"),
        ("positive_float", "0", "a finite number above 0"),
        ("positive_float", "inf", "a finite number above 0"),
        ("non_negative_float", "nan", "a finite number of at least 0"),
        ("share", "1.1", "a number above 0 and at most 1"),
        ("seed", "18446744073709551616", "an integer from 0 to 2**64 - 1"),
        ("share", "none", "a number above 0 and at most 1"),
        ("names", "lru,", "names with commas between them"),
        ("option", "a=3", "MIXER.ARGUMENT=VALUE"),
        ("option", "a.b", "MIXER.ARGUMENT=VALUE"),
        ("option", ".b=3", "MIXER.ARGUMENT=VALUE"),
    ],
)
def test_a_value_outside_is_refused_with_the_rule_and_the_value(kind, text, rule):
    with pytest.raises(argparse.ArgumentTypeError) as error:
        getattr(arguments, kind)(text)
    assert str(error.value) == f"must be {rule}. Got {text!r}."
