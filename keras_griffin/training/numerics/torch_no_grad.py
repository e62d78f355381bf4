"""Compute on PyTorch without recording what a gradient would need."""

from torch import no_grad

__all__ = ["no_grad"]
