"""A batch whose rows several processes of PyTorch share: its loss is that of all rows, and so are its gradients."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np
import torch
from torch.utils.weak import WeakTensorKeyDictionary

from keras_griffin.models.parameters import OverProcesses
from keras_griffin.models.saving.checksums import array_crc32


class SharedBatch:
    """The processes that share each batch of a model, B / P rows each; `index` is this one of `count`."""

    def __init__(self, group=None):
        self._group = group
        self.index = torch.distributed.get_rank(group)
        self.count = torch.distributed.get_world_size(group)
        self._is_alone = False

    def loss_of_all(self, loss: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The loss of all rows, from the mean loss of these and their weight.

        Its gradient is that of these rows' part times P, so that the processes' mean is the gradient of the whole.
        """
        if self._is_alone:
            return loss
        weight = weight.to(loss.dtype)
        sums = torch.stack([loss.detach() * weight, weight])
        torch.distributed.all_reduce(sums, group=self._group)
        total = torch.where(sums[1] > 0, sums[1], 1.0)
        own = loss * (weight * self.count / total)
        # The same bits in every process: what is added is 0, with a gradient.
        return sums[0] / total + (own - own.detach())

    def mean_of_all(self, tensor: torch.Tensor) -> torch.Tensor:
        """The mean of a tensor over the processes."""
        if self._is_alone:
            return tensor
        mean = tensor / self.count
        torch.distributed.all_reduce(mean, group=self._group)
        return mean

    def check_shared(self, model: keras.Model) -> None:
        """Refuse a gradient of one process, which would change its weights alone, or wait for the others."""
        if self._is_alone and torch.is_grad_enabled():
            raise ValueError(
                f"{type(model).__name__}: gradients are not shared within gathered(model): train outside of it, and "
                "inside call the model within torch.no_grad(). Got a call that records gradients."
            )

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """A `with` block in which this process computes without the others."""
        self._is_alone = True
        try:
            yield
        finally:
            self._is_alone = False


class WholeParameters(OverProcesses):
    """The weights of a language model, whole in every process: see `keras_griffin.distribution.data_parallel`."""

    def __init__(self, model: keras.Model):
        check_same_everywhere("data_parallel", model.weights)
        self.batch = SharedBatch()
        self._hooks = WeakTensorKeyDictionary()

    def run(self, model: keras.Model, function: Callable, *args, **kwargs):
        """Call a function that computes with the weights of a model, all of whose gradients are averaged."""
        # Keras infers shapes with stand-ins.
        has_stand_ins = any(variable.value.is_meta for variable in model.trainable_variables)
        if torch.is_grad_enabled() and not has_stand_ins:
            self.batch.check_shared(model)
            # Adapters may be newer than the last call.
            new = [variable for variable in model.trainable_variables if variable.value not in self._hooks]
            if new:
                check_same_everywhere("data_parallel", new)
            for variable in new:
                self._hooks[variable.value] = variable.value.register_hook(self.batch.mean_of_all)
        return function(*args, **kwargs)

    def reset_on_error(self):
        """Nothing is left over after a failure."""
        return contextlib.nullcontext()

    def check_whole(self, function_name: str) -> None:
        """The weights are whole."""

    def gathered(self, model: keras.Model):
        """A `with` block in which each process computes on its own."""
        return self.batch.alone()


def check_same_everywhere(function_name: str, variables: Iterable[keras.Variable]) -> None:
    """Check that there is a process group, and that all processes have the same weights."""
    if not torch.distributed.is_initialized():
        raise ValueError(f"{function_name}: torch.distributed.init_process_group must have been called. Got no group.")
    own = [array_crc32(np.asarray(weight)) for weight in variables]
    of_all = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(of_all, own)
    different = [index for index, others in enumerate(of_all) if others != of_all[0]]
    if different:
        raise ValueError(
            f"{function_name}: the processes must begin with the same weights, by keras.utils.set_random_seed or from "
            f"a file. Got different ones in process {', '.join(map(str, different))}."
        )
