"""The cost of decoding with every preset, as Markdown tables."""

from keras_griffin.inspection.decode_cost import ITEM_BYTES, cache_bytes, decode_cost
from keras_griffin.inspection.devices import Device, find_device
from keras_griffin.models import GriffinConfig, presets

CONTEXT_LENGTHS = (2048, 8192, 32768)


def cache_table(
    configs: dict[str, GriffinConfig] | None = None,
    context_lengths: tuple[int, ...] = CONTEXT_LENGTHS,
    dtype: str = "bfloat16",
) -> str:
    """The parameters of each model, in 10^9 and in GB, and the cache of one row, in MB, for each context length."""
    head = ["model", "parameters, billions", "GB", *(f"MB a row at {length:,}" for length in context_lengths)]
    rows = []
    for name, config in (presets() if configs is None else configs).items():
        parameters = config.parameter_count()
        caches = [cache_bytes(config, length, dtype) / 1e6 for length in context_lengths]
        gigabytes = parameters * ITEM_BYTES[dtype] / 1e9
        rows.append([name, _number(parameters / 1e9), _number(gigabytes), *map(_number, caches)])
    return _table(head, rows)


def decode_table(
    device: str | Device,
    configs: dict[str, GriffinConfig] | None = None,
    context_lengths: tuple[int, ...] = CONTEXT_LENGTHS,
    dtype: str = "bfloat16",
) -> str:
    """The predictions of `decode_cost` for each model on one device.

    Args:
        device: a name from `keras_griffin.inspection.devices.DEVICES`, or a `Device`.
        configs: `GriffinConfig` by name; None for `keras_griffin.models.presets()`.
        context_lengths: tokens, one column each in three groups.
        dtype: of parameters and caches; see `decode_cost`.

    Returns:
        A Markdown table: milliseconds per token with one row, the largest batch in memory, and the tokens per second of
        that batch, or of the largest memory-bound batch if that is smaller. A dash if not even one row fits.

    Examples:
        >>> from keras_griffin.inspection import decode_table
        >>> from keras_griffin.models import presets
        >>> print(decode_table("tpu_v5e", {"mqa_1.3b": presets()["mqa_1.3b"]}, (32768,)))
        | model | ms a token at 32,768 | rows at 32,768 | tokens/s at 32,768 |
        |---|---|---|---|
        | mqa_1.3b | 4.51 | 31 | 1,610 |
    """
    device = find_device("decode_table", device)
    groups = ("ms a token", "rows", "tokens/s")
    head = ["model", *(f"{group} at {length:,}" for group in groups for length in context_lengths)]
    rows = []
    for name, config in (presets() if configs is None else configs).items():
        costs = [_cells(config, length, device, dtype) for length in context_lengths]
        rows.append([name, *(cell for group in zip(*costs, strict=True) for cell in group)])
    return _table(head, rows)


def _cells(config, context_length, device, dtype):
    """Milliseconds, rows and tokens per second at one context."""
    one = decode_cost(config, 1, context_length, device=device, dtype=dtype)
    if not one.fits:
        return "-", "-", "-"
    batch_size = min(one.largest_batch, one.memory_bound_batch)
    many = decode_cost(config, batch_size, context_length, device=device, dtype=dtype)
    return _number(1e3 * one.seconds_per_step), f"{one.largest_batch:,}", _number(many.tokens_per_second)


def _number(value):
    """A number with three digits and no exponent."""
    digits = float(f"{value:.3g}")
    return f"{digits:,.0f}" if digits >= 100 else f"{digits:#.3g}"


def _table(head, rows):
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], f"|{'---|' * len(head)}", *lines[1:]])
