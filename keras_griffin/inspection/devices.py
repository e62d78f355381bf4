"""Device specifications that determine the cost of decoding."""

from dataclasses import dataclass

from keras_griffin.names import did_you_mean


@dataclass(frozen=True)
class Device:
    """A device, described by its memory size and bandwidth.

    Args:
        name: for tables and messages.
        memory_bytes: the size of its memory in bytes.
        bytes_per_second: its memory bandwidth in bytes per second.
        operations_per_second: of matrix products in the dtype of the parameters, counting each multiplication and each
            addition; None if unknown.

    Raises:
        ValueError: one of the numbers is not positive.

    Examples:
        >>> from keras_griffin.inspection import Device
        >>> Device("a laptop", memory_bytes=16e9, bytes_per_second=50e9).memory_bound_batch(2)
        128
        >>> Device("a TPU v3", 32e9, 900e9, operations_per_second=123e12).memory_bound_batch(2)
        136
    """

    name: str
    memory_bytes: float
    bytes_per_second: float
    operations_per_second: float | None = None

    def __post_init__(self):
        for field in ("memory_bytes", "bytes_per_second", "operations_per_second"):
            value = getattr(self, field)
            if not (value is None and field == "operations_per_second") and not value > 0:
                raise ValueError(f"Device: {field} must be positive. Got {value!r} for {self.name!r}.")

    def memory_bound_batch(self, item_bytes: int) -> int:
        """The largest batch whose products with the parameters take no longer than reading the parameters.

            B = item_bytes * operations per second / (2 * bytes per second)

        A parameter is read once per step, and multiplied and added once for each row. If the device's operations per
        second are unknown, it is 128, the paper's figure.

        Args:
            item_bytes: of a parameter.
        """
        if self.operations_per_second is None:
            return 128
        return int(item_bytes * self.operations_per_second / (2 * self.bytes_per_second))


DEVICES = {
    # De et al. 2024 (arXiv 2402.19427), table 3: the device of the paper's training and measurements.
    "tpu_v3": Device("TPU v3", 32e9, 900e9, 123e12),
    # https://cloud.google.com/tpu/docs/v5e, "Key chip specifications", one chip.
    "tpu_v5e": Device("TPU v5e", 16e9, 819e9, 197e12),
    # NVIDIA H100 data sheet, column SXM; it gives 1979 TFLOP/s with sparsity, twice the rate of dense products.
    "h100_sxm": Device("H100 SXM", 80e9, 3.35e12, 989e12),
}
"""Devices by name, with their makers' specifications: peaks in bfloat16, which no program reaches."""


def find_device(function_name: str, device: str | Device) -> Device:
    """A device, or the one of that name in `DEVICES`."""
    if isinstance(device, Device):
        return device
    if device not in DEVICES:
        raise ValueError(
            f"{function_name}: device must be a Device or one of the names {', '.join(DEVICES)}. "
            f"Got {device!r}{did_you_mean(device, DEVICES)}"
        )
    return DEVICES[device]
