"""A language model of residual blocks as a functional Keras model."""

import warnings
from functools import partial
from typing import Any, Never, Self, Unpack

import keras
from keras import ops

from keras_griffin import backends
from keras_griffin.generation import LanguageModelState, generate, prefill, score, stream
from keras_griffin.generation.state import MOST_TOKENS, fitted, rows_for
from keras_griffin.layers.normalization import normalization
from keras_griffin.layers.token_embedding import TokenEmbedding
from keras_griffin.models.config import GriffinConfig
from keras_griffin.models.documents import document_boundaries, newest_step, without_padding
from keras_griffin.models.given_config import GivenConfig, config_of
from keras_griffin.models.lora import Lora, check_no_lora, check_undivided, enable_lora, merge_lora
from keras_griffin.models.parameters import OverProcesses, without_garbage_collection
from keras_griffin.models.residual_blocks import residual_blocks
from keras_griffin.models.saving.adapter_files import load_adapter, save_adapter
from keras_griffin.models.saving.from_preset import from_preset
from keras_griffin.models.saving.preset_files import save_to_preset
from keras_griffin.models.saving.quantization import store_by_column
from keras_griffin.models.token_ids import check_inputs, check_token_ids
from keras_griffin.models.trace import trace
from keras_griffin.models.training.carried_model import CarriedModel, CarriedWithoutLogits
from keras_griffin.models.training.chunked_loss import ChunkedLoss
from keras_griffin.models.training.compile_config import CompiledAgain
from keras_griffin.models.training.first_batch import FirstBatch
from keras_griffin.models.training.next_token_loss import SparseCategoricalCrossentropy
from keras_griffin.models.training.optimizer import AdamW, optimizer_groups
from keras_griffin.models.training.packed_model import PackedWithoutLogits, packed_model
from keras_griffin.shapes import ModelOptions, Tensor
from keras_griffin.tokenizers import Tokenizer
from keras_griffin.tokenizers.checks import check_is_tokenizer


@keras.saving.register_keras_serializable("keras_griffin")
class LanguageModel(FirstBatch, CompiledAgain, GivenConfig, keras.Model):
    """Predict each token's successor from the tokens so far.

        x_0 = E[token];   x_l = block_l(x_{l-1});   logits = norm(x_L) E^T

    A functional `keras.Model` over `(B, T)` token ids. The constructor compiles it for next-token prediction with
    `keras_griffin.training.AdamW`, so that `model.fit(token_ids, targets)` works at once. `compile` replaces the
    optimizer, and the loss if one is given.

    `copy.deepcopy(model)` copies the weights too, `type(model).from_config(model.get_config())` has fresh ones, and
    `keras.models.clone_model` is refused: it would lose the config.

    Args:
        config: a `GriffinConfig`.
        dtype: a dtype or a policy such as `"mixed_bfloat16"`, for every layer.
        tokenizer: for a model that reads and writes text; see `keras_griffin.tokenizers`.
        rematerialize: see the property of that name.
        **kwargs: `name` and `trainable`, as for every Keras model.

    Input shape: `(B, T)` integers from 0 to V - 1.

    Output shape: `(B, T, V)` logits, float32.

    Raises:
        ValueError: the config is missing or not one, or there is another option; or, in a call, token ids are known not
            to be integers, or to be outside the vocabulary.

    Examples:
        >>> import numpy as np
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> tuple(model(np.array([[1, 2, 3]])).shape)
        (1, 3, 256)

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.
    """

    #: The pattern of a family's models, in place of the config's; None if they keep it.
    family_pattern: tuple[str, ...] | None = None
    #: Set by `data_parallel` and `fully_shard` of `keras_griffin.distribution`, on PyTorch.
    processes: OverProcesses | None = None
    #: The adapters that `enable_lora` has added.
    lora: Lora | None = None

    def __init__(
        self,
        config: GriffinConfig,
        # None; but of a class that lacks these, `keras.models.clone_model` makes a plain model.
        *others: Never,
        dtype: str | keras.DTypePolicy | None = None,
        tokenizer: Tokenizer | None = None,
        rematerialize: bool = False,
        **kwargs: Unpack[ModelOptions],
    ):
        backends.check_not_forked(type(self).__name__)
        config = config_of(type(self), config, others, kwargs)
        if self.family_pattern is not None:
            config = config.replace(block_pattern=self.family_pattern)
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        embedding = TokenEmbedding(
            config.vocabulary_size,
            config.width,
            scale_by_sqrt_width=config.scale_embeddings,
            logits_soft_cap=config.logits_soft_cap,
            tie_weights=config.tie_embeddings,
            norm=config.norm if config.embedding_norm else None,
            norm_epsilon=config.norm_epsilon,
            dtype=policy,
            name="token_embedding",
        )
        blocks = residual_blocks(config, policy)
        norm = normalization(config.norm, config.norm_epsilon, dtype=policy, name="final_norm")

        token_ids = keras.Input((None,), dtype="int32", name="token_ids")
        x = embedding(token_ids)
        for block in blocks:
            x = block(x)
        super().__init__(inputs=token_ids, outputs=embedding(norm(x), reverse=True), **kwargs)
        # For Keras, which scales the loss if the policy is mixed_float16.
        self.dtype_policy = policy
        self.config = config
        self.quantized_to: str | None = None
        self.quantized_by_mode = True
        self.tokenizer = tokenizer
        self.token_embedding = embedding
        self.blocks = blocks
        self.final_norm = norm
        self.rematerialize = rematerialize
        self.compile(optimizer=AdamW(), loss=SparseCategoricalCrossentropy())

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer, which converts text to token ids and back, or None."""
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: Tokenizer | None):
        if tokenizer is not None:
            check_is_tokenizer(type(self).__name__, tokenizer)
        if tokenizer is not None and tokenizer.vocabulary_size > self.config.vocabulary_size:
            raise ValueError(
                f"{type(self).__name__}: the tokenizer's ids must be in the model's vocabulary. "
                f"Got {tokenizer.vocabulary_size} ids and a vocabulary of {self.config.vocabulary_size}."
            )
        self._tokenizer = tokenizer

    def packed(self, *, logits: bool = True) -> keras.Model:
        """A model over packed rows with this model's weights, to fit and call.

        Its inputs are `{"token_ids": (B, T), "segment_ids": (B, T)}`: 0 is padding, anywhere, and a positive id that
        differs from the previous one starts a new document, which sees nothing of the others. Outputs at padding are
        undefined; give `fit` a `sample_weight` of 0 there.

        Args:
            logits: whether its outputs are logits; if not, `(B, T, V)` is never in memory: see
                `keras_griffin.models.training.chunked_loss.ChunkedLoss`.

        Returns:
            A `keras.Model`, functional if it has logits, compiled with a fresh optimizer of this model's settings and
            with this model's loss, or that of `ChunkedLoss`.
        """
        return self._compiled(packed_model(self) if logits else PackedWithoutLogits(self, name=f"{self.name}_packed"))

    def carried(self, batch_size: int, *, logits: bool = True) -> CarriedModel:
        """A model for truncated backpropagation through time that shares this model's weights.

        See `keras_griffin.models.training.carried_model.CarriedModel`; its batches come from
        `keras_griffin.training.ConsecutiveChunks`.

        Args:
            batch_size: B, the rows of every batch.
            logits: as for `packed`.

        Returns:
            The model, compiled like that of `packed`.

        Raises:
            ValueError: the state grows, as that of global attention does.
        """
        kind = CarriedModel if logits else CarriedWithoutLogits
        return self._compiled(kind(self, batch_size, name=f"{self.name}_carried"))

    def _compiled(self, model: keras.Model) -> keras.Model:
        optimizer = type(self.optimizer).from_config(self.optimizer.get_config())
        model.compile(optimizer, **({} if isinstance(model, ChunkedLoss) else {"loss": self.loss}))
        return model

    @property
    def rematerialize(self) -> bool:
        """Whether training stores only each block's inputs and recomputes the block for the gradient.

        Set it before training: it is read when a step is compiled. The results are mathematically the same.
        """
        return all(block.rematerialize for block in self.blocks)

    @rematerialize.setter
    def rematerialize(self, rematerialize: bool):
        for block in self.blocks:
            block.rematerialize = bool(rematerialize)

    def optimizer_groups(self) -> dict[str, list[keras.Variable]]:
        """The trainable variables by how they are trained: see `keras_griffin.training.optimizer_groups`."""
        return optimizer_groups(self.trainable_variables)

    def initial_state(self, batch_size: int) -> LanguageModelState:
        """The state before the first token of `batch_size` rows."""
        nothing = ops.zeros((batch_size,), "int32")
        last = ops.zeros((batch_size, self.config.width), self.dtype_policy.compute_dtype)
        blocks = tuple(block.initial_state(batch_size) for block in self.blocks)
        return LanguageModelState(nothing, ops.copy(nothing), last, blocks)

    def advance(
        self, token_ids: Tensor, state: LanguageModelState, *, segment_ids: Tensor | None = None
    ) -> tuple[Tensor, LanguageModelState]:
        """Continue from `state` by any number of tokens: prefill, chunks and decoding are one method.

        The state remembers each row's newest positive segment id: the same id, or None, continues that document;
        another positive id starts a new one; 0 is padding and leaves the row's state unchanged.

        On PyTorch a state holds the autograd graph of everything that led to it, which grows with every call: decode
        within `torch.no_grad()`, or apply `keras.ops.stop_gradient` to the state's tensors where a gradient should end.

        Args:
            token_ids: `(B, T)` integers, T >= 1.
            state: from `initial_state` or an earlier `advance`.
            segment_ids: `(B, T)` integers, or None if all tokens continue their documents.

        Returns:
            (logits, state): `(B, T, V)` float32, and the state after the last token.

        Raises:
            ValueError: token ids are known not to be integers, or to be outside the vocabulary; the segment ids are not
                integers, known to be negative, or not one for each token; there are no tokens, or not as many rows as
                in the state; or the state has other parts or shapes than this model's.
        """
        backends.check_not_forked("advance")
        state = fitted("advance", state, self.initial_state(1))
        x, state = self.advance_without_logits(token_ids, state, segment_ids=segment_ids)
        return self.logits(x), state

    def advance_without_logits(
        self,
        token_ids: Tensor,
        state: LanguageModelState,
        *,
        segment_ids: Tensor | None = None,
        rematerialize: bool = False,
    ) -> tuple[Tensor, LanguageModelState]:
        """Like `advance`, but with the last block's outputs, `(B, T, D)`, in place of the logits.

        With `rematerialize` each block is recomputed for the gradient, and no gradient flows back to `state`.
        """
        self._check_whole("advance")
        size = self.config.vocabulary_size
        if segment_ids is None:
            token_ids = check_token_ids("advance", token_ids, size)
        else:
            rows = {"token_ids": token_ids, "segment_ids": segment_ids}
            token_ids, segment_ids = check_inputs("advance", rows, tuple(rows), size).values()
        token_ids = rows_for(state, "advance", token_ids)
        batch_size, length = ops.shape(token_ids)
        if segment_ids is None:
            reset = mask = None
            segment = ops.maximum(state.segment, 1)
            # Not `full`, which would fix a free length in a program that PyTorch exports.
            count = ops.zeros((batch_size,), "int32") + length
        else:
            token_ids, segment_ids = without_padding(token_ids, segment_ids)
            reset, mask, segment = document_boundaries(segment_ids, state.segment)
            count = ops.sum(ops.cast(mask, "int32"), axis=1)
        x = self.token_embedding(token_ids)
        states = []
        for block, block_state in zip(self.blocks, state.blocks, strict=True):
            advance = partial(block.advance, state=block_state, reset=reset, mask=mask)
            x, block_state = (keras.remat(advance) if rematerialize else advance)(x)
            states.append(block_state)
        tokens = ops.minimum(state.tokens, MOST_TOKENS - count) + count
        return x, LanguageModelState(segment, tokens, newest_step(x, mask, state.last), tuple(states))

    def logits(self, x: Tensor) -> Tensor:
        """The logits, `(B, T, V)` float32, of the last block's outputs, `(B, T, D)`."""
        self._check_whole("logits")
        return self.token_embedding(self.final_norm(x), reverse=True)

    # Functions of a model that are also its methods; they document their arguments.
    generate = generate
    stream = stream
    prefill = prefill
    score = score
    save_to_preset = save_to_preset
    enable_lora = enable_lora
    merge_lora = merge_lora
    save_adapter = save_adapter
    load_adapter = load_adapter
    trace = trace
    from_preset: Any = classmethod(from_preset)

    def known_language_model(self) -> Self:
        """This model."""
        return self

    def _check_whole(self, function_name):
        if self.processes is not None:
            self.processes.check_whole(function_name)

    def quantize(self, mode=None, config=None, filters=None, **kwargs):
        """Quantise the projections and the gates of recurrences to `"int8"` or `"int4"`; see `keras.Model.quantize`.

        Presets can hold a model that was quantised by a mode alone.

        Raises:
            ValueError: the model has LoRA, which must be enabled after quantisation; or
                `keras_griffin.distribution.fully_shard` has divided the weights.
        """
        check_undivided("quantize", self)
        check_no_lora("quantize", self)
        with warnings.catch_warnings():
            # From layers around the projections, which have nothing to quantise themselves.
            warnings.filterwarnings("ignore", message=".*does not have a `quantize` method")
            with without_garbage_collection():
                super().quantize(mode, config=config, filters=filters, **kwargs)
        store_by_column(self)
        self.quantized_to = getattr(config, "mode", mode)
        # Keras turns a mode into a config before this call.
        is_default = config is None or config.get_config() == type(config)().get_config()
        self.quantized_by_mode = is_default and filters is None

    def get_config(self):
        """The config from which the model is rebuilt."""
        lora = self.lora
        adapters = {} if lora is None else {"lora": {"rank": lora.rank, "targets": lora.targets, "alpha": lora.alpha}}
        return {
            **adapters,
            "name": self.name,
            "config": self.config.to_dict(),
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "quantized_to": self.quantized_to,
            "rematerialize": self.rematerialize,
            "tokenizer": keras.saving.serialize_keras_object(self.tokenizer),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Rebuild the model from `get_config`, quantised as before, with fresh adapters."""
        config = dict(config)
        quantized_to, lora = config.pop("quantized_to", None), config.pop("lora", None)
        tokenizer = keras.saving.deserialize_keras_object(config.pop("tokenizer", None))
        model = cls(**config, tokenizer=tokenizer)
        if quantized_to is not None:
            model.quantize(quantized_to)
        if lora is not None:
            model.enable_lora(**lora)
        return model
