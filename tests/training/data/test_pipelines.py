"""One source through every pipeline: the same batches, and the same model after `fit`."""

import multiprocessing
import sys

import keras
import numpy as np
import pytest

from keras_griffin.training import (
    PackedDocuments,
    PackedStream,
    RandomWindows,
    to_grain,
    to_tf_data,
    to_torch_loader,
)
from keras_griffin.training.data import pipelines
from keras_griffin.training.data.pipelines import Batches, StreamedBatches

PIPELINES = {"tensorflow": to_tf_data, "torch": to_torch_loader, "grain": to_grain}


@pytest.fixture(params=PIPELINES)
def pipeline(request):
    pytest.importorskip(request.param)
    return PIPELINES[request.param]


def source(epoch=0):
    documents = [np.arange(length) for length in np.random.default_rng(0).integers(1, 20, 30)]
    packed = PackedDocuments(documents, 8, 4, vocabulary_size=20)
    packed.epoch = epoch
    return packed


def some_documents():
    """A function that gives documents, as a stream needs it to be read more than once."""
    yield from (np.arange(length) for length in np.random.default_rng(0).integers(1, 20, 30))


def stream(documents=some_documents):
    return PackedStream(documents, 8, 4, vocabulary_size=20)


def leaves(batch):
    """The arrays of a batch, whatever holds them."""
    x, targets, weights = batch
    return [np.asarray(array) for array in (x["token_ids"], x["segment_ids"], targets, weights)]


def test_batches_of_several_epochs_are_those_of_each():
    packed = source(epoch=3)
    batches = Batches(packed, epochs=2)
    assert len(batches) == 2 * packed.num_batches
    expected = [leaves(batch) for packed.epoch in (3, 4) for batch in packed]
    packed.epoch = 100  # What is made of a source does not depend on what becomes of it.
    for actual, wanted in zip(map(leaves, batches), expected, strict=True):
        np.testing.assert_equal(actual, wanted)
    assert len(Batches(packed)) == sys.maxsize


def test_every_pipeline_gives_the_same_batches(pipeline):
    packed = source(epoch=1)
    count = 0
    for actual, wanted in zip(pipeline(packed, epochs=2), Batches(packed, epochs=2), strict=True):
        assert [array.dtype for array in leaves(actual)] == ["int32", "int32", "int32", "float32"]
        np.testing.assert_equal(leaves(actual), leaves(wanted))
        count += 1
    assert count == 2 * packed.num_batches


def test_without_a_number_of_epochs_there_is_no_end(pipeline):
    packed = source()
    batches = iter(pipeline(packed))
    for step in range(3 * packed.num_batches):
        np.testing.assert_equal(leaves(next(batches)), leaves(Batches(packed)[step]))


def test_windows_go_through_a_pipeline_too(pipeline):
    windows = RandomWindows(np.arange(100, dtype="uint8"), 8, 4, num_batches=3)
    for actual, wanted in zip(pipeline(windows, epochs=1), windows, strict=True):
        np.testing.assert_equal([np.asarray(array) for array in actual], list(wanted))


def test_every_pipeline_gives_the_batches_of_a_stream(pipeline):
    expected = [leaves(batch) for batch in stream()]
    assert len(expected) > 5
    for actual, wanted in zip(map(leaves, pipeline(stream(), epochs=2)), 2 * expected, strict=True):
        assert [array.dtype for array in actual] == ["int32", "int32", "int32", "float32"]
        np.testing.assert_equal(actual, wanted)
    # Once for what is there once, and without an end by default.
    given = stream(some_documents())
    np.testing.assert_equal(list(map(leaves, pipeline(given, epochs=1))), expected)
    assert given.counts.documents == 30
    endless = iter(pipeline(stream()))
    for wanted in 3 * expected:
        np.testing.assert_equal(leaves(next(endless)), wanted)


def test_a_stream_by_every_nth_batch_and_its_example():
    expected = [leaves(batch) for batch in stream()]
    batches = StreamedBatches(stream(), epochs=1)
    for first in range(3):
        np.testing.assert_equal(list(map(leaves, batches.every(3, first))), expected[first::3])
    assert batches.count is None
    for actual, wanted in zip(leaves(batches.example), expected[0], strict=True):
        assert (actual.shape, actual.dtype) == (wanted.shape, wanted.dtype) and not actual.any()


def test_a_stream_that_ends_or_is_empty_says_so():
    once = StreamedBatches(stream(some_documents()), epochs=2).every(1)
    with pytest.raises(ValueError, match=r"^PackedStream: documents must be a function .*\. Got a generator\.$"):
        list(once)
    with pytest.raises(ValueError, match=r"^PackedStream: documents must have at least one token\. Got none\.$"):
        next(StreamedBatches(stream(lambda: [[], []])).every(1))
    with pytest.raises(
        ValueError, match=r"^StreamedBatches: epochs must be an integer of at least 1, or None\. Got 0\.$"
    ):
        StreamedBatches(stream(), epochs=0)


def test_workers_do_not_share_a_stream_that_is_there_once():
    pytest.importorskip("torch")
    sentence = (
        r"^to_torch_loader: the documents of a stream must be a function that returns an iterable, so that each "
        r"worker can read them\. Got a generator and 2 workers\.$"
    )
    with pytest.raises(ValueError, match=sentence):
        to_torch_loader(stream(some_documents()), workers=2)


def test_what_is_no_source_is_refused(pipeline):
    sentence = r"^to_\w+: the source must be a keras\.utils\.PyDataset or a PackedStream\. Got a list\.$"
    with pytest.raises(ValueError, match=sentence):
        pipeline([1, 2])


@pytest.mark.skipif(keras.backend.backend() not in ("torch", "jax"), reason="TensorFlow's threads are lost in a fork")
@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # where there are fewer cores
def test_workers_of_a_loader_change_nothing():
    packed = source()
    loaded = [leaves(batch) for batch in to_torch_loader(packed, epochs=1, workers=2)]
    np.testing.assert_equal(loaded, [leaves(batch) for batch in packed])
    if keras.backend.backend() == "jax":
        # Each of them imports the package: once is enough.
        return
    loaded = [leaves(batch) for batch in to_torch_loader(stream(), epochs=1, workers=2)]
    np.testing.assert_equal(loaded, [leaves(batch) for batch in stream()])


def test_how_workers_are_started():
    """On JAX not by a fork, in which its threads are lost; a user's way is theirs."""
    pytest.importorskip("torch")
    by_default = "spawn" if keras.backend.backend() == "jax" else None
    for given, started in ((None, by_default), ("forkserver", "forkserver")):
        context = to_torch_loader(source(), workers=1, multiprocessing_context=given).multiprocessing_context
        assert (context and context.get_start_method()) == started
    assert to_torch_loader(source()).multiprocessing_context is None
    with pytest.raises(
        ValueError, match=r"^to_torch_loader: documents must be a function defined in a module, .*<lambda"
    ):
        to_torch_loader(stream(lambda: [[1]]), workers=1, multiprocessing_context="spawn")


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("chosen", "methods", "given"),
    [
        # Windows and macOS, Linux from Python 3.14 on, and what a program or an argument chooses.
        (None, ["spawn", "fork"], None),
        (None, ["forkserver", "fork"], None),
        ("spawn", ["fork", "spawn"], None),
        (None, ["fork", "spawn"], multiprocessing.get_context("spawn")),
    ],
)
def test_documents_are_checked_wherever_workers_are_spawned(monkeypatch, chosen, methods, given):
    pytest.importorskip("torch")
    asked = []
    monkeypatch.setattr(pipelines.multiprocessing, "get_all_start_methods", lambda: methods)
    monkeypatch.setattr(
        pipelines.multiprocessing, "get_start_method", lambda allow_none: asked.append(allow_none) or chosen
    )
    with pytest.raises(ValueError, match="documents must be a function defined in a module"):
        to_torch_loader(stream(lambda: [[1]]), workers=1, multiprocessing_context=given)
    # Otherwise asking would choose the method for the whole program.
    assert asked in ([], [True])


def test_the_number_of_workers_is_checked():
    for workers in (-1, True, "2"):
        with pytest.raises(ValueError, match=r"^to_torch_loader: workers must be an integer of at least 0\. Got "):
            to_torch_loader(source(), workers=workers)


@pytest.mark.parametrize("made", [source, stream])
def test_grain_goes_on_from_a_saved_state(made):
    pytest.importorskip("grain")
    one, other = iter(to_grain(made())), iter(to_grain(made()))
    for _ in range(3):
        next(one)
    next(other)
    other.set_state(one.get_state())
    np.testing.assert_equal(leaves(next(other)), leaves(list(made())[3]))


def small_model():
    inputs = {name: keras.Input((8,), dtype="int32", name=name) for name in ("token_ids", "segment_ids")}
    logits = keras.layers.Dense(20)(keras.layers.Embedding(20, 4)(inputs["token_ids"]))
    model = keras.Model(inputs, logits)
    model.compile(keras.optimizers.SGD(1.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.trainable
def test_fit_takes_a_stream_through_any(pipeline):
    model, steps = small_model(), len(list(stream()))
    start, ends = model.get_weights(), []
    for data in ((batch for batch in StreamedBatches(stream()).every(1)), pipeline(stream())):
        model.set_weights(start)
        model.fit(data, steps_per_epoch=steps - 2, epochs=3, shuffle=False, verbose=0)
        ends.append(model.get_weights())
    for one, other, before in zip(*ends, start, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
        assert np.abs(one - before).max() > 1e-3


@pytest.mark.trainable
def test_fit_is_the_same_with_any(pipeline):
    model = small_model()
    start, packed = model.get_weights(), source()
    ends = []
    # Keras ends an epoch of a source before its own first one.
    for data, steps in ((packed, None), (pipeline(source(epoch=1)), packed.num_batches)):
        model.set_weights(start)
        model.fit(data, steps_per_epoch=steps, epochs=2, shuffle=False, verbose=0)
        ends.append(model.get_weights())
    assert packed.epoch == 3
    for one, other, before in zip(*ends, start, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
        assert np.abs(one - before).max() > 1e-3


@pytest.mark.parametrize(
    ("package", "sentence"),
    [
        ("tensorflow", r"to_tf_data: the package tensorflow must be installed\. Got none\."),
        ("torch", r"to_torch_loader: the package torch must be installed\. Got none\."),
        ("grain", r"to_grain: the package grain must be installed, .* pip install 'keras-griffin\[grain\]'\."),
    ],
)
def test_a_package_that_is_missing(monkeypatch, package, sentence):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"^{sentence}$"):
        PIPELINES[package](source())


def test_what_has_no_epochs_is_refused():
    with pytest.raises(ValueError, match=r"^Batches: epochs must be an integer of at least 1, or None\. Got 0\.$"):
        Batches(source(), epochs=0)

    class Endless(keras.utils.PyDataset):
        num_batches = None

    with pytest.raises(
        ValueError, match=r"^Batches: the source must have a number of batches\. Got Endless of unknown length\.$"
    ):
        Batches(Endless())
    batches = Batches(source(), epochs=1)
    with pytest.raises(IndexError, match=rf"^Batches: a step must be from 0 to {len(batches) - 1}\. Got -1\.$"):
        batches[-1]
