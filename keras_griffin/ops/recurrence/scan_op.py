"""The contract of a scan, once: all that the ops share which run a recurrence along time.

A scan is its docstring, its axes, its table of implementations and its one step.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_griffin.ops.implementation import Implementation, Op
from keras_griffin.ops.recurrence.marks import marks_of_steps
from keras_griffin.ops.recurrence.numbers import accumulation_dtype, components_of, number_of
from keras_griffin.ops.shared.arguments import as_tensor, check_floating, check_steps, dtype_of, shape_fits
from keras_griffin.ops.shared.time_axis import divided_rule


class ScanOp(Op):
    """An op `(tensors, initial_state) -> (outputs, final_state)` along time, with resets and a mask.

    An implementation is a module of the op's package with a function of the op's name,

        name(*tensors, initial_state, marks, **options) -> (outputs, final_state)

    and `supports(facts)`, which returns None, or why it can't serve such a call, in words that follow "It". The tensors
    come in their original dtypes, the initial state in the accumulation dtype, and `Marks` with an axis for channels. T
    is at least 2 and no size is 0 (unless it is known only when the model runs). The results may have either dtype.

    Args:
        name: the op's name.
        package: the package that holds the implementations' modules.
        axes: each argument with a letter for each axis, the initial state's after "|", and the argument whose shape and
            dtype the outputs have after "->": `"inputs btd, rates dn | bdn -> inputs"`. b is the batch, t is time; an
            argument with "?" may be None.
        implementations: the rows of the table.
        one_step: the function for a sequence of one step, called like an implementation.
        node: the name of the op's node in a functional model, under which it is saved.
        pairs: the arguments that may be pairs `(real, imaginary)`, all of them or none; implementations get tuples of
            components for them.
        pack: makes the tensors of an implementation from those of the call.
        nothing: a state of nothing.
    """

    def __init__(
        self,
        name: str,
        package: str,
        axes: str,
        implementations: list[Implementation],
        *,
        one_step: Callable,
        node: str,
        pairs: tuple[str, ...] = (),
        pack: Callable[..., tuple] = lambda *tensors: tensors,
        nothing: float = 0.0,
    ):
        super().__init__(name, package, implementations)
        arguments, outputs = axes.split(" -> ")
        arguments, state = arguments.split(" | ")
        given = [argument.split() for argument in arguments.split(", ")]
        self.optional = {name[:-1] for name, _ in given if name.endswith("?")} | {"initial_state"}
        self.axes = {name.rstrip("?"): letters for name, letters in given} | {"initial_state": state}
        self.like = outputs
        self.order = (outputs, *(name for name in self.axes if name != outputs))
        self.one_step = one_step
        self.node = _node(self, node)
        self.pairs = pairs
        self.pack = pack
        self.nothing = nothing

    def __call__(self, *tensors, initial_state=None, reset=None, mask=None, **options) -> tuple[Any, Any]:
        """Outputs and final state: those of the chosen implementation, of the rule for divided time, or symbolic."""
        named = zip(self.axes, (*tensors, initial_state), strict=True)
        given = {name: components_of(x) if name in self.pairs else as_tensor(x) for name, x in named}
        reset, mask = as_tensor(reset), as_tensor(mask)
        self._check(given, reset, mask)
        rule = divided_rule(self.name)
        arguments = *given.values(), reset, mask
        if any(isinstance(part, keras.KerasTensor) for part in _parts(arguments)):
            results = self.node(**options)(*arguments)
        elif rule is not None:
            *numbers, start = given.values()
            results = rule(*self.pack(*numbers), start, marks=(reset, mask), **options)
        else:
            results = self.run(*arguments, **options)
        return (number_of(results[0]), number_of(results[1])) if self.pairs else tuple(results)

    def run(self, *arguments, **options):
        """The results for concrete tensors, which have been checked, initial state, reset and mask."""
        *tensors, initial_state, reset, mask = arguments
        given = dict(zip(self.axes, arguments, strict=False))
        like = given[self.like]
        first = _components(like)[0]
        shape, dtype = tuple(first.shape), dtype_of(first)
        accumulated = accumulation_dtype((first,))
        implementation = self.choose(shape, dtype, _parts(given.values()))
        start = self._start(given) if initial_state is None else initial_state
        start = _mapped(lambda h: ops.convert_to_tensor(h, accumulated), start)
        arguments = *self.pack(*tensors), start, marks_of_steps(reset, mask)
        if 0 in shape:
            outputs, final_state = like, start
        elif shape[1] == 1:
            outputs, final_state = self.one_step(*arguments, **options)
        else:
            outputs, final_state = implementation(*arguments, **options)
        return _cast(outputs, dtype), _cast(final_state, accumulated)

    def results_spec(self, *arguments):
        """The shapes and dtypes of outputs and final state, for the arguments of `run`."""
        given = dict(zip(self.axes, arguments, strict=False))
        sizes, like = self._sizes(given), given[self.like]
        shape = tuple(sizes[letter] for letter in self.axes["initial_state"])
        spec = keras.KerasTensor(shape, accumulation_dtype(_components(like)))
        return _mapped(lambda x: keras.KerasTensor(x.shape, x.dtype), like), _mapped(lambda _: spec, like)

    def _start(self, given):
        """A state of nothing, on the outputs' device, of a batch size that may be unknown: the sum of no steps."""
        letters, state = self.axes[self.like].replace("t", ""), self.axes["initial_state"]

        def start(x):
            rows = ops.sum(x[:, :0], axis=1)
            if not self.nothing and letters == state:
                return rows
            dtype = accumulation_dtype((x,))
            rows = ops.cast(rows, dtype) + self.nothing
            if letters == state:
                return rows
            sizes = self._sizes(given)
            rows = ops.expand_dims(rows, [axis for axis, letter in enumerate(state) if letter not in letters])
            return rows + ops.zeros([1 if letter in letters else sizes[letter] for letter in state], dtype)

        return _mapped(start, given[self.like])

    def _sizes(self, given):
        """The size of each axis; those of the outputs first."""
        sizes: dict[str, int | None] = {}
        for name in self.order:
            if given[name] is not None:
                for letter, size in zip(self.axes[name], _components(given[name])[0].shape, strict=True):
                    sizes.setdefault(letter, size)
        return sizes

    def _check(self, given, reset, mask):
        numbers = {name: len(given[name]) for name in self.pairs if given[name] is not None}
        if numbers and set(numbers.values()) not in ({1}, {2}):
            got = ", ".join(f"{name} of {number}" for name, number in numbers.items())
            names = f"{', '.join(self.pairs[:-1])} and {self.pairs[-1]}"
            raise ValueError(f"{self.name}: {names} must be all tensors or all pairs (real, imaginary). Got {got}.")
        sizes: dict[str, int | None] = {}
        for name in self.order:
            if given[name] is None:
                if name in self.optional:
                    continue
                raise ValueError(f"{self.name}: {name} must be given. Got None.")
            letters = self.axes[name]
            for part in _components(given[name]):
                check_floating(self.name, **{name: part})
                shape = tuple(part.shape)
                if shape != tuple([sizes.get(letter, -1) for letter in letters]):
                    self._check_shape(name, part, sizes)
                    sizes = dict(zip(letters, shape, strict=True)) | sizes
        check_steps(self.name, (sizes["b"], sizes["t"]), reset=reset, mask=mask)

    def _check_shape(self, name, part, sizes):
        """Raise unless the shape has the sizes that are known; an axis that only this argument has is not empty."""
        letters, shape = self.axes[name], tuple(part.shape)
        free = [letter for letter in letters if sizes and letter not in sizes]
        if shape_fits(part, tuple(map(sizes.get, letters))) and not any(
            size == 0 for letter, size in zip(letters, shape, strict=True) if letter in free
        ):
            return
        wanted = ", ".join(str(sizes[letter]) if letter in sizes else letter.upper() for letter in letters)
        rule = f"({wanted},)" if len(letters) == 1 else f"({wanted})"
        rule += "".join(f", {letter.upper()} at least 1," for letter in free)
        like = f" for {self.like} {tuple(sizes[letter] for letter in self.axes[self.like])}" if sizes else ""
        raise ValueError(f"{self.name}: {name} must have shape {rule}{like}. Got {shape}.")


def _node(scan: ScanOp, class_name: str) -> type[keras.Operation]:
    """The class of the op's nodes; its options are in the node's config."""

    class Node(keras.Operation):
        def __init__(self, *, name=None, **options):
            super().__init__(name)
            self.options = options

        def call(self, *arguments):
            return scan.run(*arguments, **self.options)

        def compute_output_spec(self, *arguments):
            return scan.results_spec(*arguments)

    Node.__name__ = Node.__qualname__ = class_name
    return keras.saving.register_keras_serializable("keras_griffin", class_name)(Node)


def _components(argument):
    return argument if isinstance(argument, tuple | list) else (argument,)


def _mapped(function, argument):
    """The function of a tensor, or of each component of a tuple."""
    return tuple(map(function, argument)) if isinstance(argument, tuple | list) else function(argument)


def _parts(arguments):
    """The tensors among the arguments of `run`."""
    return (part for argument in arguments if argument is not None for part in _components(argument))


def _cast(argument, dtype):
    return _mapped(lambda x: x if dtype_of(x) == dtype else ops.cast(x, dtype), argument)
