"""What Mamba and Mamba-2 share: loading weights of `transformers` or of the authors, reading and writing configs."""

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from keras_griffin.checks import COUNT, POSITIVE
from keras_griffin.conversion import foreign
from keras_griffin.conversion.checkpoint import open_checkpoint
from keras_griffin.conversion.namings import MAMBA_AUTHORS, MAMBA_HUGGING_FACE
from keras_griffin.layers import Mixer
from keras_griffin.models import GriffinConfig

#: By the embedding's name, which the two formats don't share.
NAMINGS = {naming.embedding: naming for naming in (MAMBA_HUGGING_FACE, MAMBA_AUTHORS)}
#: The only supported values of entries of a config of `transformers`.
FIXED: dict[str, Any] = {"hidden_act": "silu", "use_bias": False, "use_conv_bias": True, "tie_word_embeddings": True}
#: The authors' names of the same entries: of the model, and of its `ssm_cfg`, each with its default.
AUTHORS = {"vocab_size": ("vocab_size", 50277), "hidden_size": ("d_model", 2560), "num_hidden_layers": ("n_layer", 64)}
AUTHORS_SSM = {
    "expand": ("expand", 2),
    "conv_kernel": ("d_conv", 4),
    "use_bias": ("bias", False),
    "use_conv_bias": ("conv_bias", True),
}
#: The only supported values of other entries of the authors' config; all are optional.
AUTHORS_FIXED: dict[str, Any] = {"rms_norm": True, "tie_embeddings": True, "d_intermediate": 0, "attn_layer_idx": []}


class MambaFamily(NamedTuple):
    """One of the two, by what sets them apart."""

    #: In sentences, the function that loads it, the class in `transformers`, and its `model_type`.
    title: str
    function_name: str
    architecture: str
    model_type: str
    #: The name in a pattern, and its class.
    mixer_name: str
    mixer: type[Mixer]
    #: The defaults of `transformers`.
    defaults: dict[str, Any]
    #: The layer in the authors' `ssm_cfg`, its further entries as in `AUTHORS_SSM`, and those of one supported value.
    authors_layer: str
    authors_ssm: dict[str, tuple[str, Any]]
    authors_ssm_fixed: dict[str, Any]
    #: Checks the further entries, and returns the mixer's options, each with the default for such a model.
    read_options: Callable[[foreign.Entries], dict[str, tuple[Any, Any]]]
    #: The further entries for a mixer of a model of a width.
    write_options: Callable[[Any, int], dict[str, Any]]

    def load(
        self, cls: type[foreign.Model], path: str | os.PathLike, dtype: Any, name: str | None, overrides: dict
    ) -> foreign.Model:
        """A model of the class `cls` with the weights of a checkpoint."""
        path, function_name = Path(path), self.function_name
        tensors = open_checkpoint(path)
        naming = foreign.find_naming(function_name, NAMINGS, path, tensors)
        config = self.read_config(foreign.read_entries(function_name, path))
        config = config.replace(vocabulary_size=max([config.vocabulary_size, *tensors[naming.embedding].shape[:1]]))
        tensors = foreign.without_copy_of_embedding(function_name, tensors, naming)
        return foreign.build_model(cls, function_name, path, tensors, naming, config.replace(**overrides), dtype, name)

    def read_config(self, raw: Mapping) -> GriffinConfig:
        """The model that a `config.json` describes, of `transformers`, or of the authors' code without `model_type`."""
        if "model_type" not in raw and "d_model" in raw:
            entries = self._of_authors(raw)
        else:
            entries = foreign.Entries(self.function_name, {**self.defaults, **raw})
            entries.require_values(model_type=self.model_type)
        entries.require_values(**FIXED)
        entries.require_counts("vocab_size", "hidden_size", "num_hidden_layers", "state_size", "expand", "conv_kernel")
        epsilon = entries["layer_norm_epsilon"]
        entries.require(POSITIVE.holds(epsilon), "layer_norm_epsilon", "must be a positive number")
        options = {
            "expand": (entries["expand"], 2),
            "conv_kernel_size": (entries["conv_kernel"], 4),
            **self.read_options(entries),
        }
        given = {name: value for name, (value, default) in options.items() if value != default}
        return GriffinConfig(
            vocabulary_size=entries["vocab_size"],
            width=entries["hidden_size"],
            num_layers=entries["num_hidden_layers"],
            num_heads=1,
            block_pattern=(self.mixer_name,),
            mlp_width=0,
            norm_epsilon=epsilon,
            mixer_options={self.mixer_name: given} if given else {},
        )

    def _of_authors(self, raw) -> foreign.Entries:
        """The authors' entries under the names of `transformers`."""
        ssm, multiple = raw.get("ssm_cfg") or {}, raw.get("pad_vocab_size_multiple", 1)
        theirs = {**AUTHORS_FIXED, **raw, "ssm_cfg": ssm, "pad_vocab_size_multiple": multiple}
        checked = foreign.Entries(self.function_name, theirs)
        checked.require(isinstance(ssm, Mapping), "ssm_cfg", "must be an object")
        layer = {"layer": "Mamba1", **self.authors_ssm_fixed, **ssm}
        of_layer = foreign.Entries(self.function_name, layer, {"layer": "the layer of ssm_cfg"})
        of_layer.require_values(layer=self.authors_layer, **self.authors_ssm_fixed)
        checked.require_values(**AUTHORS_FIXED)
        checked.require_counts("pad_vocab_size_multiple")
        entries, names = {**self.defaults, **FIXED}, {}
        for source, table in ((raw, AUTHORS), (ssm, {**AUTHORS_SSM, **self.authors_ssm})):
            for name, (their_name, default) in table.items():
                entries[name], names[name] = source.get(their_name, default), their_name
        if COUNT.holds(entries["vocab_size"]):
            entries["vocab_size"] = multiple * math.ceil(entries["vocab_size"] / multiple)
        return foreign.Entries(self.function_name, entries, names)

    def write_config(self, config: GriffinConfig, dtype: str) -> dict:
        """A `config.json` of `transformers`, without the ids of special tokens, for a model with this mixer alone."""
        mixer, name = config.mixer_class(self.mixer_name), self.mixer_name
        foreign.require_saveable(
            f"transformers' {self.title}",
            config,
            (mixer is self.mixer, f"the mixer {name} must be {self.mixer.__name__}", mixer.__name__),
            **{"mlp_width": 0, "scale_embeddings": False, "logits_soft_cap": None},
            **{"norm": "rms", "embedding_norm": False, "tie_embeddings": True},
        )
        layer: Any = self.mixer(**config.mixer_arguments(name))
        return {
            **foreign.common_entries(self.architecture, self.model_type, config, dtype),
            "num_hidden_layers": config.num_layers,
            "state_size": layer.state_size,
            "expand": layer.expand,
            "conv_kernel": layer.conv_kernel_size,
            "layer_norm_epsilon": config.norm_epsilon,
            "residual_in_fp32": True,
            **FIXED,
            **self.write_options(layer, config.width),
        }
