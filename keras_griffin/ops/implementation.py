"""The one place where an implementation of an op is chosen.

An op is a contract and a table of implementations in order of preference. The choice is made from facts known before
the call (backend, device, shape, dtype, transforms). There is no fallback: if the chosen one fails, the error
propagates.
"""

import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import keras

from keras_griffin import backends
from keras_griffin.names import did_you_mean

_DEVICES = ("cpu", "gpu", "tpu")


class _Requests(threading.local):
    """The requests of `use_implementation` in this thread. Not a context variable: Dynamo can't follow one."""

    def __init__(self):
        self.names: dict[str, str] = {}


class _Records(threading.local):
    """Where `recorded_choices` collects this thread's choices; None while nothing records."""

    def __init__(self):
        self.choices: list[Choice] | None = None


_requests = _Requests()
_records = _Records()
#: An environment variable of this prefix and the op's name in capitals requests the implementation that it names.
VARIABLE_PREFIX = "KERAS_GRIFFIN_"


@dataclass(frozen=True)
class Facts:
    """What is known before a call."""

    backend: str
    device: str
    shape: tuple[int | None, ...] | None
    dtype: str
    #: Whether NumPy can read the tensors' values: not while compiling or differentiating.
    has_values: bool = True
    #: Whether a transform of `torch.func` or forward mode is active: it follows only the backend's own operations.
    is_transformed: bool = False
    #: Whether PyTorch or TensorFlow exports the program of the call, whose operations others must be able to read.
    is_exported: bool = False


@dataclass(frozen=True)
class Implementation:
    """One row of an op's table: a module of the op's package with a function of the op's name.

    Args:
        name: the module's name, and the name by which users request it.
        backend: the only Keras backend it runs on; None for every backend.
        automatic: the devices on which it may be chosen without a request.
        needs_values: it computes in NumPy on the CPU, and can't be compiled or differentiated.
        interpreted: it is a kernel that an interpreter can run on a CPU, as the tests do without its device.
        exported: it serves exported programs, and them alone.
    """

    name: str
    backend: str | None = None
    automatic: tuple[str, ...] = _DEVICES
    needs_values: bool = False
    interpreted: bool = False
    exported: bool = False


@dataclass(frozen=True)
class Choice:
    """The choice for a call of an op: the implementation's name, and the facts that decided it."""

    op_name: str
    implementation: str
    facts: Facts


@dataclass(frozen=True)
class Verdict:
    """The table's verdict on one implementation for one call."""

    name: str
    chosen: bool
    available: bool
    reason: str


@dataclass(frozen=True)
class Explanation:
    """The verdict on every implementation of an op, printable as a table."""

    op_name: str
    facts: Facts
    verdicts: tuple[Verdict, ...]

    @property
    def chosen(self) -> str:
        """The name of the implementation that a call would use.

        Raises:
            ValueError: the requested implementation can't serve it.
        """
        verdict = next(verdict for verdict in self.verdicts if verdict.chosen)
        if not verdict.available:
            facts = self.facts
            raise ValueError(
                f"{self.op_name}: the requested implementation {verdict.name!r} must support the call. "
                f"It {verdict.reason}; the call has backend {facts.backend}, device {facts.device}, "
                f"shape {facts.shape}, dtype {facts.dtype}."
            )
        return verdict.name

    def __str__(self) -> str:
        shape = "any shape" if self.facts.shape is None else f"shape {self.facts.shape}"
        transform = ", inside a transform of torch.func or forward mode" if self.facts.is_transformed else ""
        transform += ", in an exported program" if self.facts.is_exported else ""
        head = f"{self.op_name} on {self.facts.backend}, {self.facts.device}, {shape}, {self.facts.dtype}{transform}"
        width = max(len(verdict.name) for verdict in self.verdicts)
        rows = [f"  {_mark(v)} {v.name:<{width}}  {v.reason}" for v in self.verdicts]
        return "\n".join([head, *rows])


def _mark(verdict):
    """The mark in the table: `*` for the implementation in use, `!` for a requested one that can't be used."""
    return " " if not verdict.chosen else "*" if verdict.available else "!"


class Op:
    """An op's table of implementations, in order of preference.

    Args:
        name: the op's name; also the name of the function in each implementation's module.
        package: the package that holds the implementations' modules, and the op's cases in `cases.py`.
        implementations: the rows.
    """

    registry: dict[str, "Op"] = {}

    def __init__(self, name: str, package: str, implementations: list[Implementation]):
        self.name = name
        self.package = package
        self.implementations = tuple(implementations)
        #: The environment variable that requests an implementation.
        self.variable = VARIABLE_PREFIX + name.upper()
        Op.registry[name] = self

    @property
    def cases(self):
        """The module of the calls on which the op is tested and timed; see `case.py`."""
        return backends.imported(f"{self.package}.cases")

    def module(self, implementation: Implementation):
        """The implementation's module, imported on first use so that other backends are never loaded."""
        return backends.imported(f"{self.package}.{implementation.name}")

    def rejection(self, implementation: Implementation, facts: Facts) -> str | None:
        """Why the implementation can't serve such a call, or None if it can."""
        if implementation.backend not in (None, facts.backend):
            return f"needs the {implementation.backend} backend"
        if facts.is_transformed and (implementation.backend or implementation.needs_values):
            return "can't be transformed by torch.func or differentiated in forward mode"
        if implementation.exported and not facts.is_exported:
            return "serves exported programs alone"
        if implementation.needs_values and not facts.has_values:
            return "can't be compiled or differentiated"
        if implementation.needs_values:
            readable = facts.device == "cpu" and facts.dtype in ("float32", "float64")
            return None if readable else "reads float32 and float64 on the CPU"
        return self.module(implementation).supports(facts)

    def serving(self, facts: Facts) -> list[Implementation]:
        """The implementations that can serve such a call."""
        return [row for row in self.implementations if self.rejection(row, facts) is None]

    def requested(self) -> str | None:
        """The name that the user requested: by `use_implementation`, else by the environment."""
        return _requests.names.get(self.name) or os.environ.get(self.variable) or None

    def choose(self, shape: tuple[int | None, ...] | None, dtype: str, tensors: Sequence = ()) -> Callable:
        """The function that will run for a call with such tensors."""
        facts = current_facts(shape, dtype)
        if self.requested() is None:
            chosen = self._preferred(facts)
        else:
            facts = dataclasses.replace(facts, has_values=have_values(tensors))
            chosen = self._named(self._explain(facts).chosen)
        if _records.choices is not None:
            _record(_records.choices, Choice(self.name, chosen.name, facts))
        return getattr(self.module(chosen), self.name)

    def explain(self, shape: tuple[int | None, ...] | None, dtype: str, has_values: bool = True) -> Explanation:
        """The verdict on every row for such a call."""
        return self._explain(dataclasses.replace(current_facts(shape, dtype), has_values=has_values))

    def _explain(self, facts: Facts) -> Explanation:
        requested = self.requested()
        chosen = self._named(requested) if requested is not None else self._preferred(facts)
        return Explanation(self.name, facts, tuple(self._verdict(row, chosen, facts) for row in self.implementations))

    def _named(self, name: str) -> Implementation:
        for implementation in self.implementations:
            if implementation.name == name:
                return implementation
        names = [implementation.name for implementation in self.implementations]
        received = f"{name!r}{did_you_mean(name, names)}"
        raise ValueError(f"{self.name}: an implementation must be one of {', '.join(names)}. Got {received}")

    def _preferred(self, facts: Facts) -> Implementation:
        for row in self.implementations:
            # Most rows are another backend's, and a call of one step takes as long as ten questions.
            is_candidate = row.backend in (None, facts.backend) and facts.device in row.automatic
            # Other runtimes know no operators of ours; PyTorch does, for which one may be requested.
            is_candidate = is_candidate and not (facts.is_exported and row.backend and not row.exported)
            if is_candidate and self.rejection(row, facts) is None:
                return row
        raise ValueError(f"{self.name}: no implementation supports {facts}.")

    def _verdict(self, row: Implementation, chosen: Implementation, facts: Facts) -> Verdict:
        rejection = self.rejection(row, facts)
        if rejection is not None:
            reason = rejection
        elif row is chosen:
            reason = "chosen: requested" if self.requested() else "chosen: the first in order of preference"
        elif facts.device not in row.automatic:
            reason = f"available; on {facts.device} only on request"
        else:
            reason = f"available; {chosen.name} is {'requested' if self.requested() else 'preferred'}"
        return Verdict(row.name, row is chosen, rejection is None, reason)


def _record(choices: list[Choice], choice: Choice) -> None:
    if choice not in choices:
        choices.append(choice)


def current_facts(shape: tuple[int | None, ...] | None, dtype: str) -> Facts:
    """The facts of a call on the active backend's default device."""
    backend = backends.active()
    is_exported = backend.is_exported()
    if is_exported and shape is not None:
        # A comparison with a size that is free would fix it.
        shape = tuple(size if isinstance(size, int) else None for size in shape)
    kind = keras.backend.backend(), backend.device_kind()
    return Facts(*kind, shape, dtype, is_transformed=backend.is_transformed(), is_exported=is_exported)


def have_values(tensors) -> bool:
    """Whether NumPy can read the tensors' values: not while compiling or differentiating."""
    return backends.active().has_values(tensors)


def builds_from_means() -> bool:
    """Whether Keras builds a model on the mean of several devices' batches: a mean of ids is not an id."""
    return backends.active().has_strategy()


@contextlib.contextmanager
def use_implementation(op_name: str, implementation_name: str) -> Iterator[None]:
    """Request one implementation of an op inside a `with` block; it never falls back to another.

    The request is read when a function is traced: a function compiled before the block keeps its choice. The
    environment variable `KERAS_GRIFFIN_<OP>=<name>` requests one for the whole process.

    Args:
        op_name: such as `"linear_scan"`.
        implementation_name: a name from the table that `explain(op_name)` prints.

    Raises:
        ValueError: the op or the implementation is unknown; or, at the call, the implementation can't serve it.

    Examples:
        >>> import keras_griffin
        >>> with keras_griffin.ops.use_implementation("linear_scan", "portable"):
        ...     print(keras_griffin.ops.explain("linear_scan").chosen)
        portable
    """
    find_op(op_name, "use_implementation")._named(implementation_name)
    outside = _requests.names
    _requests.names = {**outside, op_name: implementation_name}
    try:
        yield
    finally:
        _requests.names = outside


@contextlib.contextmanager
def recorded_choices() -> Iterator[list[Choice]]:
    """Record which implementations this thread's ops use inside a `with` block, each distinct choice once.

    The choice is made when a function is traced: a function compiled before the block leaves no record.
    """
    outside = _records.choices
    _records.choices = []
    try:
        yield _records.choices
    finally:
        _records.choices = outside


def explain(op_name: str, shape: tuple[int | None, ...] | None = None, dtype: str = "float32") -> Explanation:
    """Say which implementation of an op this machine will use, and why not the others.

    Args:
        op_name: such as `"linear_scan"`.
        shape: the shape of the op's first tensor; None if it doesn't matter.
        dtype: the dtype of that tensor.

    Returns:
        An `Explanation`; print it for the table, read `.chosen` for the name.

    Raises:
        ValueError: the op is unknown.

    Examples:
        >>> import keras_griffin
        >>> keras_griffin.ops.explain("linear_scan", shape=(1, 64, 8)).facts.shape
        (1, 64, 8)
    """
    return find_op(op_name).explain(shape, dtype)


def find_op(op_name: str, function_name: str = "explain") -> Op:
    """The op of that name; the error for an unknown name lists the known ones."""
    if op_name not in Op.registry:
        received = f"{op_name!r}{did_you_mean(op_name, Op.registry)}"
        raise ValueError(f"{function_name}: an op must be one of {', '.join(sorted(Op.registry))}. Got {received}")
    return Op.registry[op_name]
