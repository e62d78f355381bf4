"""A function of tensors as PyTorch's operations in one of its calls, replayed without the function.

What every replay would repeat is left out: constants, and views of weights. TorchScript runs the rest: its interpreter,
in C++, spends a microsecond on an operation where Python spends several.
"""

import operator
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

_aten = torch.ops.aten


@torch.no_grad()
def record(function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]) -> Callable[..., Sequence[Tensor]]:
    """A function that does to contiguous inputs of the same shapes and dtypes what `function` does to these.

    `function` is called once; whatever it decides or computes without tensors is fixed. Tensors from elsewhere, such as
    weights, are read at every call, where they are now. No gradients are recorded, and the result must run without.
    """
    # Two inputs that are one tensor here may be two in another call.
    inputs = [tensor.clone(memory_format=torch.contiguous_format) for tensor in inputs]
    module = make_fx(lambda *given: tuple(function(*given)))(*inputs)
    ready = _computed_once(module)
    with warnings.catch_warnings():
        # TorchScript is deprecated, but what PyTorch prefers takes half a minute to compile. The second from 2.15 on.
        for category in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        program = torch.jit.trace(module, (*inputs, *ready), check_trace=False)

    def run(*given):
        # Optimising takes longer than it saves in some thousand calls.
        with torch.jit.optimized_execution(False):
            return program(*given, *ready)

    return run


def _computed_once(module: fx.GraphModule) -> list[Tensor]:
    """Make what follows from constants alone, and views of weights, further arguments of a graph; returns them."""
    graph = module.graph
    #: By node, the one in whose memory it lies.
    roots: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        roots[node] = roots[node.args[0]] if _is_view(node) else node
    # The caller may change results.
    changed = {roots[x] for node in graph.nodes if not _is_fixed(node) for x in (node, *node.all_input_nodes)}
    values, constants = {}, set()
    for node in graph.nodes:
        read = node.all_input_nodes
        if node.op == "get_attr":
            values[node] = getattr(module, node.target)
            if all(user.target is _aten.lift_fresh_copy.default for user in node.users):
                constants.add(node)
        elif node.op == "call_function" and roots[node] not in changed:
            is_constant = constants.issuperset(read)
            if is_constant or (_is_view(node) and values.keys() >= set(read)):
                arguments, options = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
                values[node] = node.target(*arguments, **options)
                constants.update([node] if is_constant else [])
    first = next(node for node in graph.nodes if node.op != "placeholder")
    arguments = {}
    for node, value in values.items():
        if isinstance(value, Tensor):
            with graph.inserting_before(first):
                argument = graph.placeholder(f"ready_{len(arguments)}")
            node.replace_all_uses_with(argument)
            arguments[argument] = value
    graph.eliminate_dead_code()
    for argument in [argument for argument in arguments if not argument.users]:
        graph.erase_node(argument)
        del arguments[argument]
    module.recompile()
    return list(arguments.values())


def _is_view(node):
    """Whether its results lie in the memory of its first argument, which it leaves as it is."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return node.target is operator.getitem
    aliases = [result.alias_info for result in node.target._schema.returns]
    return bool(aliases) and all(alias is not None and not alias.is_write for alias in aliases)


def _is_fixed(node):
    """Whether its results follow from its arguments, which it leaves as they are."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return node.op != "output"
    return not node.target._schema.is_mutable and torch.Tag.nondeterministic_seeded not in node.target.tags
