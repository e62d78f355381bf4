"""The complete description of a model, which all its parts receive."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras_griffin.checks import COUNT, FLAG, FRACTION, POSITIVE, Rule, integer_from, plain
from keras_griffin.layers import Mixer
from keras_griffin.layers.initializers.decay_initializer import DECAY_INITIALIZER
from keras_griffin.layers.normalization import NORM, NORMS
from keras_griffin.mixers import find_mixer, mixer_names
from keras_griffin.names import did_you_mean


def _is_pattern(value) -> bool:
    is_list = isinstance(value, list | tuple) and len(value) > 0
    return is_list and all(isinstance(name, str) for name in value)


def _are_options(value) -> bool:
    return isinstance(value, Mapping) and all(isinstance(options, Mapping) for options in value.values())


#: The rule for a pattern, together with the names in it.
PATTERN = Rule(f"a list or tuple of mixers among {', '.join(mixer_names())}", _is_pattern)
#: The rule for options of mixers by their names.
OPTIONS = Rule("a dict of dicts", _are_options)
#: The options of a name in a pattern that are not its mixer's: which mixer it is, and whether its blocks share weights.
MIXER, SHARE = "mixer", "share"
#: Fields that may be None and then follow from others.
DERIVED = ("mlp_width", "recurrence_width", "head_dim")
#: The rule that each field must obey by itself.
RULES = {
    **dict.fromkeys(("vocabulary_size", "width", "num_layers", "num_heads"), COUNT),
    **dict.fromkeys(("num_key_value_heads", "window", "conv_kernel_size", "num_gate_blocks"), COUNT),
    **dict.fromkeys(DERIVED, COUNT.or_none()),
    "mlp_width": integer_from(0).or_none(),
    "block_pattern": PATTERN,
    "decay_initializer": DECAY_INITIALIZER,
    "rotary_fraction": FRACTION,
    "rotary_base": POSITIVE,
    "scale_embeddings": FLAG,
    "logits_soft_cap": POSITIVE.or_none(),
    "norm_epsilon": POSITIVE,
    "norm": NORM,
    "embedding_norm": FLAG,
    "tie_embeddings": FLAG,
}


@dataclass(frozen=True)
class GriffinConfig:
    """Everything that determines a model's shape and initialisation.

    Args:
        vocabulary_size: V, the number of token ids.
        width: D, the width of the residual stream.
        num_layers: the number of residual blocks.
        num_heads: N, the query heads of each attention.
        mlp_width: M, the width inside the gated MLPs; None for 3 D, 0 for blocks without an MLP.
        recurrence_width: R, the width of the RG-LRU; None for about 4 D / 3: the nearest multiple of `num_gate_blocks`,
            or of 128 from 1024 upwards.
        head_dim: H, the channels of a head; None for D / N.
        num_key_value_heads: K, dividing N.
        window: W, the number of keys that local attention sees, including the query's own.
        conv_kernel_size: taps of the temporal convolution.
        block_pattern: names of mixers, repeated and cut to `num_layers`: those in `keras_griffin.mixers.MIXERS`, those
            in `keras_griffin.layers.UNITS`, and any to which `mixer_options` gives a mixer.
        num_gate_blocks: blocks of each of the RG-LRU's gates; divides R.
        decay_initializer: `"ring"` or `"paper"`; see `keras_griffin.layers.RGLRU`.
        rotary_fraction: the fraction of each head's channels that is rotated.
        rotary_base: the base of the rotation's wavelengths.
        scale_embeddings: multiply embedded tokens by sqrt(D).
        logits_soft_cap: the bound of the logits' magnitude, or None.
        norm_epsilon: epsilon of the norms.
        norm: `"rms"`, or `"layer"` for layer normalisation.
        embedding_norm: whether embedded tokens are normalised too.
        tie_embeddings: whether the logits' table is that of the embedding.
        mixer_options: by a name in the pattern, constructor arguments of its mixer that replace those from the other
            fields: `{"local_mqa": {"window": 64}}`. A new name says with `"mixer"` which mixer it is:
            `{"wide": {"mixer": "local_mqa", "window": 2048}}`. With `"share": True` the blocks of a name are one block:
            they have the same weights, and each its own state.

    Raises:
        ValueError: a value has a wrong type or is out of range, or two don't fit together.

    Examples:
        >>> from keras_griffin.models import GriffinConfig
        >>> config = GriffinConfig(vocabulary_size=256, width=192, num_layers=6, num_heads=3)
        >>> config.recurrence_width, config.head_dim
        (256, 64)
    """

    vocabulary_size: int
    width: int
    num_layers: int
    num_heads: int
    mlp_width: int | Any = None
    recurrence_width: int | Any = None
    head_dim: int | Any = None
    num_key_value_heads: int = 1
    window: int = 1024
    conv_kernel_size: int = 4
    block_pattern: tuple[str, ...] = ("recurrent", "recurrent", "local_mqa")
    num_gate_blocks: int = 16
    decay_initializer: str = "ring"
    rotary_fraction: float = 0.5
    rotary_base: float = 10000.0
    scale_embeddings: bool = False
    logits_soft_cap: float | None = None
    norm_epsilon: float = 1e-6
    norm: str = "rms"
    embedding_norm: bool = False
    tie_embeddings: bool = True
    mixer_options: Mapping[str, Mapping] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self):
        # The dataclass is frozen for its users; fields that depend on others are filled in here, once.
        fill = object.__setattr__
        for name, rule in RULES.items():
            value = getattr(self, name)
            self._check(rule.holds(value), f"{name} must be {rule.words}", name, ending=did_you_mean(value, rule.names))
            fill(self, name, plain(value))
        self._check(OPTIONS.holds(self.mixer_options), f"mixer_options must be {OPTIONS.words}", "mixer_options")
        kinds = [self.mixer_options.get(name, {}).get(MIXER, name) for name in self.block_pattern]
        unknown = [kind for kind in kinds if not isinstance(kind, str) or kind not in mixer_names()]
        ending = did_you_mean(unknown[0], mixer_names()) if unknown else "."
        self._check(not unknown, f"block_pattern must be {PATTERN.words}", "block_pattern", ending=ending)
        fill(self, "block_pattern", tuple(map(str, self.block_pattern)))
        if self.mlp_width is None:
            fill(self, "mlp_width", 3 * self.width)
        if self.recurrence_width is None:
            fill(self, "recurrence_width", _recurrence_width(self.width, self.num_gate_blocks))
        if self.head_dim is None:
            self._check_divides("num_heads", "width", " when head_dim is not given")
            fill(self, "head_dim", self.width // self.num_heads)
        self._check_divides("num_gate_blocks", "recurrence_width")
        self._check_divides("num_key_value_heads", "num_heads")
        fill(self, "mixer_options", self._checked_options())
        # The mixers that have options check them, before a model is built.
        for name in self.mixer_options:
            self.mixer_class(name)(**self.mixer_arguments(name), name="checked")

    def _checked_options(self) -> dict[str, dict]:
        options = self.mixer_options
        for name, given in options.items():
            if not FLAG.holds(given.get(SHARE, False)):
                raise ValueError(f"GriffinConfig: share of {name} must be {FLAG.words}. Got {given[SHARE]!r}.")
            if name not in self.block_pattern:
                pattern = ", ".join(self.block_pattern)
                raise ValueError(
                    f"GriffinConfig: mixer_options must be for mixers of the pattern {pattern}. Got some for {name!r}."
                )
            kind, fixed = find_mixer(given.get(MIXER, name))
            known = [argument for argument in kind.argument_names() if argument not in fixed]
            unknown = [argument for argument in given if argument not in (*known, MIXER, SHARE)]
            if unknown:
                raise ValueError(
                    f"GriffinConfig: mixer_options of {name} must be among {', '.join(known)}. "
                    f"Got {', '.join(map(str, unknown))}{did_you_mean(unknown[0], known)}"
                )
        return {name: {argument: plain(value) for argument, value in given.items()} for name, given in options.items()}

    def _check(self, holds: bool, rule: str, *fields: str, ending: str = "."):
        if not holds:
            received = " and ".join(f"{field} {getattr(self, field)!r}" for field in fields)
            raise ValueError(f"GriffinConfig: {rule}. Got {received}{ending}")

    def _check_divides(self, part: str, total: str, condition: str = ""):
        divides = getattr(self, total) % getattr(self, part) == 0
        self._check(divides, f"{part} must divide {total}{condition}", part, total)

    @property
    def mixer_names(self) -> tuple[str, ...]:
        """The mixer of each layer: the pattern repeated and cut."""
        return tuple(self.block_pattern[i % len(self.block_pattern)] for i in range(self.num_layers))

    @property
    def block_indices(self) -> tuple[int, ...]:
        """For each layer the index of the block whose weights it has: its own, or the first of those that share."""
        names = self.mixer_names
        shared = {name for name, options in self.mixer_options.items() if options.get(SHARE)}
        return tuple(names.index(name) if name in shared else index for index, name in enumerate(names))

    def mixer_class(self, name: str) -> type[Mixer]:
        """The class of a mixer of the pattern."""
        return self._mixer(name)[0]

    def mixer_arguments(self, name: str, index: int | None = None) -> dict:
        """The constructor arguments of a mixer of the pattern, or of the one in the residual block of an index."""
        kind, arguments = self._mixer(name)
        return arguments if index is None else {**kind.arguments_of_layer(self, index), **arguments}

    def _mixer(self, name):
        options = dict(self.mixer_options.get(name, {}))
        options.pop(SHARE, None)
        kind, fixed = find_mixer(options.pop(MIXER, name))
        return kind, {**kind.arguments_for_model(self), **fixed, **options}

    def parameter_count(self, embedding: bool = True) -> int:
        """The number of parameters, without building anything.

        Args:
            embedding: whether the tables of the embedding and the logits, V D each, are counted.

        Returns:
            The same as `model.count_params()`.
        """
        norm = self.width * len(NORMS[self.norm])
        mlp = 3 * self.width * self.mlp_width + 2 * self.mlp_width + self.width + norm if self.mlp_width else 0
        mixers = {
            name: self.mixer_class(name).parameter_count(self.width, **self.mixer_arguments(name))
            for name in set(self.mixer_names)
        }
        blocks = sum(mixers[self.mixer_names[index]] + norm + mlp for index in set(self.block_indices))
        tables = self.vocabulary_size * self.width * (1 if self.tie_embeddings else 2)
        return blocks + norm * (2 if self.embedding_norm else 1) + (tables if embedding else 0)

    def replace(self, **changes: Any) -> "GriffinConfig":
        """A copy with some fields changed; inner widths that have their default values follow the change."""
        fields = [field.name for field in dataclasses.fields(self)]
        unknown = sorted(set(changes) - set(fields))
        if unknown:
            received = f"{', '.join(unknown)}{did_you_mean(unknown[0], fields)}"
            raise ValueError(f"GriffinConfig: every change must name a field. Got {received}")
        # Heads that do not divide the width have a size of their own.
        names = [name for name in DERIVED if name != "head_dim" or self.width % self.num_heads == 0]
        underived: dict[str, Any] = dict.fromkeys(names)
        derived = dataclasses.replace(self, **underived)
        follow: dict[str, Any] = {name: None for name in names if getattr(self, name) == getattr(derived, name)}
        return dataclasses.replace(self, **{**follow, **changes})

    def to_dict(self) -> dict:
        """The fields in a form that JSON can hold."""
        fields = {**dataclasses.asdict(self), "block_pattern": list(self.block_pattern)}
        # Left out while they have their defaults, as in the files of saved models.
        defaults = {"mixer_options": {}, "norm": "rms", "embedding_norm": False, "tie_embeddings": True}
        return {name: value for name, value in fields.items() if name not in defaults or value != defaults[name]}


def _recurrence_width(width: int, num_gate_blocks: int) -> int:
    """About 4 D / 3, so that a recurrent block has the parameters of multi-head attention (paper, section 2.3)."""
    step = math.lcm(num_gate_blocks, 128) if 4 * width >= 3 * 1024 else num_gate_blocks
    return max(step, step * round(4 * width / (3 * step)))
