"""Run what generation runs again and again, on PyTorch, without recording gradients."""

import weakref

import torch


def compile_for_model(function, model):
    """`function(model, state, ...)` without its first argument.

    `no_grad` rather than `inference_mode`, so that training may go on from a state that generation returned.
    """
    reference = weakref.ref(model)

    @torch.no_grad()
    def run(state, *arguments):
        return function(reference(), state, *arguments)

    return run
