"""Leaks of every kind are found, and where there is none, none is."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.models import Griffin, GriffinConfig, Hawk, MQATransformer
from keras_griffin.testing import check_no_leak
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.leaks import number_documents
from keras_griffin.training import ConsecutiveChunks, PackedDocuments

CONFIG = GriffinConfig(vocabulary_size=20, width=8, num_layers=1, num_heads=2, window=4, num_gate_blocks=2)
GRIFFIN = CONFIG.replace(num_layers=2, block_pattern=("recurrent", "local_mqa"))
T = 8
#: Keras's NumPy backend has no gradients.
HAS_GRADIENTS = keras.backend.backend() != "numpy"
DOCUMENTS = [np.random.default_rng(number).integers(0, 20, length) for number, length in enumerate((3, 4, 2, 5, 6))]


def batch(documents=DOCUMENTS):
    return PackedDocuments(documents, T, 3, shuffle=False)[0]


def model_of(function):
    """A model over packed rows: `function(embedded tokens (B, T, 4), segment_ids)` gives what is made logits of."""
    inputs = {name: keras.Input((T,), dtype="int32", name=name) for name in ("token_ids", "segment_ids")}
    x = function(keras.layers.Embedding(20, 4)(inputs["token_ids"]), inputs["segment_ids"])
    model = keras.Model(inputs, keras.layers.Dense(20)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile("sgd", loss)
    return model


def check(model, given=None, **options):
    check_no_leak(model, given or batch(), **{"gradients": HAS_GRADIENTS, **options})


def assert_found(sentence, model, given=None, error=AssertionError, **options):
    with pytest.raises(error, match=f"^check_no_leak: {sentence}"):
        check(model, given, **options)


def single_tokens():
    return model_of(lambda x, segment_ids: x)


@pytest.mark.parametrize(("family", "config"), [(Griffin, GRIFFIN), (Hawk, CONFIG), (MQATransformer, CONFIG)])
def test_packed_models_do_not_leak(family, config):
    model = family(config)
    before = [np.array(weight) for weight in model.get_weights()]
    check(model.packed(), tolerance=0.0)
    for weight, known in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, known)


@pytest.mark.trainable
def test_a_packed_model_without_logits_does_not_leak():
    check_no_leak(Griffin(CONFIG.replace(block_pattern=("recurrent",))).packed(logits=False), batch())


def test_nothing_changes_at_all_in_mixed_precision_either():
    check(Griffin(GRIFFIN, dtype="mixed_bfloat16").packed(), tolerance=0.0, documents=DOCUMENTS)


@functools.cache
def carrying(logits):
    """A model that carries something to the second chunk, in validation and, where it can be trained, in training."""
    x, targets, weights = ConsecutiveChunks(DOCUMENTS, 5, 2, shuffle=False)[0]
    model = Griffin(GRIFFIN).carried(2, logits=logits)
    model.predict_on_batch(x)
    if HAS_GRADIENTS:
        model.train_on_batch(x, targets, sample_weight=weights)
    return model


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    "logits", [pytest.param(True), pytest.param(False, marks=[pytest.mark.trainable, pytest.mark.any_backend])]
)
@pytest.mark.slow
def test_a_carried_model_does_not_leak_and_carries_on_what_it_carried(index, logits):
    chunks, model = ConsecutiveChunks(DOCUMENTS, 5, 2, shuffle=False), carrying(logits)
    before = [as_array(variable).copy() for variable in model.variables]
    check(model, chunks[index], documents=DOCUMENTS)
    for variable, known in zip(model.variables, before, strict=True):
        if "bits" not in variable.path:
            np.testing.assert_array_equal(as_array(variable), known)
    assert any(known.any() for known in before)


SUMS = {
    "what came before": lambda x, segment_ids: ops.cumsum(x, axis=1),
    "what comes later": lambda x, segment_ids: x + ops.flip(ops.cumsum(ops.flip(x, 1), axis=1), 1),
    "other rows": lambda x, segment_ids: x + ops.mean(x, axis=0, keepdims=True),
    "a little": lambda x, segment_ids: x + 1e-3 * ops.roll(x, 1, axis=1),
}


@pytest.mark.parametrize("kind", SUMS)
def test_a_leak_is_found(kind):
    sentence = r"other tokens in .* must not change the outputs of document \d of row \d\. Got a relative "
    assert_found(sentence, model_of(SUMS[kind]), gradients=False)


@pytest.mark.any_backend
def test_the_message_names_row_and_document():
    def from_another_row(x, segment_ids):
        return x + ops.roll(x, 2, axis=0)

    sentence = (
        r"other tokens in document 0 of row 0 must not change the outputs of document 0 of row 2\. "
        r"Got a relative change of \d\.\de[+-]\d\d at position 0; 1\.0e-05 is allowed\.$"
    )
    assert_found(sentence, model_of(from_another_row), gradients=False)


@pytest.mark.any_backend
def test_padding_that_is_read_is_found():
    # Padding in front of a row's documents is still no part of them.
    x, *rest = keras.tree.map_structure(lambda array: np.roll(array, 1, axis=1), batch())
    assert (x["segment_ids"][:, 0] == 0).any()

    def sees_padding(x, segment_ids):
        before = ops.expand_dims(ops.cast(ops.equal(ops.roll(segment_ids, 1, axis=1), 0), x.dtype), -1)
        return x + before * ops.roll(x, 1, axis=1)

    sentence = "other tokens in the padding must not change the outputs of "
    assert_found(sentence, model_of(sees_padding), (x, *rest), gradients=False)


@pytest.mark.trainable
def test_a_leak_of_gradients_alone_is_found():
    def leaks_backward(x, segment_ids):
        sums = ops.cumsum(x * x, axis=1)
        return x + sums - ops.stop_gradient(sums)

    model = model_of(leaks_backward)
    check_no_leak(model, batch(), gradients=False)
    sentence = (
        r"other tokens in document 0 of row 0 must not change the gradient of the other documents' loss\. "
        r"Got a change of .* in the gradient of embedding\w*/embeddings, of magnitude \d\.\de[+-]\d\d\.$"
    )
    assert_found(sentence, model)


@pytest.mark.trainable
def test_a_model_with_dropout_keeps_its_seeds():
    check_no_leak(model_of(lambda x, segment_ids: keras.layers.Dropout(0.5, seed=1)(x)), batch())


@pytest.mark.any_backend
def test_a_model_that_reads_nothing_is_no_proof():
    sentence = "other tokens in document 0 of row 0 must change its own outputs. Got the same outputs"
    assert_found(sentence, model_of(lambda x, segment_ids: 0.0 * x), gradients=False)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of the division
def test_outputs_that_are_not_finite_are_no_proof():
    sentence = r"outputs must be finite\. Got NaN or infinity in document 0 of row 0\.$"
    assert_found(sentence, model_of(lambda x, segment_ids: x / (x - x)), gradients=False)


WEIGHTS = "weights must be 0 where the target is not the next token of the same document"


def not_the_next(position, where):
    """The sentence about row 0 of two documents, [1, 2, 3] and [4, 5], and three positions of padding."""
    return rf"{WEIGHTS}\. Got target \d with a weight at position {position} of row 0, {where}\.$"


@pytest.mark.parametrize(
    ("position", "where"),
    [(2, "where document 0 ends"), (4, "where document 1 ends"), (7, "which is padding")],
)
def test_a_loss_that_crosses_a_boundary_is_found(position, where):
    x, _, weights = batch([[1, 2, 3], [4, 5]])
    targets = np.roll(x["token_ids"], -1, axis=1)
    model = single_tokens()
    check(model, (x, targets, weights))
    weights[0, position] = 1.0
    assert_found(not_the_next(position, where), model, (x, targets, weights))


def test_a_target_that_is_not_the_next_token_is_found():
    x, targets, weights = batch([[1, 2, 3], [4, 5]])
    targets[0, 1] = 2
    sentence = not_the_next(1, "where document 0 continues with 3")
    assert_found(sentence, single_tokens(), (x, targets, weights))


@pytest.mark.parametrize("shift", [-1, 1])
def test_numbers_beside_their_documents_are_found(shift):
    x, targets, weights = batch()
    x["segment_ids"] = np.roll(x["segment_ids"], shift, axis=1)
    assert_found(WEIGHTS, single_tokens(), (x, targets, weights))


def test_without_weights_every_step_has_a_loss_but_where_the_target_is_ignored():
    x, targets, weights = batch()
    model = single_tokens()
    assert_found(WEIGHTS, model, (x, targets))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1))
    check(model, (x, np.where(weights > 0, targets, -1)), gradients=False)


def test_documents_with_one_number_are_found_where_the_documents_are_given():
    x, targets, weights = batch()
    model = single_tokens()
    merged = {name: ids.copy() for name, ids in x.items()}
    merged["segment_ids"][0] = merged["segment_ids"][0] > 0
    check(model, (merged, targets, weights))
    sentence = (
        r"tokens with one segment id must be one of the documents, or a piece of one\. "
        r"Got document 0 of row 0, of 7 tokens, which is in none of 5\.$"
    )
    assert_found(sentence, model, (merged, targets, weights), documents=iter(DOCUMENTS))
    # Also where no row holds two.
    merged["segment_ids"] = (x["segment_ids"] > 0).astype("int32")
    assert_found(sentence, model, (merged, targets, weights), documents=DOCUMENTS)


@pytest.mark.any_backend
def test_the_documents_say_what_follows_a_piece():
    model = single_tokens()
    long = [np.arange(10), np.arange(3), np.arange(12, 15)]
    x, targets, weights = batch(long)
    assert targets[0, -1] == 8 and weights[0, -1] == 1
    check(model, (x, targets, weights), documents=long)
    # Without them, what follows at a row's end is not known.
    targets[0, -1] = 9
    check(model, (x, targets, weights))
    sentence = not_the_next(7, "after which document 0 continues with 8")
    assert_found(sentence, model, (x, targets, weights), documents=long)
    # A token that is only predicted, as in a pipeline of one's own.
    ends = [np.append(document, 19) for document in DOCUMENTS]
    x, targets, weights = batch()
    last = (x["segment_ids"] > 0) & (weights == 0)
    given = x, np.where(last, 19, targets), weights + last
    check(model, given, documents=ends)
    assert_found(".*after which document 0 continues with nothing", model, given, documents=DOCUMENTS)


def test_a_document_is_a_run_of_ids_padding_left_out():
    segment_ids = np.array([[1, 1, 2, 0, 2, 1], [0, 0, 0, 0, 0, 0], [0, 7, 7, 3, 3, 0]])
    expected = [[0, 0, 1, -1, 1, 2], [-1] * 6, [-1, 0, 0, 1, 1, -1]]
    np.testing.assert_array_equal(number_documents(segment_ids), expected)


@pytest.mark.any_backend
def test_batches_and_models_that_show_nothing_are_refused(monkeypatch):
    x, targets, weights = batch()
    model = single_tokens()
    refused = functools.partial(assert_found, error=ValueError)
    alone = {**x, "segment_ids": np.ones_like(x["segment_ids"])}
    sentence = r"at least one row must have two documents\. Got segment ids \(3, 8\) with at most one per row\.$"
    refused(sentence, model, alone, gradients=False)
    same = {**x, "token_ids": np.zeros_like(x["token_ids"])}
    refused(r"the batch must have two different tokens, .*\. Got one\.$", model, same, gradients=False)
    pooled = keras.Model(model.inputs, ops.mean(model.output, axis=1))
    sentence = r"the outputs must be \(B, T, \.\.\.\) for segment ids \(3, 8\)\. Got \(3, 20\)\.$"
    refused(sentence, pooled, x, gradients=False)
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    refused(r"gradients must be False on a backend without gradients\. Got numpy\.$", model, gradients=True)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    sentence = r"gradients need a batch \(x, targets, weights\) and a model compiled with a loss\. Got "
    refused(f"{sentence}targets: False, compiled: True", model, x, gradients=True)
    uncompiled = keras.Model(model.inputs, model.output)
    refused(f"{sentence}targets: True, compiled: False", uncompiled, gradients=True)
    sentence = r"at least two documents of a row must have a loss\. Got at most one "
    refused(sentence, model, (x, targets, np.zeros_like(weights)), gradients=True)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("given", "received"),
    [(np.zeros((2, 3)), "a ndarray"), ({"token_ids": np.zeros((2, 3)), "chunk": 0}, "inputs token_ids, chunk")],
)
def test_other_inputs_are_refused(given, received):
    sentence = rf"the inputs must be a dict with token_ids and segment_ids\. Got {received}\.$"
    with pytest.raises(ValueError, match=f"^check_no_leak: {sentence}"):
        check_no_leak(None, given)


@pytest.mark.any_backend
def test_targets_and_weights_that_are_not_one_for_each_step_are_refused():
    x, targets, weights = batch()
    sentence = r"targets and weights must be \(3, 8\), like the segment ids\. Got \(3, 8\) and \(3,\)\.$"
    assert_found(sentence, None, (x, targets, weights[:, 0]), error=ValueError)
