"""The batches of a data source through the pipelines that a backend's users know: tf.data, DataLoader, Grain.

All give the same batches: those of the source, epoch after epoch, from the source's `epoch` at the time when the
pipeline is made. (Given the source itself, `fit(source, shuffle=False)` begins with the epoch after that: Keras ends
one before its own first.)
"""

import copy
import importlib.util
import sys

import keras


class Batches:
    """The batches of a source over several epochs, as a sequence.

    Args:
        source: a `keras.utils.PyDataset` of `num_batches` batches, such as `PackedDocuments` or `RandomWindows`. Where
            it has an attribute `epoch`, its batches depend on that.
        epochs: how many; None goes on for ever.

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
        if epochs is not None and epochs < 1:
            raise ValueError(f"Batches: epochs must be at least 1, or None. Got {epochs}.")
        if source.num_batches is None:
            raise ValueError(f"Batches: the source must have a number of batches. Got {type(source).__name__} without.")
        self.source = copy.copy(source)
        self.first_epoch = getattr(source, "epoch", 0)
        self.epochs = epochs

    def __len__(self):
        return sys.maxsize if self.epochs is None else self.epochs * self.source.num_batches

    def __getitem__(self, step: int) -> tuple:
        if not 0 <= step < len(self):
            raise IndexError(f"Batches: a step must be from 0 to {len(self) - 1}. Got {step}.")
        epoch, index = divmod(int(step), self.source.num_batches)
        # Other threads may ask for other epochs.
        source = copy.copy(self.source)
        source.epoch = self.first_epoch + epoch
        return source[index]


def to_tf_data(source: keras.utils.PyDataset, epochs: int | None = None):
    """A source as a `tf.data.Dataset` of batches.

        data = PackedDocuments(documents, 512, 8)
        model.packed().fit(to_tf_data(data), steps_per_epoch=data.num_batches, epochs=3, shuffle=False)

    Args:
        source: a `keras.utils.PyDataset` with a number of batches, such as `PackedDocuments` or `RandomWindows`.
        epochs: how many, from the source's `epoch` on; None goes on for ever.

    Returns:
        A `tf.data.Dataset`.

    Raises:
        ImportError: TensorFlow is not installed.
    """
    return _pipeline("tensorflow", "to_tf_data").to_tf_data(Batches(source, epochs))


def to_torch_loader(source: keras.utils.PyDataset, epochs: int | None = None, *, workers: int = 0):
    """A source as a `torch.utils.data.DataLoader` of batches, over an `IterableDataset`.

        data = PackedDocuments(documents, 512, 8)
        model.packed().fit(to_torch_loader(data), steps_per_epoch=data.num_batches, epochs=3, shuffle=False)

    Args:
        source: a `keras.utils.PyDataset` with a number of batches, such as `PackedDocuments` or `RandomWindows`.
        epochs: how many, from the source's `epoch` on; None goes on for ever.
        workers: processes that make batches; the batches and their order are the same for any number.

    Returns:
        A `torch.utils.data.DataLoader`.

    Raises:
        ImportError: PyTorch is not installed.
    """
    return _pipeline("torch", "to_torch_loader").to_torch_loader(Batches(source, epochs), workers)


def to_grain(source: keras.utils.PyDataset, epochs: int | None = None, *, threads: int = 2, ahead: int = 8):
    """A source as a `grain.IterDataset` of batches; the state of its iterators can be saved and restored.

        data = PackedDocuments(documents, 512, 8)
        model.packed().fit(to_grain(data), steps_per_epoch=data.num_batches, epochs=3, shuffle=False)

    Args:
        source: a `keras.utils.PyDataset` with a number of batches, such as `PackedDocuments` or `RandomWindows`.
        epochs: how many, from the source's `epoch` on; None goes on for ever.
        threads: that make batches.
        ahead: how many batches are made before they are asked for.

    Returns:
        A `grain.IterDataset`.

    Raises:
        ImportError: Grain, which the extra `grain` brings, is not installed.
    """
    try:
        import grain
    except ImportError as error:
        raise ImportError(
            "to_grain: the package grain must be installed, for instance with pip install 'keras-griffin[grain]'."
        ) from error
    # Grain alone would make 500 batches ahead.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    return grain.MapDataset.source(Batches(source, epochs)).to_iter_dataset(options)


def _pipeline(package: str, function_name: str):
    if importlib.util.find_spec(package) is None:
        raise ImportError(f"{function_name}: the package {package} must be installed. Got none.")
    return importlib.import_module(f"keras_griffin.training.data.{package}_pipelines")
