"""The three families that every experiment compares, and the shape that they share."""

from experiments.harness.run import Run
from keras_griffin.inspection.plots import FAMILY_COLOURS
from keras_griffin.models import Griffin, GriffinConfig, Hawk, LanguageModel, MQATransformer

#: A colour and a marker in plots.
Style = tuple[str, str]

FAMILIES = {"MQA": MQATransformer, "Griffin": Griffin, "Hawk": Hawk}
#: Of each, in plots.
STYLES: dict[str, Style] = {name: (FAMILY_COLOURS[name], marker) for name, marker in zip(FAMILIES, "os^", strict=True)}
#: Behind the name of a family: its RG-LRUs have the first decays of the released code in place of the paper's.
RING = ", ring"

#: The paper's models of section 6.2: five blocks of width 64, in Griffin the third with local attention. About 250,000
#: parameters; the heads and the width of the recurrence are not in the paper.
SYNTHETIC = GriffinConfig(
    vocabulary_size=16,
    width=64,
    num_layers=5,
    num_heads=4,
    recurrence_width=80,
    block_pattern=("recurrent", "recurrent", "local_mqa", "recurrent", "recurrent"),
    decay_initializer="paper",
)
#: The same in miniature, to try an experiment in seconds.
TINY = GriffinConfig(
    vocabulary_size=16,
    width=16,
    num_layers=2,
    num_heads=2,
    mlp_width=0,
    recurrence_width=16,
    block_pattern=("recurrent", "local_mqa"),
    decay_initializer="paper",
)


def family_model(run: Run) -> LanguageModel:
    """The model of a run's family; the config has the first decays."""
    return FAMILIES[run.family.removesuffix(RING)](run.config)


def first_decays(family: str) -> str:
    """The `decay_initializer` that the name of a family asks for."""
    return "ring" if family.endswith(RING) else "paper"


def training_flops(config: GriffinConfig, length: int) -> int:
    """The operations of training on one token, forward and backward.

        6 N + 12 K N_heads H for each attention layer

    with N the parameters and K the keys that a query sees: the window, or half the length if that is less.

    Args:
        config: of a model, with the pattern of its family.
        length: of a training row.
    """
    keys = {"global_mqa": length // 2, "local_mqa": min(config.window, length // 2)}
    seen = sum(keys.get(name, 0) for name in config.mixer_names)
    return 6 * config.parameter_count() + 12 * seen * config.num_heads * config.head_dim
