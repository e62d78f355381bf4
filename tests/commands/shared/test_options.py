"""Options repeat a few names, since what owns them takes seconds to load: they must be the owners' names."""

import argparse

import pytest

from keras_griffin.commands import COMMANDS, convert, find_command, tokenize, train
from keras_griffin.commands.shared.options import DTYPES, add_dtype, add_model, add_sampling
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
    given = parser.parse_args(["--model", "m.keras", "--temperature", "0", "--top-p", "0.5"])
    assert (given.model, given.dtype, given.temperature, given.top_p) == ("m.keras", None, 0.0, 0.5)
    parser = argparse.ArgumentParser()
    add_dtype(parser)
    assert parser.parse_args(["--dtype", DTYPES[-1]]).dtype == "mixed_float16"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name):
    parser = argparse.ArgumentParser()
    find_command(name).add_arguments(parser)
    assert all(action.help for action in parser._actions)
