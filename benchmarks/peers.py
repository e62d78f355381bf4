"""Other packages' scans, with the layout and the arguments that each wants.

A peer gets its arguments ready: what its own models would never compute, such as a transposed copy, is not counted. A
loop over time under `torch.compile` is not among them, because it is unrolled to one program of thousands of steps.
"""

import importlib
import importlib.util
from collections.abc import Callable
from typing import NamedTuple

from timing import BACKEND, device


class Peer(NamedTuple):
    """How another package computes an op, such as `linear_scan(decay, inputs)`."""

    package: str
    #: Of a shape (B, T, D): the function to time.
    function: Callable
    #: Of (decay, inputs): its arguments.
    arguments: Callable = lambda *tensors: tensors
    #: Of a gradient of (B, T, D): the gradient of its outputs.
    gradient: Callable = lambda gradient: gradient
    #: Whether it can compute a case.
    serves: Callable = lambda case: True
    #: Whether it is a Python loop over time, which launches kernels for every step.
    is_loop: bool = False

    @property
    def is_installed(self) -> bool:
        """Whether the package can be imported."""
        return importlib.util.find_spec(self.package) is not None


def of_recurrentgemma(shape):
    """DeepMind's scan on JAX, as in its models."""
    from recurrentgemma.jax import scan

    return lambda decay, inputs: scan.linear_scan(x=inputs, a=decay)[0]


def of_transformers(shape):
    """The scan of transformers' RecurrentGemma, a Python loop, without its gates."""
    from transformers import RecurrentGemmaConfig
    from transformers.models.recurrent_gemma.modeling_recurrent_gemma import RecurrentGemmaRglru

    width = shape[2]
    unit = RecurrentGemmaRglru(RecurrentGemmaConfig(lru_width=width, num_attention_heads=1, hidden_size=width))

    def scan(decay, inputs):
        import torch

        reset = torch.zeros((*decay.shape[:2], 1), dtype=torch.bool, device=decay.device)
        return unit._rnn_scan(inputs, decay, reset, None)[0]

    return scan


def of_accelerated_scan(shape):
    """Its reference on a CPU, its warp kernel on a GPU; both need channels before time."""
    return importlib.import_module(f"accelerated_scan.{'ref' if device() == 'cpu' else 'warp'}").scan


def of_accelerated_scan_with_copies(shape):
    """The same in a model whose channels are last: two copies of arguments and one of outputs."""
    scan = of_accelerated_scan(shape)
    return lambda decay, inputs: scan(*map(transposed, (decay, inputs))).transpose(1, 2).contiguous()


def of_chunk_hgrn(shape):
    """HGRN's scan in chunks."""
    from fla.ops.hgrn import chunk_hgrn

    return lambda inputs, log_decay: chunk_hgrn(inputs, log_decay)[0]


def of_fused_recurrent_hgrn(shape):
    """HGRN's scan step by step."""
    from fla.ops.hgrn import fused_recurrent_hgrn

    return lambda inputs, log_decay: fused_recurrent_hgrn(inputs, log_decay)[0]


def of_delta_rule(shape):
    """Qwen3-Next's delta rule of transformers, in chunks, without its norms of queries and keys."""
    from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule

    return lambda query, key, value, log_decay, rates: torch_chunk_gated_delta_rule(
        query, key, value, g=log_decay, beta=rates
    )[0]


def of_mamba2_chunk_scan(shape):
    """Mamba-2's chunks in transformers, for A of -1 and steps of any size."""
    import torch
    from transformers.models.mamba2.modeling_mamba2 import mamba2_chunk_scan

    rate = -torch.ones(shape[2])
    return lambda inputs, steps, key, query: mamba2_chunk_scan(inputs, steps, rate, key, query, chunk_size=256)


def in_steps(query, key, value, log_decay):
    """Mamba-2's arguments, in which a step decays the state and scales what enters it."""
    return value / -log_decay, -log_decay[..., 0], key, query


def transposed(x):
    """Channels before time, in a memory of its own."""
    return x.transpose(1, 2).contiguous()


def in_logarithms(decay, inputs):
    """HGRN's arguments; its models compute the logarithm of the decay."""
    return inputs, decay.log()


def channels_first(decay, inputs):
    """The arguments of accelerated_scan."""
    return transposed(decay), transposed(inputs)


#: By op and backend.
PEERS = {
    ("linear_scan", "jax"): {"recurrentgemma": Peer("recurrentgemma", of_recurrentgemma)},
    ("linear_scan", "torch"): {
        "transformers _rnn_scan": Peer("transformers", of_transformers, is_loop=True),
        "accelerated_scan": Peer("accelerated_scan", of_accelerated_scan, channels_first, transposed),
        "accelerated_scan with transposed copies": Peer("accelerated_scan", of_accelerated_scan_with_copies),
    },
    ("delta_rule", "torch"): {"transformers torch_chunk_gated_delta_rule": Peer("transformers", of_delta_rule)},
    ("gated_linear_attention", "torch"): {
        "transformers mamba2_chunk_scan": Peer(
            "transformers", of_mamba2_chunk_scan, in_steps, serves=lambda case: not case.by_channel
        ),
    },
}
#: Those that need a GPU.
ON_GPU = {
    ("linear_scan", "torch"): {
        "fla chunk_hgrn": Peer("fla", of_chunk_hgrn, in_logarithms),
        "fla fused_recurrent_hgrn": Peer("fla", of_fused_recurrent_hgrn, in_logarithms),
    },
}


def peers(op_name: str) -> dict[str, Peer]:
    """The peers of an op on the active backend and device, installed or not."""
    key = op_name, BACKEND
    return {**PEERS.get(key, {}), **({} if device() == "cpu" else ON_GPU.get(key, {}))}
