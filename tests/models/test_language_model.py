"""Whole models: training, cuts, packing, saving, precision."""

import keras
import numpy as np
import pytest

from keras_griffin.generation import score
from keras_griffin.models import Griffin, GriffinConfig, Hawk, MQATransformer
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.compiled import compiled
from keras_griffin.tokenizers import ByteTokenizer
from tests.models.tiny import TINY, strong

CONFIG = TINY.replace(width=32, logits_soft_cap=5.0)
#: With recurrences and local attention, and with global attention; Hawk has a part of the first.
FAMILIES = pytest.mark.parametrize("family", [Griffin, MQATransformer])
TOKENS = np.random.default_rng(0).integers(0, 13, (3, 14)).astype("int32")


def made(family, config=CONFIG, **kwargs):
    return strong(family(config, **kwargs))


def test_families_differ_in_the_mixer_alone():
    config = GriffinConfig(vocabulary_size=13, width=32, num_layers=4, num_heads=2, window=5)
    assert Griffin(config).config.mixer_names == ("recurrent", "recurrent", "local_mqa", "recurrent")
    assert set(Hawk(CONFIG).config.mixer_names) == {"recurrent"}
    assert set(MQATransformer(CONFIG).config.mixer_names) == {"global_mqa"}


@FAMILIES
def test_section_2(family):
    model = made(family)
    x = model.token_embedding(TOKENS)
    for block in model.blocks:
        u = x + block.mixer(block.mixer_norm(x))
        x = u + block.mlp(block.mlp_norm(u))
    logits = as_array(model.final_norm(x)) @ as_array(model.token_embedding.embeddings).T
    assert_close(model(TOKENS), 5.0 * np.tanh(logits / 5.0))


def packed_row():
    """Three documents with padding before, between, inside and after."""
    documents = [TOKENS[0, :5], TOKENS[1, :1], TOKENS[2, :7]]
    token_ids = np.concatenate([[9, 9], documents[0][:2], [9], documents[0][2:], documents[1], documents[2], [9, 9]])
    segment_ids = np.array([0, 0, 1, 1, 0, 1, 1, 1, 2, 5, 5, 5, 5, 5, 5, 5, 0, 0], "int32")
    places = [np.flatnonzero(segment_ids == segment) for segment in (1, 2, 5)]
    return token_ids[None].astype("int32"), segment_ids[None], documents, places


@FAMILIES
def test_a_packed_row_equals_its_documents_alone(family):
    model = made(family)
    token_ids, segment_ids, documents, places = packed_row()
    advance, call, packed = compiled(model.advance), compiled(model), compiled(model.packed())
    alone = [as_array(call(document[None]))[0] for document in documents]
    outputs = as_array(packed({"token_ids": token_ids, "segment_ids": segment_ids}))
    for expected, place in zip(alone, places, strict=True):
        assert_close(outputs[0, place], expected)
    for cuts in ((8, 9, 17), (8, *range(9, 18))):
        state, pieces = model.initial_state(1), []
        for start, stop in zip((0, *cuts), (*cuts, 18), strict=True):
            logits, state = advance(token_ids[:, start:stop], state, segment_ids=segment_ids[:, start:stop])
            pieces.append(as_array(logits))
        for expected, place in zip(alone, places, strict=True):
            assert_close(np.concatenate(pieces, 1)[0, place], expected)


def test_segment_ids_go_on_with_the_newest_document():
    model = made(Griffin)
    advance, call = compiled(model.advance), compiled(model)
    whole = as_array(call(TOKENS))
    ones = np.ones((3, 14), "int32")
    for first, second in ((None, ones), (7 * ones, None), (7 * ones, 7 * ones)):
        marks = [ids if ids is None else ids[:, :7] for ids in (first, second)]
        logits, state = advance(TOKENS[:, :7], model.initial_state(3), segment_ids=marks[0])
        rest, _ = advance(TOKENS[:, 7:], state, segment_ids=marks[1])
        assert_close(np.concatenate([as_array(logits), as_array(rest)], 1), whole)
    _, state = advance(TOKENS[:, :7], model.initial_state(3), segment_ids=ones[:, :7])
    new, _ = advance(TOKENS[:, 7:], state, segment_ids=2 * ones[:, 7:])
    assert_close(new, as_array(call(TOKENS[:, 7:])))


@pytest.mark.slow
def test_padding_alone_leaves_the_state_as_it_was():
    model = made(Griffin)
    advance = compiled(model.advance)
    _, state = advance(TOKENS, model.initial_state(3))
    _, after = advance(TOKENS[:, :4], state, segment_ids=np.zeros((3, 4), "int32"))
    for one, other in zip(keras.tree.flatten(after), keras.tree.flatten(state), strict=True):
        np.testing.assert_array_equal(as_array(one), as_array(other))


@FAMILIES
@pytest.mark.trainable
def test_fit_needs_nothing_else(family):
    model = family(CONFIG)
    inputs, targets = TOKENS[:, :-1], TOKENS[:, 1:]
    history = model.fit(inputs, targets, epochs=4, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert abs(history[0] - np.log(13)) < 1.0


# Compiled and not; only TensorFlow users do both: JAX untraced and a whole model under torch.compile take minutes.
JIT_COMPILE = {"tensorflow": [False, True], "jax": [True]}.get(keras.backend.backend(), [False])


@pytest.mark.trainable
@pytest.mark.parametrize("jit_compile", JIT_COMPILE)
def test_fit_with_rows_of_any_length(jit_compile):
    model = Griffin(CONFIG)
    model.compile(model.optimizer, model.loss, jit_compile=jit_compile)

    class Rows(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            row = TOKENS[: 1 + index % 2, : 8 + index % 2]
            return row[:, :-1], row[:, 1:]

    history = model.fit(Rows(), epochs=3, verbose=0).history["loss"]
    assert np.isfinite(history).all()


@pytest.mark.trainable
@pytest.mark.slow
def test_mixed_bfloat16_trains():
    model = Griffin(CONFIG, dtype="mixed_bfloat16")
    model.compile(keras.optimizers.Adam(1e-2), model.loss)
    inputs, targets = TOKENS[:, :-1], TOKENS[:, 1:]
    history = model.fit(inputs, targets, epochs=50, verbose=0).history["loss"]
    assert np.isfinite(history).all() and history[-1] < 0.5 * history[0]
    logits, state = compiled(model.advance)(inputs, model.initial_state(3))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert keras.backend.standardize_dtype(state.blocks[0].unit.hidden.dtype) == "float32"
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}


@FAMILIES
def test_saved_and_loaded_without_custom_objects(family, tmp_path):
    model = made(family, name="tiny", dtype="mixed_bfloat16")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is family and loaded.config == model.config and loaded.name == "tiny"
    np.testing.assert_array_equal(as_array(loaded(TOKENS)), as_array(model(TOKENS)))
    model.save_weights(tmp_path / "model.weights.h5")
    other = family(CONFIG, dtype="mixed_bfloat16")
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(as_array(other(TOKENS)), as_array(model(TOKENS)))


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX tells each compilation")
def test_nothing_is_compiled_for_a_shape_that_has_been_seen():
    """So memory is flat once each shape has come: a thousand calls hold what two do."""
    from jax import monitoring

    model, compiled_programs = Griffin(CONFIG.replace(num_layers=1)), []
    calls = (
        lambda: model.advance(TOKENS, model.initial_state(3)),
        lambda: model.predict(TOKENS, verbose=0),
        lambda: score(model, TOKENS),
    )

    def note(event, *_, **__):
        if "backend_compile" in event:
            compiled_programs.append(event)

    monitoring.register_event_duration_secs_listener(note)
    try:
        for expect in (True, False):
            compiled_programs.clear()
            for call in calls:
                call()
            assert bool(compiled_programs) is expect
    finally:
        monitoring.unregister_event_duration_listener(note)


@pytest.mark.any_backend
def test_bad_token_ids():
    model = Griffin(CONFIG)
    with pytest.raises(ValueError, match=r"Griffin: token ids must be integers\. Got dtype float32\."):
        model(TOKENS.astype("float32"))
    with pytest.raises(ValueError, match=r"Griffin: token ids must be from 0 to 12\. Got ids from 0 to 13\."):
        model(np.array([[0, 13]]))
    with pytest.raises(ValueError, match=r"Griffin: token ids must be rows of one length\. Got \[\[1, 2\], \[3\]\]\."):
        model([[1, 2], [3]])
    with pytest.raises(ValueError, match=r"advance: token ids must be from 0 to 12\. Got ids from 1 to 13\."):
        model.advance(np.array([[1, 13]]), model.initial_state(1))
    with pytest.raises(ValueError, match=r"advance: token ids must be integers\. Got dtype float32\."):
        model.advance(keras.ops.ones((1, 2)), model.initial_state(1))


@pytest.mark.any_backend
@pytest.mark.parametrize("tokenizer", ["bytes", ByteTokenizer, 256, [1, 2]])
def test_what_is_no_tokenizer(tokenizer):
    match = r"^Griffin: a tokenizer must be one of keras_griffin\.tokenizers, such as ByteTokenizer\(\) or load_tokeni"
    with pytest.raises(ValueError, match=match):
        Griffin(CONFIG, tokenizer=tokenizer)
