"""The one description of a model, handed whole to its parts."""

import dataclasses
import math
import numbers
from dataclasses import dataclass

from keras_griffin.layers.decay_initializer import RULES
from keras_griffin.mixers import MIXERS

#: Fields that count something; those of the second line may be None, and then follow from others.
DERIVED = ("mlp_width", "recurrence_width", "head_dim")
COUNTS = (
    *("vocabulary_size", "width", "num_layers", "num_heads", "num_key_value_heads", "window"),
    *("conv_kernel_size", "num_gate_blocks", *DERIVED),
)


@dataclass(frozen=True)
class GriffinConfig:
    """Everything that decides a model's shape and initialisation.

    Args:
        vocabulary_size: V, the number of token ids.
        width: D, the width of the residual stream.
        num_layers: the number of residual blocks.
        num_heads: N, the query heads of each attention.
        mlp_width: M, the width inside the gated MLPs; None for 3 D.
        recurrence_width: R, the width of the RG-LRU; None for about 4 D / 3: the nearest multiple of `num_gate_blocks`,
            or of 128 from 1024 upwards.
        head_dim: H, the channels of a head; None for D / N.
        num_key_value_heads: K, dividing N.
        window: W, the number of keys that local attention sees, the query's own included.
        conv_kernel_size: taps of the temporal convolution.
        block_pattern: names from `keras_griffin.mixers.MIXERS`, repeated and cut to `num_layers`.
        num_gate_blocks: blocks of the RG-LRU's gates; divides R.
        decay_initializer: `"paper"` or `"ring"`; see `keras_griffin.layers.RGLRU`.
        rotary_fraction: the part of each head's channels that is rotated.
        rotary_base: the base of the rotation's wavelengths.
        scale_embeddings: multiply embedded tokens by sqrt(D).
        logits_soft_cap: bound of the logits' magnitude, or None.
        norm_epsilon: epsilon of the norms.

    Raises:
        ValueError: two of the values don't fit together.

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
    mlp_width: int | None = None
    recurrence_width: int | None = None
    head_dim: int | None = None
    num_key_value_heads: int = 1
    window: int = 1024
    conv_kernel_size: int = 4
    block_pattern: tuple[str, ...] = ("recurrent", "recurrent", "local_mqa")
    num_gate_blocks: int = 16
    decay_initializer: str = "paper"
    rotary_fraction: float = 0.5
    rotary_base: float = 10000.0
    scale_embeddings: bool = False
    logits_soft_cap: float | None = None
    norm_epsilon: float = 1e-6

    def __post_init__(self):
        # The dataclass is frozen for its users; what depends on other fields is filled in once, here.
        fill = object.__setattr__
        fill(self, "block_pattern", tuple(self.block_pattern))
        for name in COUNTS:
            value = getattr(self, name)
            if value is not None or name not in DERIVED:
                is_count = isinstance(value, numbers.Integral) and value >= 1
                self._check(is_count, f"{name} must be an integer of at least 1", name)
        if self.mlp_width is None:
            fill(self, "mlp_width", 3 * self.width)
        if self.recurrence_width is None:
            fill(self, "recurrence_width", _recurrence_width(self.width, self.num_gate_blocks))
        if self.head_dim is None:
            self._check(
                self.width % self.num_heads == 0,
                "num_heads must divide width when head_dim is not given",
                "num_heads",
                "width",
            )
            fill(self, "head_dim", self.width // self.num_heads)
        self._check(
            self.recurrence_width % self.num_gate_blocks == 0,
            "num_gate_blocks must divide recurrence_width",
            "num_gate_blocks",
            "recurrence_width",
        )
        self._check(
            self.num_heads % self.num_key_value_heads == 0,
            "num_key_value_heads must divide num_heads",
            "num_key_value_heads",
            "num_heads",
        )
        self._check(
            bool(self.block_pattern) and set(self.block_pattern) <= set(MIXERS),
            f"block_pattern must name mixers among {', '.join(MIXERS)}",
            "block_pattern",
        )
        self._check(self.norm_epsilon > 0.0, "norm_epsilon must be positive", "norm_epsilon")
        self._check(
            self.logits_soft_cap is None or self.logits_soft_cap > 0.0,
            "logits_soft_cap must be positive, or None",
            "logits_soft_cap",
        )
        self._check(0.0 <= self.rotary_fraction <= 1.0, "rotary_fraction must be from 0 to 1", "rotary_fraction")
        self._check(
            self.decay_initializer in RULES,
            f"decay_initializer must be one of {', '.join(RULES)}",
            "decay_initializer",
        )

    def _check(self, holds: bool, rule: str, *fields: str):
        if not holds:
            received = " and ".join(f"{field} {getattr(self, field)!r}" for field in fields)
            raise ValueError(f"GriffinConfig: {rule}. Got {received}.")

    @property
    def mixer_names(self) -> tuple[str, ...]:
        """The mixer of each layer: the pattern repeated and cut."""
        return tuple(self.block_pattern[i % len(self.block_pattern)] for i in range(self.num_layers))

    def parameter_count(self, embedding: bool = True) -> int:
        """The number of parameters, without building anything.

        Args:
            embedding: whether the embedding table, V D, is counted.

        Returns:
            The number that `model.count_params()` gives.
        """
        mlp = 3 * self.width * self.mlp_width + 2 * self.mlp_width + self.width
        norms = 2 * self.width
        blocks = sum(MIXERS[name].parameter_count(self) + mlp + norms for name in self.mixer_names)
        return blocks + self.width + (self.vocabulary_size * self.width if embedding else 0)

    def replace(self, **changes) -> "GriffinConfig":
        """A copy with some fields changed; an inner width with the value that None gives follows the change."""
        unknown = sorted(set(changes) - {field.name for field in dataclasses.fields(self)})
        if unknown:
            raise ValueError(f"GriffinConfig: every change must name a field. Got {', '.join(unknown)}.")
        derived = dataclasses.replace(self, **dict.fromkeys(DERIVED))
        follow = {name: None for name in DERIVED if getattr(self, name) == getattr(derived, name)}
        return dataclasses.replace(self, **{**follow, **changes})

    def to_dict(self) -> dict:
        """The fields as JSON can hold them."""
        return {**dataclasses.asdict(self), "block_pattern": list(self.block_pattern)}


def _recurrence_width(width: int, num_gate_blocks: int) -> int:
    """About 4 D / 3, so that a recurrent block has the parameters of multi-head attention (paper, section 2.3)."""
    step = math.lcm(num_gate_blocks, 128) if 4 * width >= 3 * 1024 else num_gate_blocks
    return max(step, step * round(4 * width / (3 * step)))
