"""FSDP2 under Keras: the value of a variable is the current tensor in its group of parameters.

PyTorch gathers the parameters of a module around its call. Keras computes with variables and calls no modules, so the
parameters move to modules that only hold them, one for each block, inside whose call the block's methods run.
"""

import contextlib
import functools
import math
import warnings
import weakref
from collections.abc import Callable, Iterable

import keras
import torch
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from keras_griffin.distribution.torch_data_parallel import SharedBatch, check_same_everywhere
from keras_griffin.generation.compilers.compile import forget
from keras_griffin.models.parameters import Divided, OverProcesses

#: The methods of a block that compute with its variables.
_METHODS = ("call", "advance")
# The output of a group may be a view; nothing here writes to it.
warnings.filterwarnings("ignore", message=r"FSDP2-wrapped module \(FSDPParameterGroup\) returned a view tensor")


class DividedVariable(Divided):
    """A variable of which each process holds a part: `parts`, a `DTensor`, and while gathered the `whole` value."""

    @property
    def _value(self):
        return self.parts if self.whole is None else self.whole

    def _direct_assign(self, value):
        # Every process has the whole value, and takes its part without communication.
        parts = value if isinstance(value, DTensor) else _divided(value, self.parts)
        with torch.no_grad():
            self.parts.copy_(parts)
            if self.whole is not None:
                self.whole.copy_(value)

    def __array__(self, dtype=None):
        value = self._value
        array = keras.ops.convert_to_numpy(value.full_tensor() if isinstance(value, DTensor) else value)
        return array if dtype is None else array.astype(dtype)


class DividedWeight(DividedVariable):
    """A divided variable whose value is whole while its group computes."""

    @property
    def _value(self):
        return self.group.parameters_by_path[self.path] if self.whole is None else self.whole


class ParameterGroup(torch.nn.Module):
    """The values of variables as parameters that are gathered together before use, and freed together afterwards."""

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
        """Call a function with the variables gathered."""
        if self.is_gathered() or self.has_stand_ins():
            return function(*args, **kwargs)
        result = self(function, *args, **kwargs)
        # PyTorch keeps the outermost group gathered for a gradient, even if there will be none.
        if not torch.is_grad_enabled():
            self.reshard()
        return result

    def forward(self, function, *args, **kwargs):
        """Call the function, with PyTorch's hooks around it."""
        return function(*args, **kwargs)

    def has_stand_ins(self) -> bool:
        """Whether Keras is inferring shapes, with stand-ins for values."""
        return self.smallest.value.is_meta

    def is_gathered(self) -> bool:
        """Whether everything is gathered, inside the `with` block of `gathered`."""
        return self.smallest.whole is not None


class DividedParameters(OverProcesses):
    """The weights of a language model, divided: see `keras_griffin.distribution.fully_shard`."""

    divides = True

    def __init__(self, model: keras.Model, mesh, reshard_after_forward):
        if not hasattr(FSDPModule, "reset_iter_state"):
            raise ValueError(
                "fully_shard: PyTorch must have FSDPModule.reset_iter_state, as of 2.13, to recover after a failed "
                f"step. Got {torch.__version__}."
            )
        check_same_everywhere("fully_shard", model.weights)
        if mesh is None:
            device = model.token_embedding.embeddings.value.device.type
            mesh = torch.distributed.device_mesh.init_device_mesh(device, (torch.distributed.get_world_size(),))
        self.batch = SharedBatch(mesh.get_group() if mesh.ndim == 1 else None)
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
        """Call a function that computes with the weights of the calling model."""
        if self.root.has_stand_ins():
            return function(*args, **kwargs)
        self._prepare(model)
        self.batch.check_shared(model)
        with self.reset_on_error():
            # PyTorch's groups do not run inside `gathered`, and have nothing to reset.
            self._has_run |= not self.root.is_gathered()
            return self.root.run(function, *args, **kwargs)

    @contextlib.contextmanager
    def reset_on_error(self):
        """A `with` block after whose failure the next step starts afresh."""
        # PyTorch would continue the failed step, with silently wrong gradients.
        has_failed = True
        try:
            yield
            has_failed = False
        finally:
            if has_failed and self._has_run:
                # Gathered parameters would keep their partial gradients.
                self.root.zero_grad()
                self.root.reset_iter_state()

    def check_whole(self, function_name: str) -> None:
        """Raise a ValueError unless the call is inside `run` or `gathered`."""
        if isinstance(self.root.smallest.value, DTensor) and not self.root.has_stand_ins():
            raise ValueError(
                f"{function_name}: the weights must be whole. Got weights sharded by fully_shard: "
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
            with self.batch.alone():
                yield
        finally:
            for variable in divided:
                variable.whole = None
            # What was recorded of a decoding step holds the whole weights.
            for each in self._prepared:
                forget(each)

    def _prepare(self, model):
        """Replace the parameters of a model's modules by parts of its weights, and its optimizer's slots by parts."""
        whole = [weight.path for weight in model.trainable_variables if not isinstance(weight, DividedWeight)]
        if whole:
            raise ValueError(
                f"{type(model).__name__}: every trainable weight must be sharded by fully_shard, or each process would "
                f"train its own copy; call it when all weights exist. Got unsharded {', '.join(whole)}."
            )
        if model not in self._prepared:
            modules = [module for layer in (model, *model.layers) for module in layer.modules()]
            for layer in filter(lambda module: isinstance(module, keras.Layer), modules):
                for variable in layer.variables:
                    if isinstance(variable, DividedWeight):
                        layer.torch_params[variable.path] = variable.parts
            self._prepared.add(model)
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None and optimizer.built:
            for slot in optimizer.variables:
                if slot.ndim and not isinstance(slot, DividedVariable):
                    _become(DividedVariable, slot, _divided(slot.value, self.root.smallest.parts))


def _become(kind, variable, parts):
    """Make a variable a divided one, in place."""
    del variable._value
    variable.parts, variable.whole = parts, None
    variable.__class__ = kind


def _floats(layer):
    """The floating-point weights, which may have a gradient."""
    return [weight for weight in layer.weights if weight.value.is_floating_point()]


def _divided(value, like):
    """This process's part of a value that every process has in full."""
    return distribute_tensor(value.detach(), like.device_mesh, like.placements, src_data_rank=None)


def _run_in(group, method):
    @functools.wraps(method)
    def run(*args, **kwargs):
        return group.run(method, *args, **kwargs)

    return run
