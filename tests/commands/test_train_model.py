import argparse
from argparse import Namespace

import keras
import numpy as np
import pytest

from keras_griffin.commands.shared.options import split_given
from keras_griffin.commands.shared.runs import family
from keras_griffin.commands.shared.text import TokenText
from keras_griffin.commands.shared.training import FAMILIES, build_model, compile_for_training, evaluate
from keras_griffin.commands.train import add_arguments
from keras_griffin.models import LanguageModel
from keras_griffin.tasks.text import Corpus
from keras_griffin.tokenizers import ByteTokenizer, train_bpe
from keras_griffin.training import token_byte_counts

pytestmark = pytest.mark.any_backend

OPTIONS = Namespace(
    width=16,
    layers=1,
    heads=2,
    window=4,
    mixed_precision=False,
    model="hawk",
    sequence_length=4,
    batch_size=2,
    pattern=None,
    option=None,
)


def test_a_pattern_with_options():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    line = "--width 16 --layers 2 --heads 2 --pattern lru,wide --option wide.mixer=local_mqa --option wide.window=3"
    everything, given = split_given(parser.parse_args([*line.split(), "--option", "lru.unit_options.state_size=5"]))
    # As a run that resumes compares and shows them.
    assert given["option"] == ["wide.mixer=local_mqa", "wide.window=3", "lru.unit_options.state_size=5"]
    arguments = Namespace(**everything)
    model = build_model(arguments, ByteTokenizer())
    assert split_given(parser.parse_args([]))[0]["option"] is None
    assert type(model) is LanguageModel and family(arguments) == "lru-wide" and family(OPTIONS) == "hawk"
    assert model.blocks[0].mixer.recurrence.state_size == 5 and model.blocks[1].mixer.window == 3


def test_the_first_decays_are_those_of_the_released_code_unless_an_option_says_otherwise():
    def mixer_of(option):
        model = build_model(Namespace(**{**vars(OPTIONS), "option": option}), ByteTokenizer())
        return model.blocks[0].mixer

    assert mixer_of(None).decay_initializer == "ring"
    assert mixer_of(["recurrent.decay_initializer=paper"]).decay_initializer == "paper"
    changed = mixer_of(["recurrent.decay_range=[0.5, 0.99]"])
    assert (changed.decay_initializer, changed.decay_range) == ("ring", (0.5, 0.99))


@pytest.mark.trainable
def test_bits_are_those_of_a_byte_whatever_the_tokens_are():
    tokenizer = train_bpe(["the cat sat on the mat"] * 3, 270)
    model = build_model(OPTIONS, tokenizer)
    assert isinstance(model, FAMILIES["hawk"]) and model.tokenizer is tokenizer
    data = b"the cat on the mat, the rat"
    ids, counts = np.array(tokenizer.encode(data.decode())), token_byte_counts(tokenizer)
    corpus = Corpus("", *2 * [np.frombuffer(data, "uint8")], ("a",), ("a",))
    text = TokenText(corpus, tokenizer, ids, ids, counts)
    compile_for_training(model, 0.0, text)
    logits = np.array(keras.ops.convert_to_numpy(model(ids[None, :-1])), "float64")[0]
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    bits = -np.log2(probabilities[np.arange(len(ids) - 1), ids[1:]]).sum()
    whole = text.held_out(Namespace(sequence_length=len(ids) - 1, batch_size=1))
    assert text.predicted_bytes(whole) == len(data) - counts[ids[0]]
    assert evaluate(model, whole) == pytest.approx(bits / text.predicted_bytes(whole), rel=1e-4)
