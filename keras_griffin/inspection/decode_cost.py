"""The cost of a decoded token: the bytes that a step must read, divided by the memory bandwidth."""

import bisect
import warnings
from dataclasses import dataclass

from keras_griffin.checks import COUNT, checked, integer_from, one_of
from keras_griffin.inspection.devices import Device, find_device
from keras_griffin.models import GriffinConfig

#: Bytes of a number, for parameters and all states except the recurrent one.
ITEM_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
#: The limit of the search for a crossover. A cache that is still smaller after this many tokens does not grow.
LONGEST = 2**50


@dataclass(frozen=True)
class DecodeCost:
    """The result of `decode_cost`."""

    #: The device, the number of rows B, and the number of tokens T before the step.
    device: Device
    batch_size: int
    context_length: int
    #: Bytes of all parameters, including the embedding: as the output head it is read at every step.
    parameter_bytes: int
    #: Bytes of one row's cache.
    cache_bytes: int
    #: Seconds per step, which produces one token for each row.
    seconds_per_step: float
    #: Tokens per second of all rows together.
    tokens_per_second: float
    #: Rows whose caches fit in memory together with the parameters; 0 if not even one fits.
    largest_batch: int
    #: Rows up to which reading memory takes longer than the products with the parameters; see `Device`.
    memory_bound_batch: int
    #: The smallest context at which the batch's caches have as many bytes as the parameters; None if they never do.
    crossover_context: int | None

    @property
    def bound_by(self) -> str:
        """The larger share of a step's reads: `"parameters"` or `"cache"`."""
        return "cache" if self.batch_size * self.cache_bytes > self.parameter_bytes else "parameters"

    @property
    def fits(self) -> bool:
        """Whether parameters and caches fit in the device's memory."""
        return self.batch_size <= self.largest_batch


def decode_cost(
    config: GriffinConfig,
    batch_size: int,
    context_length: int,
    *,
    device: str | Device = "tpu_v5e",
    dtype: str = "bfloat16",
) -> DecodeCost:
    """Predict the time of a decoding step, and how many rows fit in memory, from sizes alone.

        seconds per step = (parameter bytes + B * cache bytes of a row) / (bytes per second)    equation 5
        tokens per second = B / seconds per step
        largest batch = floor((memory bytes - parameter bytes) / cache bytes of a row)

    where the cache of a row has, for each layer, this many numbers:

        recurrent     R, in float32 whatever the dtype, and (K - 1) R for the convolution's K taps
        local_mqa     2 min(T, W) K H, with K key heads
        global_mqa    2 T K H

    This is a lower bound: every byte is read once, at full memory bandwidth, and arithmetic is hidden behind it. It
    holds while the batch is at most `memory_bound_batch` (about 128 according to the paper); beyond, this function
    warns, and a step takes longer than predicted. Not included are activations and logits, the flags of occupied cache
    places (a byte each), and the space for all W keys that this package's ring buffer allocates from the first token.

    Args:
        config: a `GriffinConfig`, such as one of `keras_griffin.models.presets()`.
        batch_size: B, rows decoded at once.
        context_length: T, tokens that each row has read and written so far.
        device: a name from `DEVICES`, or a `Device`, whose bandwidth you can measure.
        dtype: of parameters and caches, `"bfloat16"`, `"float16"` or `"float32"`; the recurrent state is float32.

    Returns:
        A `DecodeCost` with bytes, seconds, tokens per second, and numbers of rows and tokens.

    Raises:
        ValueError: batch or context is not an integer of at least 1, or device or dtype is unknown.

    Examples:
        >>> from keras_griffin.inspection import decode_cost
        >>> from keras_griffin.models import presets
        >>> transformer = decode_cost(presets()["mqa_1.3b"], batch_size=16, context_length=32768)
        >>> t = transformer
        >>> t.cache_bytes, t.bound_by, t.largest_batch, t.crossover_context
        (402653184, 'cache', 31, 16731)
        >>> hawk = decode_cost(presets()["hawk_1.3b"], batch_size=16, context_length=32768)
        >>> hawk.cache_bytes, hawk.bound_by, hawk.largest_batch, hawk.crossover_context
        (614400, 'parameters', 20089, None)

    Reference: De et al. 2024 (arXiv 2402.19427), section 5.1, equation 5, and appendix F.4.
    """
    check_config("decode_cost", config)
    device = find_device("decode_cost", device)
    checked("decode_cost", COUNT, batch_size=batch_size)
    checked("decode_cost", COUNT, context_length=context_length)
    item_bytes = ITEM_BYTES[checked("decode_cost", one_of(ITEM_BYTES), dtype=dtype)]
    row_bytes = cache_bytes(config, context_length, dtype)
    parameter_bytes = config.parameter_count() * item_bytes
    seconds = (parameter_bytes + batch_size * row_bytes) / device.bytes_per_second
    memory_bound_batch = device.memory_bound_batch(item_bytes)
    if batch_size > memory_bound_batch:
        warnings.warn(
            f"decode_cost: batch_size should be at most {memory_bound_batch} on {device.name}: beyond it arithmetic "
            f"takes longer than memory, and a step longer than predicted. Got {batch_size}.",
            stacklevel=2,
        )
    return DecodeCost(
        device=device,
        batch_size=batch_size,
        context_length=context_length,
        parameter_bytes=parameter_bytes,
        cache_bytes=row_bytes,
        seconds_per_step=seconds,
        tokens_per_second=batch_size / seconds,
        largest_batch=max(0, int((device.memory_bytes - parameter_bytes) // row_bytes)),
        memory_bound_batch=memory_bound_batch,
        crossover_context=_crossover(config, -(-parameter_bytes // batch_size), dtype),
    )


def cache_bytes(config: GriffinConfig, context_length: int, dtype: str = "bfloat16") -> int:
    """The bytes of one row's cache, that is, its state, after T tokens; see `decode_cost` for the formulas.

    Args:
        config: a `GriffinConfig`.
        context_length: T, tokens.
        dtype: of the cache, `"bfloat16"`, `"float16"` or `"float32"`; the recurrent state is float32.

    Raises:
        ValueError: the context is not an integer of at least 0, or the dtype is unknown.

    Examples:
        >>> from keras_griffin.inspection import cache_bytes
        >>> from keras_griffin.models import presets
        >>> [cache_bytes(presets()["griffin_1.3b"], tokens) for tokens in (512, 1024, 1_000_000)]
        [2506752, 4603904, 4603904]
    """
    check_config("cache_bytes", config)
    checked("cache_bytes", integer_from(0), context_length=context_length)
    item_bytes = ITEM_BYTES[checked("cache_bytes", one_of(ITEM_BYTES), dtype=dtype)]
    return sum(
        config.mixer_class(name).cache_bytes(config.width, context_length, item_bytes, **config.mixer_arguments(name))
        for name in config.mixer_names
    )


def _crossover(config, num_bytes, dtype):
    """The first context whose cache has `num_bytes` bytes, or None. Caches never shrink, so bisection finds it."""
    context = bisect.bisect_left(range(LONGEST), num_bytes, key=lambda tokens: cache_bytes(config, tokens, dtype))
    return context if context < LONGEST else None


def check_config(function_name: str, config) -> None:
    """Check that an argument is a config, not, for example, the name of one."""
    if not isinstance(config, GriffinConfig):
        raise ValueError(f"{function_name}: config must be a GriffinConfig. Got {config!r}.")
