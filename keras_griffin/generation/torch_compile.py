"""Run what generation runs again and again, on PyTorch: eagerly, and without recording gradients."""

import torch


def compile_advance(function, model):
    """`function(model, token_ids, mask, state)` without its first argument.

    `no_grad` rather than `inference_mode`, so that training may go on from a state that generation returned.
    """

    @torch.no_grad()
    def advance(token_ids, mask, state):
        return function(model, token_ids, mask, state)

    return advance
