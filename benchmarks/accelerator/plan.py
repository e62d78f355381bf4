"""The parts, in order, with the seconds that each may take: together less than eight minutes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A module of this package with `run(record)`.

    Args:
        name: of the part, and of its module.
        limit: seconds, imports and compilation included.
        about: what it measures or checks.
        judges: it makes checks, on which the exit status depends.
        package: where its module is.
    """

    name: str
    limit: float
    about: str
    judges: bool = False
    package: str = "benchmarks.accelerator"

    @property
    def module(self) -> str:
        """The module's name."""
        return f"{self.package}.{self.name}"


PARTS = (
    Part("facts", 25, "device, versions, chosen kernels, speed of a copy and of a matrix product"),
    Part("streams", 45, "scans of many blocks, again, in CUDA graphs, on a second stream, above 2^31", judges=True),
    Part("correctness", 105, "every implementation of every op against float64", judges=True),
    Part("parity", 70, "a model on the CPU and on the device", judges=True),
    Part("kernels", 85, "kernels against a copy of memory, and other packages' kernels"),
    Part("training", 75, "tokens per second of whole models"),
    Part("decoding", 45, "milliseconds per token"),
    Part("profile", 25, "kernels per step, and the longest of them"),
)


def parts_named(names: list[str], parts: tuple[Part, ...] = PARTS) -> list[Part]:
    """The parts of these names, in the order of the plan.

    Raises:
        ValueError: there is no such part.
    """
    known = [part.name for part in parts]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"accelerator: the parts are {', '.join(known)}. Got {', '.join(unknown)}.")
    return [part for part in parts if part.name in names]


def still_to_run(parts: list[Part], finished: set[str], again: bool) -> list[Part]:
    """The parts that have not ended well yet, or all of them if `again`."""
    return [part for part in parts if again or part.name not in finished]
