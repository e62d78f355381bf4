"""FlexAttention's kernels, as PyTorch writes them for GPUs that aren't there, and the shared memory that they need."""

import contextlib
import copy
from types import SimpleNamespace
from unittest import mock

import torch
import triton
from torch._dynamo.backends.common import aot_autograd
from torch._inductor import select_algorithm
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.graph import GraphLowering
from torch._inductor.runtime.hints import DeviceProperties
from torch._inductor.virtualized import V
from torch.nn.attention import flex_attention
from torch.utils._pytree import tree_map
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

GPU = torch.device("cuda", 0)


def shared_memory(attend, arguments, capability: tuple[int, int], wanted: str) -> int:
    """The bytes of shared memory of a kernel.

    Args:
        attend: a function of the arguments that calls FlexAttention once.
        arguments: tensors on a CPU.
        capability: NVIDIA's number of a GPU.
        wanted: `"flex_attention"`, or `"flex_attention_backward"`.
    """
    modules = {}
    generate = select_algorithm.TritonTemplate.generate_and_load

    def generate_and_keep(template, *args, **kwargs):
        result = generate(template, *args, **kwargs)
        modules[template.name] = result.mod
        return result

    def lower(graph, inputs):
        """Lower a graph of a CPU as if for the GPU, up to the kernels' sources; return it to be run on the CPU."""
        mode = next(node.meta["val"].fake_mode for node in graph.graph.nodes if node.op == "placeholder")
        there = _on_gpu(copy.deepcopy(graph), mode)
        inputs = [_moved(x, mode) for x in inputs]
        patch = mock.patch.object(select_algorithm.TritonTemplate, "generate_and_load", generate_and_keep)
        with _pretended(capability), patch, V.set_fake_mode(mode):
            lowering = GraphLowering(there, example_inputs=inputs, shape_env=mode.shape_env)
            with V.set_graph_handler(lowering):
                lowering.run(*inputs)
        return graph.forward

    backend = aot_autograd(fw_compiler=lower, bw_compiler=lower, decompositions=select_decomp_table())
    torch._dynamo.reset()
    # On a CPU it has no gradient.
    with mock.patch.object(flex_attention, "_validate_device", lambda *_: None):
        outputs = torch.compile(attend, fullgraph=True, dynamic=False, backend=backend)(*arguments)
        outputs.sum().backward()
    return _compiled(modules[wanted], capability).metadata.shared


def _compiled(module, capability):
    (kernel,) = (x for x in vars(module).values() if hasattr(x, "triton_meta"))
    (config,), (attributes,) = kernel.configs, kernel.triton_meta["configs"]
    signature, constants = kernel.triton_meta["signature"], kernel.triton_meta.get("constants", {})
    source = ASTSource(kernel.fn, signature=dict(signature), constexprs=dict(constants), attrs=attributes)
    options = {"num_warps": config.num_warps, "num_stages": config.num_stages}
    return triton.compile(source, target=GPUTarget("cuda", 10 * capability[0] + capability[1], 32), options=options)


@contextlib.contextmanager
def _pretended(capability):
    """A GPU's properties, as PyTorch reads them while it writes kernels."""
    major, minor = capability
    properties = DeviceProperties("cuda", 0, 100, 10 * major + minor, major, 2**16, 2048, 1024, 32)
    of_torch = SimpleNamespace(gcnArchName="", **properties._asdict())
    with (
        mock.patch.object(torch.cuda, "get_device_capability", lambda *_: capability),
        mock.patch.object(torch.cuda, "get_device_properties", lambda *_: of_torch),
        mock.patch.object(torch.cuda, "current_device", lambda: 0),
        mock.patch.object(DeviceProperties, "create", lambda _: properties),
        mock.patch("torch.utils._triton.triton_hash_with_backend", lambda: "none"),
    ):
        yield


def _moved(x, mode):
    if not isinstance(x, torch.Tensor):
        return x
    with mode:
        return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=GPU)


def _on_gpu(graph, mode):
    for module in (x for x in graph.modules() if isinstance(x, torch.fx.GraphModule)):
        for node in module.graph.nodes:
            if "val" in node.meta:
                node.meta["val"] = tree_map(lambda x: _moved(x, mode), node.meta["val"])
            node.kwargs = {key: GPU if isinstance(x, torch.device) else x for key, x in node.kwargs.items()}
        module.recompile()
    return graph
