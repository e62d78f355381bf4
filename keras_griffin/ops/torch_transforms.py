"""PyTorch's transforms of the package's operators: `torch.func.grad`, `torch.func.vmap`, `torch.func.jvp`, and so on.

`torch.func` does not see the gradient that `register_autograd` gives to a `torch.library.custom_op`, and in forward
mode the derivatives of such an operator would be zeros. Under a transform it is therefore called through a
`torch.autograd.Function` made of the same rules. Otherwise nothing stands between the caller and the operator.
"""

import torch
from torch import Tensor
from torch.autograd import forward_ad

#: The axes along which many calls fit side by side into one: rows, else channels.
_FOLDED = "bd"


def transformable(op_name: str, operator, axes: str, keep=None, backward=None, jvp=None):
    """An operator as a function that PyTorch's transforms follow, nested in any order.

    Args:
        op_name: the op's name, for error messages.
        operator: a function of tensors, lists of tensors, None and numbers that returns a tensor, or a list or tuple of
            tensors. If it is a `torch.library.custom_op`, it is given its gradient here.
        axes: the axes of arguments and outputs, such as `"btd btd bd bt . -> b*d"`: `b` are rows, `d` channels, `*` any
            number of others, and `.` is no tensor. A list has one entry, and one entry may stand for all outputs.
            `torch.func.vmap` makes one call of many: side by side along the rows, if all outputs and all arguments that
            differ have rows, else along the channels by the same rule; else one call follows the other.
        keep: `setup_context` of the gradient; None to keep nothing.
        backward: a function of `(ctx, *gradients)` that returns a gradient for each argument, a list for a list. If it
            is None, as for an operator that is itself a gradient, differentiating raises an error.
        jvp: a function of `(inputs, outputs, tangents)`, where tangents are those of the inputs, that returns the
            tangents of the outputs. If it is None, forward mode raises an error.

    Returns:
        A function like `operator`, which may return a tuple in place of a list.
    """
    axes_of_inputs, axes_of_outputs = (part.split() for part in axes.split("->"))
    keep = keep or (lambda ctx, inputs, output: None)
    backward = backward or (lambda ctx, *gradients: refuse_twice(op_name))
    jvp = jvp or (lambda inputs, outputs, tangents: refuse_forward_mode(op_name))
    if isinstance(operator, torch.library.CustomOpDef):
        # PyTorch passes the gradients of a list as one list.
        operator.register_autograd(lambda ctx, *gradients: backward(ctx, *_flat(gradients)), setup_context=keep)

    class Transformed(torch.autograd.Function):
        # The arguments are those of the operator, without lists, and then the lists' lengths.

        @staticmethod
        def forward(*arguments):
            results = operator(*_nested(arguments))
            return tuple(results) if isinstance(results, list) else results

        @staticmethod
        def setup_context(ctx, inputs, output):
            keep(ctx, _nested(inputs), output)
            ctx.others = [None if isinstance(x, Tensor) else x for x in inputs]
            ctx.save_for_forward(*(x if isinstance(x, Tensor) else None for x in (*inputs, *_as_tuple(output))))

        @staticmethod
        def backward(ctx, *gradients):
            return *_flat(backward(ctx, *gradients)), None

        @staticmethod
        def jvp(ctx, *tangents):
            # PyTorch switches forward mode off in here, also that of transforms around this one.
            with forward_ad._set_fwd_grad_enabled(True):
                tensors = [None if x is None else forward_ad.unpack_dual(x).primal for x in ctx.saved_tensors]
                count = len(ctx.others)
                inputs = [other if x is None else x for x, other in zip(tensors[:count], ctx.others, strict=True)]
                results = jvp(_nested(inputs), tensors[count:], _nested((*tangents[:-1], inputs[-1])))
            return results if isinstance(results, Tensor) else tuple(results)

        @staticmethod
        def vmap(info, in_dims, *arguments):
            *inputs, lengths = arguments
            spread = zip(axes_of_inputs, lengths, strict=True)
            axes = [names for names, length in spread for _ in range(1 if length is None else length)]
            calls, dims = info.batch_size, in_dims[:-1]
            differing = [names for names, dim in zip(axes, dims, strict=True) if dim is not None]
            for axis in _FOLDED:
                if all(axis in names for names in (*differing, *axes_of_outputs)):
                    folded = (_fold(*x, axis, calls) for x in zip(inputs, dims, axes, strict=True))
                    return _unfold(run(*_nested((*folded, lengths))), axes_of_outputs, axis, calls)
            results = []
            for i in range(calls):
                one = (x if dim is None else x.select(dim, i) for x, dim in zip(inputs, dims, strict=True))
                results.append(run(*_nested((*one, lengths))))
            if isinstance(results[0], Tensor):
                return torch.stack(results), 0
            stacks = tuple(None if x[0] is None else torch.stack(x) for x in zip(*results, strict=True))
            return stacks, (0,) * len(stacks)

    # Dynamo can't trace a function with a rule for forward mode, and leaves what is transformed uncompiled.
    @torch.compiler.disable
    def transformed(*arguments):
        lengths = tuple(len(x) if isinstance(x, list) else None for x in arguments)
        return Transformed.apply(*_flat(arguments), lengths)

    def run(*arguments):
        return transformed(*arguments) if is_active() else operator(*arguments)

    return run


def is_active() -> bool:
    """Whether a transform may be at work."""
    # Forward mode may be entered without `torch.func`.
    return is_forward_mode_active() or torch._C._are_functorch_transforms_active()


def is_forward_mode_active() -> bool:
    """Whether tensors may have tangents, at any level."""
    # Looking for a tangent in each tensor would take microseconds.
    return forward_ad._current_level >= 0


def refuse_forward_mode(op_name: str):
    """Raise the error of an operator without a rule for forward mode.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(
        f"{op_name}: forward mode (torch.func.jvp, torch.func.jacfwd, torch.autograd.forward_ad) has no rule; "
        "use backward mode (torch.func.vjp, torch.autograd.grad). Got a tensor with a tangent."
    )


def refuse_twice(op_name: str):
    """Raise the error of an operator that is differentiable once.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(
        f"{op_name}: on PyTorch it must be differentiated at most once. Got a derivative of its derivative."
    )


class _Once(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, op_name):
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, ctx.op_name = inputs

    @staticmethod
    def backward(ctx, gradient):
        refuse_twice(ctx.op_name)

    @staticmethod
    def jvp(ctx, tangent, _):
        refuse_twice(ctx.op_name)


def once(op_name: str, tensors) -> list[Tensor]:
    """The same derivatives; differentiating them raises the error of `refuse_twice`."""
    return [_Once.apply(x, op_name) for x in tensors]


def _flat(arguments):
    """The tensors of lists in place of the lists."""
    return [x for argument in arguments for x in (argument if isinstance(argument, list) else [argument])]


def _nested(arguments):
    """The arguments of which `_flat` made all but the last, which are the lengths of lists."""
    *flat, lengths = arguments
    rest = iter(flat)
    return tuple(next(rest) if length is None else [next(rest) for _ in range(length)] for length in lengths)


def _as_tuple(results):
    return (results,) if isinstance(results, Tensor) else tuple(results)


def _fold(x, dim, names, axis, calls):
    """The arguments of all calls, side by side along an axis; `dim` is where they differ, None if they are the same."""
    if axis not in names or not isinstance(x, Tensor):
        return x
    place = _place(names, axis, x.ndim - (dim is not None))
    if dim is None:
        x = x.unsqueeze(place).expand(*x.shape[:place], calls, *x.shape[place:])
    else:
        x = x.movedim(dim, place)
    return x.flatten(place, place + 1)


def _unfold(results, axes, axis, calls):
    """The outputs with the calls' axis apart, and its place."""
    tensors = _as_tuple(results)
    axes = axes * len(tensors) if len(axes) == 1 else axes
    places = tuple(_place(names, axis, x.ndim) for x, names in zip(tensors, axes, strict=True))
    apart = tuple(x.unflatten(i, (calls, x.shape[i] // calls)) for x, i in zip(tensors, places, strict=True))
    return (apart[0], places[0]) if isinstance(results, Tensor) else (apart, places)


def _place(names, axis, ndim):
    """The index of a named axis."""
    index, others = names.index(axis), names.find("*")
    return index if others in (-1, *range(index, len(names))) else ndim - len(names) + index
