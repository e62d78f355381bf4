"""FSDP2 under Keras: a variable's value is what its group of parameters holds at the moment.

PyTorch's `fully_shard` divides the parameters of a `torch.nn.Module` and runs hooks around the module's call, which
gather them before it and again for its gradient. Keras computes with variables and runs no module's hooks. So the
parameters move to modules that do nothing else, one `ParameterGroup` for each block and one for the rest; a block's
methods run inside of its group's call, and each variable asks its group for its value.
"""

import contextlib
import functools
import math
import warnings
import weakref
import zlib
from collections.abc import Callable, Iterable

import keras
import numpy as np
import torch
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

#: The methods of a block that compute with its variables.
_METHODS = ("call", "advance")
# What a group gives may be a view; nothing here writes into it.
warnings.filterwarnings("ignore", message=r"FSDP2-wrapped module \(FSDPParameterGroup\) returned a view tensor")


class DividedVariable(keras.Variable):
    """A variable of which each process holds a part.

    Attributes:
        parts: a `DTensor`.
        whole: the whole value, while the model is gathered; else None.
    """

    @property
    def _value(self):
        return self.parts if self.whole is None else self.whole

    def _direct_assign(self, value):
        # Every process has the whole value, and takes its part without asking another.
        parts = value if isinstance(value, DTensor) else _divided(value, self.parts)
        with torch.no_grad():
            self.parts.copy_(parts)
            if self.whole is not None:
                self.whole.copy_(value)

    def __array__(self, dtype=None):
        value = self._value
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        array = keras.ops.convert_to_numpy(whole)
        return array if dtype is None else array.astype(dtype)


class DividedWeight(DividedVariable):
    """One whose value is whole while its group computes."""

    @property
    def _value(self):
        return self.group.parameters_by_path[self.path] if self.whole is None else self.whole


class ParameterGroup(torch.nn.Module):
    """Parameters that are gathered together before they are used, and freed together afterwards.

    Args:
        variables: whose values they are from now on.
        groups: others, whose parameters this one's function uses too.
        options: of PyTorch's `fully_shard`.
    """

    def __init__(self, variables: list[keras.Variable], groups: Iterable["ParameterGroup"], options: dict):
        super().__init__()
        self.parameters_by_path = torch.nn.ParameterDict({variable.path: variable.value for variable in variables})
        self.groups = torch.nn.ModuleList(groups)
        fully_shard(self, **options)
        for variable in variables:
            variable.group = self
            _become(DividedWeight, variable, self.parameters_by_path[variable.path])
        self.smallest = min(variables, key=lambda variable: math.prod(variable.shape))

    def run(self, function: Callable, *args, **kwargs):
        """What a function gives, with the variables whole."""
        if self.is_gathered() or self.has_stand_ins():
            return function(*args, **kwargs)
        result = self(function, *args, **kwargs)
        # PyTorch keeps the outermost group whole for a gradient, also where there will be none.
        if not torch.is_grad_enabled():
            self.reshard()
        return result

    def forward(self, function, *args, **kwargs):
        """What PyTorch runs its hooks around."""
        return function(*args, **kwargs)

    def has_stand_ins(self) -> bool:
        """Whether Keras asks for shapes alone, and shows stand-ins for values."""
        return self.smallest.value.is_meta

    def is_gathered(self) -> bool:
        """Whether all is whole, in the `with` block of `gathered`."""
        return self.smallest.whole is not None

    def is_whole(self) -> bool:
        """Whether the variables can be computed with."""
        return self.has_stand_ins() or not isinstance(self.smallest.value, DTensor)


class DividedParameters:
    """The weights of a language model, divided: see `keras_griffin.distribution.fully_shard`.

    Args:
        model: a `LanguageModel`.
        mesh: of processes; None for all of them.
        reshard_after_forward: as for PyTorch's `fully_shard`.

    Raises:
        ValueError: there is no process group, PyTorch is too old, or the processes have other weights.
    """

    def __init__(self, model: keras.Model, mesh, reshard_after_forward):
        if not torch.distributed.is_initialized():
            raise ValueError("fully_shard: torch.distributed.init_process_group must have been called. Got no group.")
        if not hasattr(FSDPModule, "reset_iter_state"):
            raise ValueError(
                "fully_shard: PyTorch must know FSDPModule.reset_iter_state, as 2.13 does, to go on after a step that "
                f"failed. Got {torch.__version__}."
            )
        _check_same_everywhere(model)
        if mesh is None:
            device = model.token_embedding.embeddings.value.device.type
            mesh = torch.distributed.device_mesh.init_device_mesh(device, (torch.distributed.get_world_size(),))
        options = {"mesh": mesh, "reshard_after_forward": reshard_after_forward}
        blocks = [ParameterGroup(_floats(block), (), options) for block in model.blocks]
        rest = [weight for weight in _floats(model) if not isinstance(weight, DividedWeight)]
        self.root = ParameterGroup(rest, blocks, options)
        for block, group in zip(model.blocks, blocks, strict=True):
            for name in _METHODS:
                setattr(block, name, _run_in(group, getattr(block, name)))
        self._prepared: weakref.WeakSet[keras.Model] = weakref.WeakSet()
        self._has_run = False
        self._prepare(model)

    def run(self, model: keras.Model, function: Callable, *args, **kwargs):
        """What a function gives that computes with the weights.

        Args:
            model: whose call it is: the language model, or one that shares its weights.
            function: called with the arguments.

        Raises:
            ValueError: a trainable weight is not divided; or a gradient is asked for where all is gathered.
        """
        if self.root.has_stand_ins():
            return function(*args, **kwargs)
        self._prepare(model)
        if self.root.is_gathered() and torch.is_grad_enabled():
            raise ValueError(
                f"{type(model).__name__}: within gathered(model) no gradient is shared: train outside of it, and call "
                "the model there within torch.no_grad(). Got a call that keeps gradients."
            )
        with self.begun_anew_after_a_fault():
            self._has_run = True
            return self.root.run(function, *args, **kwargs)

    @contextlib.contextmanager
    def begun_anew_after_a_fault(self):
        """A `with` block after whose failure the next step begins anew.

        PyTorch would go on in the one that failed, and its gradients would be wrong without a word.
        """
        has_failed = True
        try:
            yield
            has_failed = False
        finally:
            if has_failed and self._has_run:
                # What is gathered keeps the gradients that it has so far.
                self.root.zero_grad()
                self.root.reset_iter_state()

    def check_whole(self, function_name: str) -> None:
        """Refuse to compute outside of `run` and `gathered`.

        Raises:
            ValueError: so it is.
        """
        if not self.root.is_whole():
            raise ValueError(
                f"{function_name}: the weights must be whole. Got those that fully_shard has divided: "
                "call it within keras_griffin.distribution.gathered(model), in every process."
            )

    @contextlib.contextmanager
    def gathered(self, model: keras.Model):
        """A `with` block in which the weights, and the slots of a model's optimizer, are whole in each process."""
        self._prepare(model)
        variables = [*model.variables, *getattr(model.optimizer, "variables", ())]
        divided = [variable for variable in variables if isinstance(variable, DividedVariable)]
        for variable in divided:
            variable.whole = variable.parts.detach().full_tensor()
        try:
            yield
        finally:
            for variable in divided:
                variable.whole = None

    def _prepare(self, model):
        """Give a model's modules the parts of its weights, and its optimizer parts of its slots."""
        whole = [weight.path for weight in model.trainable_variables if not isinstance(weight, DividedWeight)]
        if whole:
            raise ValueError(
                f"{type(model).__name__}: each process would train its own of a weight that fully_shard has not "
                f"divided; call it once all weights are there. Got {', '.join(whole)}."
            )
        if model not in self._prepared:
            for layer in (model, *model.layers):
                for part in layer.modules():
                    _give_parts(part)
            self._prepared.add(model)
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None and optimizer.built:
            for slot in optimizer.variables:
                if slot.ndim and not isinstance(slot, DividedVariable):
                    _become(DividedVariable, slot, _divided(slot.value, self.root.smallest.parts))


def _check_same_everywhere(model):
    """Each process takes its part of its own weights: of others they would be a mixture."""
    own = [zlib.crc32(np.ascontiguousarray(weight).reshape(-1).view("uint8").data) for weight in model.weights]
    of_all = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(of_all, own)
    different = [index for index, others in enumerate(of_all) if others != of_all[0]]
    if different:
        raise ValueError(
            "fully_shard: the processes must begin with the same weights, by keras.utils.set_random_seed or from a "
            f"file. Got others than process 0's in process {', '.join(map(str, different))}."
        )


def _become(kind, variable, parts):
    """Make a divided variable of a variable."""
    del variable._value
    variable.parts, variable.whole = parts, None
    variable.__class__ = kind


def _floats(layer):
    """The weights that a gradient may reach."""
    return [weight for weight in layer.weights if weight.value.is_floating_point()]


def _divided(value, like):
    """This process's part of a value that every process has whole."""
    return distribute_tensor(value.detach(), like.device_mesh, like.placements, src_data_rank=None)


def _give_parts(module):
    """Put parts where Keras has registered whole parameters with PyTorch."""
    if isinstance(module, keras.Layer):
        for variable in module.variables:
            if isinstance(variable, DividedWeight):
                module.torch_params[variable.path] = variable.parts


def _run_in(group, method):
    @functools.wraps(method)
    def run(*args, **kwargs):
        return group.run(method, *args, **kwargs)

    return run
