"""Every temporal layer and mixer is put through every law; and broken layers are caught."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin import layers, mixers
from keras_griffin.layers import RecurrentUnitState, SequenceLayer
from keras_griffin.models import GriffinConfig
from keras_griffin.ops import linear_scan
from keras_griffin.testing import contracts
from keras_griffin.testing.contracts import LAWS, Subject

# What NumPy says of NaN in the logarithm of a sum.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
CONFIG = GriffinConfig(vocabulary_size=7, width=12, num_layers=2, num_heads=3, window=4, num_gate_blocks=2)
SUBJECTS = {
    "RGLRU": Subject(partial(layers.RGLRU, return_sequences=True), 12, ("hidden",)),
    "TemporalConv1D": Subject(layers.TemporalConv1D, 5),
    "TemporalConv1D kernel 1": Subject(lambda **kwargs: layers.TemporalConv1D(1, **kwargs), 5),
    "LocalMQA window 1": Subject(lambda **kwargs: mixers.LocalMQA(2, 1, **kwargs), 8),
    "LocalMQA long window": Subject(lambda **kwargs: mixers.LocalMQA(2, 100, **kwargs), 8),
    "SparseMQA fixed": Subject(lambda **kwargs: mixers.SparseMQA(2, 3, "fixed", 1, **kwargs), 8),
    "LocalMQA grouped": Subject(lambda **kwargs: mixers.LocalMQA(4, 3, num_key_value_heads=2, **kwargs), 16),
    "ResidualBlock": Subject(
        lambda **kwargs: layers.ResidualBlock(mixers.LocalMQA(2, 3, **kwargs), hidden_width=6, **kwargs), 8
    ),
}
#: Arguments with which so few steps meet all that a mixer does; and an epsilon with which the norm of a head does not
#: magnify the rounding of queries and keys that are nearly orthogonal.
OPTIONS = {"sparse_mqa": {"stride": 4}, "mlstm": {"expand": 1, "norm_epsilon": 1.0}}
for name in mixers.mixer_names():
    options = {name: OPTIONS[name]} if name in OPTIONS else {}
    config = CONFIG.replace(block_pattern=(name,), mixer_options=options)
    mixer, arguments = config.mixer_class(name), config.mixer_arguments(name)
    float32 = tuple(path for path, part in mixer.state_of(12, 1, **arguments).items() if part.dtype == "float32")
    SUBJECTS[name] = Subject(partial(mixer, **arguments), 12, float32, np.nan if mixer.blocks_nan else 1e6)
# The states of these grow: that is why the paper replaces global attention.
BROKEN_ON_PURPOSE = {(name, contracts.state_does_not_grow) for name in ("global_mqa", "sparse_mqa", "SparseMQA fixed")}


def case(name, law):
    """A parameter of the tests below, deselected where there are no gradients to compare."""
    marks = [pytest.mark.trainable] if law is contracts.gradients_survive_cuts else []
    return pytest.param(name, law, marks=marks, id=f"{getattr(name, '__name__', name)}-{law.__name__}")


@pytest.mark.parametrize(("name", "law"), [case(name, law) for name in SUBJECTS for law in LAWS])
def test_law(name, law):
    if (name, law) in BROKEN_ON_PURPOSE:
        with pytest.raises(AssertionError):
            law(SUBJECTS[name])
    else:
        law(SUBJECTS[name])


class RunningSum(SequenceLayer):
    """A correct layer, the running sum, that the faults below spoil."""

    def build(self, inputs_shape):
        self.width = inputs_shape[-1]
        self.scale = self.add_weight(shape=(self.width,), initializer="ones", autocast=False)

    def initial_state(self, batch_size):
        return RecurrentUnitState(ops.zeros((batch_size, self.width), "float32"))

    def advance(self, inputs, state, *, reset=None, mask=None):
        inputs = ops.cast(self.prepare(inputs, reset, mask)[0], "float32") * self.scale
        sums = ops.cumsum(ops.concatenate([self.before(state.hidden)[:, None], inputs], axis=1), axis=1)
        outputs, hidden = self.after(ops.cast(sums[:, 1:], self.compute_dtype), sums[:, -1])
        return outputs, RecurrentUnitState(hidden)

    def before(self, hidden):
        return hidden

    def after(self, outputs, hidden):
        return outputs, hidden


class LooksAhead(RunningSum):
    def after(self, outputs, hidden):
        return outputs + 0.0 * outputs[:, -1:], hidden


class Forgets(RunningSum):
    def before(self, hidden):
        return ops.zeros_like(hidden)


class CutsGradients(RunningSum):
    def before(self, hidden):
        return ops.stop_gradient(hidden)


class SeesPadding(RunningSum):
    def after(self, outputs, hidden):
        return outputs, hidden + 1.0


class RoundsItsState(RunningSum):
    def after(self, outputs, hidden):
        return outputs, ops.cast(hidden, self.compute_dtype)


class RoundsItsStateOnTheWay(RunningSum):
    def after(self, outputs, hidden):
        return outputs, ops.cast(ops.cast(hidden, self.compute_dtype), "float32")


class CallsDifferently(RunningSum):
    def call(self, inputs, reset=None, mask=None):
        return super().call(inputs, reset, mask) + 1.0


class ForgetsByAFactor(RunningSum):
    """Zero times NaN is NaN."""

    def advance(self, inputs, state, *, reset=None, mask=None):
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        decay = ops.ones_like(inputs) if reset is None else ops.where(reset[..., None], 0.0, ops.ones_like(inputs))
        sums, hidden = linear_scan(decay, inputs * self.scale, state.hidden, mask=mask)
        return sums, RecurrentUnitState(hidden)


class DifferentiatesPadding(RunningSum):
    """Zero times the derivative at NaN is NaN."""

    def advance(self, inputs, state, *, reset=None, mask=None):
        squares = ops.convert_to_tensor(inputs) ** 2 * self.scale
        sums, hidden = linear_scan(ops.ones_like(squares), squares, state.hidden, reset=reset, mask=mask)
        return sums, RecurrentUnitState(hidden)


class Grows(RunningSum):
    def advance(self, inputs, state, *, reset=None, mask=None):
        outputs, _ = super().advance(inputs, RecurrentUnitState(state.hidden[:, : self.width]), reset=reset, mask=mask)
        return outputs, RecurrentUnitState(ops.concatenate([state.hidden, outputs[:, -1]], axis=-1))


class LosesAnArgument(RunningSum):
    def __init__(self, speed=1, **kwargs):
        super().__init__(**kwargs)

    def get_config(self):
        return super().get_config()


BROKEN_LAYERS = [
    (LooksAhead, contracts.never_looks_ahead),
    (Forgets, contracts.cuts_change_nothing),
    (CallsDifferently, contracts.call_equals_advance),
    (RunningSum, contracts.reset_forgets),
    (ForgetsByAFactor, contracts.documents_stay_apart),
    (SeesPadding, contracts.masked_steps_change_nothing),
    (RoundsItsState, contracts.dtypes_survive_mixed_precision),
    (RoundsItsStateOnTheWay, contracts.dtypes_survive_mixed_precision),
    (Grows, contracts.state_does_not_grow),
    (CutsGradients, contracts.gradients_survive_cuts),
    (LosesAnArgument, contracts.config_rebuilds_the_layer),
]


@pytest.mark.parametrize(("broken", "law"), [case(broken, law) for broken, law in BROKEN_LAYERS])
def test_a_broken_layer_is_caught(broken, law):
    keras.saving.register_keras_serializable("keras_griffin_tests")(broken)
    with pytest.raises(AssertionError):
        law(Subject(broken, 4, ("hidden",)))


@pytest.mark.trainable
def test_a_gradient_at_padding_is_caught():
    with pytest.raises(AssertionError, match="not finite"):
        contracts.documents_stay_apart(Subject(DifferentiatesPadding, 4))


def test_a_correct_layer_passes():
    subject = Subject(RunningSum, 4, ("hidden",))
    for law in (contracts.never_looks_ahead, contracts.state_does_not_grow, contracts.dtypes_survive_mixed_precision):
        law(subject)


def test_subjects_are_the_same_each_time():
    subject = SUBJECTS["RGLRU"]
    for one, other in zip(subject.layer().get_weights(), subject.layer().get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
