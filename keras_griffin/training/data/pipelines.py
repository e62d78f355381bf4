"""Convert a data source to the input pipelines of each backend: tf.data, DataLoader, Grain.

All yield the same batches: those of the source, epoch after epoch, from the source's `epoch` at the time when the
pipeline is created. (With the source itself, `fit(source, shuffle=False)` begins with the epoch after that: Keras ends
one before its first.) A `PackedStream` is read again for each epoch.
"""

import copy
import importlib.util
import itertools
import multiprocessing
import pickle
import sys
from collections.abc import Iterator
from typing import Any

import keras

from keras_griffin.checks import COUNT, checked, integer_from
from keras_griffin.training.data.packed_rows import PackedBatch
from keras_griffin.training.data.packing import PackedStream


class Batches:
    """The batches of a source over several epochs, as a sequence.

    Args:
        source: a `keras.utils.PyDataset` of `num_batches` batches, such as `PackedDocuments` or `RandomWindows`. If it
            has an attribute `epoch`, its batches depend on that.
        epochs: how many; None for no end.

    Raises:
        ValueError: `epochs` is not positive, or the source has no number of batches.

    Examples:
        >>> from keras_griffin.training import PackedDocuments
        >>> from keras_griffin.training.data.pipelines import Batches
        >>> data = PackedDocuments([[1, 2, 3]] * 10, sequence_length=4, batch_size=2)
        >>> data.num_batches, len(Batches(data, epochs=3))
        (5, 15)
    """

    def __init__(self, source: keras.utils.PyDataset, epochs: int | None = None):
        _check_epochs("Batches", epochs)
        if source.num_batches is None:
            raise ValueError(
                f"Batches: the source must have a number of batches. Got {type(source).__name__} of unknown length."
            )
        self.source = copy.copy(source)
        self.first_epoch = getattr(source, "epoch", 0)
        self.epochs = epochs

    @property
    def count(self) -> int | None:
        """The number of batches, None if there is no end."""
        return None if self.epochs is None else len(self)

    #: Whether the batches can be read only once.
    is_read_once = False

    @property
    def example(self) -> tuple:
        """A batch, which shows shapes and dtypes."""
        return self[0]

    def every(self, step: int, first: int = 0) -> Iterator[tuple]:
        """Every nth batch.

        Args:
            step: n.
            first: the first one.
        """
        return map(self.__getitem__, range(first, len(self), step))

    def __len__(self):
        return sys.maxsize if self.epochs is None else self.epochs * self.source.num_batches

    def __getitem__(self, step: int) -> tuple:
        if not 0 <= step < len(self):
            raise IndexError(f"Batches: a step must be from 0 to {len(self) - 1}. Got {step}.")
        epoch, index = divmod(int(step), self.source.num_batches)
        # Other threads may be reading other epochs.
        source = copy.copy(self.source)
        source.epoch = self.first_epoch + epoch
        return source[index]


class StreamedBatches:
    """The batches of a stream over several epochs; their number is unknown until the end.

    Args:
        source: the stream, which is read again for each epoch; its `counts` are those of the latest pass.
        epochs: how many; None for no end.

    Raises:
        ValueError: `epochs` is not positive; or, during reading, the stream has no token.

    Examples:
        >>> from keras_griffin.training import PackedStream
        >>> from keras_griffin.training.data.pipelines import StreamedBatches
        >>> stream = PackedStream([[1, 2, 3]] * 10, sequence_length=4, batch_size=2)
        >>> len(list(StreamedBatches(stream, epochs=3).every(1)))
        15
    """

    #: Unknown.
    count = None

    def __init__(self, source: PackedStream, epochs: int | None = None):
        _check_epochs("StreamedBatches", epochs)
        self.source = source
        self.epochs = epochs

    @property
    def is_read_once(self) -> bool:
        """Whether the batches can be read only once."""
        return isinstance(self.source.documents, Iterator)

    @property
    def example(self) -> tuple:
        """A batch of padding, which shows shapes and dtypes: reading a real one might consume it."""
        return PackedBatch(self.source.batch_size, self.source.sequence_length).for_fit("StreamedBatches", None)

    def every(self, step: int, first: int = 0) -> Iterator[tuple]:
        """Every nth batch; those in between are computed too, and discarded.

        Args:
            step: n.
            first: the first one.
        """
        return itertools.islice(self._all(), first, None, step)

    def _all(self):
        for _ in itertools.count() if self.epochs is None else range(self.epochs):
            is_empty = True
            for batch in self.source:
                is_empty = False
                yield batch
            # Otherwise endless epochs would loop here silently.
            if is_empty:
                raise ValueError("PackedStream: documents must have at least one token. Got none.")


def to_tf_data(source: keras.utils.PyDataset | PackedStream, epochs: int | None = None) -> Any:
    """A source as a `tf.data.Dataset` of batches.

        data = PackedDocuments(documents, 512, 8)
        model.packed().fit(to_tf_data(data), steps_per_epoch=data.num_batches, epochs=3, shuffle=False)

    Args:
        source: a `keras.utils.PyDataset` with a number of batches, such as `PackedDocuments` or `RandomWindows`; or a
            `PackedStream`.
        epochs: how many, from the source's `epoch` on; None for no end. A stream is read again for each, so for more
            than one it must be possible to read its documents again.

    Returns:
        A `tf.data.Dataset`.

    Raises:
        ImportError: TensorFlow is not installed.
        ValueError: the source is neither of them.
    """
    return _pipeline("tensorflow", "to_tf_data").to_tf_data(_batches("to_tf_data", source, epochs))


def to_torch_loader(
    source: keras.utils.PyDataset | PackedStream,
    epochs: int | None = None,
    *,
    workers: int = 0,
    multiprocessing_context: Any = None,
) -> Any:
    """A source as a `torch.utils.data.DataLoader` of batches, over an `IterableDataset`.

        data = PackedDocuments(documents, 512, 8)
        model.packed().fit(to_torch_loader(data), steps_per_epoch=data.num_batches, epochs=3, shuffle=False)

    Args:
        source: a `keras.utils.PyDataset` with a number of batches, such as `PackedDocuments` or `RandomWindows`; or a
            `PackedStream`.
        epochs: how many, from the source's `epoch` on; None for no end. A stream is read again for each, so for more
            than one it must be possible to read its documents again.
        workers: processes that make batches; the batches and their order are the same for any number. Each process
            reads all documents of a stream.
        multiprocessing_context: how they are started, as for a `DataLoader`; None for PyTorch's default, or for
            `"spawn"` on JAX: a fork loses JAX's threads, and waiting for them hangs. Windows and macOS spawn by default
            too. A spawned process imports the script, which must then do its work under `if __name__ == "__main__":`.

    Returns:
        A `torch.utils.data.DataLoader`.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: the source is neither of them; several workers would read a stream that can be read only once; or
            its documents can't be sent to spawned workers.
    """
    workers = checked("to_torch_loader", integer_from(0), workers=workers)
    batches = _batches("to_torch_loader", source, epochs)
    # Processes that shared one iterator would take documents from one another.
    if workers and batches.is_read_once:
        raise ValueError(
            "to_torch_loader: the documents of a stream must be a function that returns an iterable, so that each "
            f"worker can read them. Got a {type(source.documents).__name__} and {workers} workers."
        )
    if workers and multiprocessing_context is None and keras.backend.backend() == "jax":
        multiprocessing_context = "spawn"
    if workers and isinstance(batches, StreamedBatches) and _start_method(multiprocessing_context) != "fork":
        _check_can_be_sent(source.documents)
    make = _pipeline("torch", "to_torch_loader").to_torch_loader
    return make(batches, workers, multiprocessing_context if workers else None)


def to_grain(
    source: keras.utils.PyDataset | PackedStream, epochs: int | None = None, *, threads: int = 2, ahead: int = 8
) -> Any:
    """A source as a `grain.IterDataset` of batches; the state of its iterators can be saved and restored.

        data = PackedDocuments(documents, 512, 8)
        model.packed().fit(to_grain(data), steps_per_epoch=data.num_batches, epochs=3, shuffle=False)

    A stream is read on demand, without threads or prefetching, and restored by reading it up to the saved position.

    Args:
        source: a `keras.utils.PyDataset` with a number of batches, such as `PackedDocuments` or `RandomWindows`; or a
            `PackedStream`.
        epochs: how many, from the source's `epoch` on; None for no end. A stream is read again for each, so for more
            than one it must be possible to read its documents again.
        threads: how many threads make batches.
        ahead: how many batches are prefetched.

    Returns:
        A `grain.IterDataset`.

    Raises:
        ImportError: Grain, which the extra `grain` installs, is missing.
        ValueError: the source is neither of them.
    """
    try:
        import grain
    except ImportError as error:
        raise ImportError(
            "to_grain: the package grain must be installed, for instance with pip install 'keras-griffin[grain]'."
        ) from error
    checked("to_grain", integer_from(0), threads=threads)
    checked("to_grain", integer_from(0), ahead=ahead)
    batches = _batches("to_grain", source, epochs)
    if isinstance(batches, StreamedBatches):
        return _grain_stream(batches)
    # Grain's default is to prefetch 500 batches.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    return grain.MapDataset.source(batches).to_iter_dataset(options)


def _grain_stream(batches):
    """A stream's batches as a `grain.IterDataset`; the classes are local because Grain is optional."""
    import grain

    class StreamIterator(grain.DatasetIterator):
        def __init__(self):
            super().__init__()
            self._given = 0
            self._rest = None

        def __next__(self):
            if self._rest is None:
                self._rest = batches.every(1, self._given)
            batch = next(self._rest)
            self._given += 1
            return batch

        def get_state(self):
            return {"batches": self._given}

        def set_state(self, state):
            self._given, self._rest = state["batches"], None

    class StreamDataset(grain.IterDataset):
        def __iter__(self):
            return StreamIterator()

    return StreamDataset()


def _batches(function_name: str, source, epochs) -> Batches | StreamedBatches:
    if isinstance(source, PackedStream):
        return StreamedBatches(source, epochs)
    if not hasattr(source, "num_batches"):
        raise ValueError(
            f"{function_name}: the source must be a keras.utils.PyDataset or a PackedStream. "
            f"Got a {type(source).__name__}."
        )
    return Batches(source, epochs)


def _start_method(context) -> str:
    """How processes of a context start; asked without choosing the default for the rest of the program."""
    if isinstance(context, str):
        return context
    chosen = (context or multiprocessing).get_start_method(allow_none=True)
    # The first is the system's default.
    return chosen or multiprocessing.get_all_start_methods()[0]


def _check_can_be_sent(documents):
    """Check that documents can be sent to another process; a function is pickled by name."""
    if not callable(documents):
        return
    try:
        pickle.dumps(documents)
    except (AttributeError, pickle.PicklingError, TypeError) as error:
        raise ValueError(
            "to_torch_loader: documents must be a function defined in a module, so that spawned workers can import it. "
            f"Got {documents!r}."
        ) from error


def _check_epochs(name, epochs):
    checked(name, COUNT.or_none(), epochs=epochs)


def _pipeline(package: str, function_name: str):
    if importlib.util.find_spec(package) is None:
        raise ImportError(f"{function_name}: the package {package} must be installed. Got none.")
    return importlib.import_module(f"keras_griffin.training.data.{package}_pipelines")
