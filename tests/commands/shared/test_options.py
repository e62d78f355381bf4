"""Options repeat a few names, since what owns them takes seconds to load: they must be the owners' names."""

import argparse

import pytest

from keras_griffin.commands import COMMANDS, convert, find_command, tokenize, train
from keras_griffin.commands.shared import options
from keras_griffin.commands.shared.options import add_model, add_sampling, mark_defaults, split_given
from keras_griffin.commands.shared.training import FAMILIES
from keras_griffin.models.saving.hub import SCHEME
from keras_griffin.models.saving.quantization import MODES
from keras_griffin.tokenizers import HuggingFaceTokenizer, SentencePieceTokenizer

pytestmark = pytest.mark.any_backend


def help_of(module):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return " ".join(parser.format_help().split())


def test_the_names_are_those_of_their_owners():
    assert tuple(FAMILIES) == train.FAMILIES
    assert tuple(MODES) == convert.BITS
    assert f"{SCHEME}OWNER/NAME" in help_of(convert)
    for kind in (HuggingFaceTokenizer, SentencePieceTokenizer):
        assert kind.file_name in help_of(tokenize) and kind.file_name in help_of(train)


def test_what_several_commands_ask_for():
    parser = argparse.ArgumentParser()
    add_model(parser)
    add_sampling(parser)
    given = parser.parse_args("--model m.keras --temperature 0 --top-p 0.5 --dtype mixed_float16".split())
    assert (given.model, given.dtype, given.temperature, given.top_p) == ("m.keras", "mixed_float16", 0.0, 0.5)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name):
    parser = argparse.ArgumentParser()
    find_command(name).add_arguments(parser)
    assert all(action.help for action in parser._actions)


def test_what_is_given_is_told_even_where_it_is_the_default():
    parser = argparse.ArgumentParser(prog="p")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--width", type=int, default=3, help="of it (default: %(default)s)")
    parser.add_argument("--wide", action="store_true")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--minutes", type=float, default=30.0)
    either.add_argument("--steps", type=int)
    mark_defaults(parser)
    defaults = {"files": [], "width": 3, "wide": False, "minutes": 30.0, "steps": None}
    assert split_given(parser.parse_args([])) == (defaults, {})
    everything, given = split_given(parser.parse_args(["--width", "3", "--wide", "--steps", "4", "f", "g"]))
    assert given == {"width": 3, "wide": True, "steps": 4, "files": ["f", "g"]}
    assert everything == {**defaults, **given}
    assert "(default: 3)" in parser.format_help()


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
    assert getattr(options, kind)(text) == value


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
        getattr(options, kind)(text)
    assert str(error.value) == f"must be {rule}. Got {text!r}."
