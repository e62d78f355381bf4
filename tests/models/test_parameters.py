import keras
import numpy as np
import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.models.parameters import check_parameters, strange_parameter

CONFIG = GriffinConfig(vocabulary_size=16, width=8, num_layers=1, num_heads=2, window=4, num_gate_blocks=2)
TOKENS = np.arange(8).reshape(1, 8)
ROWS = {"token_ids": TOKENS, "segment_ids": np.ones_like(TOKENS)}
SENTENCE = (
    "{name}: a model's parameters must be its variables' values; "
    "keras_griffin.distribution.fully_shard divides both, and DistributedDataParallel keeps them. "
    "Got a DTensor, as created by torch.distributed.fsdp.fully_shard."
)


@pytest.fixture
def group(tmp_path):
    """A process group of this process alone."""
    import torch

    torch.distributed.init_process_group("gloo", f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield torch
    torch.distributed.destroy_process_group()


def test_a_model_has_the_parameters_that_it_computes_with():
    model = Griffin(CONFIG)
    assert strange_parameter(model) is None and check_parameters(model) is None


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's fully_shard")
def test_a_model_that_is_divided_behind_kerass_back_is_refused_before_its_first_step(group):
    fully_shard = group.distributed.fsdp.fully_shard
    made = Griffin(CONFIG)
    check_parameters(made)
    fully_shard(made)
    packed, packed_without_logits, carried = made.packed(), made.packed(logits=False), made.carried(1)
    chunk = {**ROWS, "chunk": np.zeros(1, "int32")}
    for act, name in [
        (lambda: made.fit(TOKENS, TOKENS, verbose=0), "FSDPGriffin"),
        (lambda: made.train_on_batch(TOKENS, TOKENS), "FSDPGriffin"),
        # A loop of the user's own.
        (lambda: made(TOKENS), "FSDPGriffin"),
        (lambda: packed.fit(ROWS, TOKENS, verbose=0), "PackedModel"),
        (lambda: packed_without_logits.fit(ROWS, TOKENS, verbose=0), "PackedWithoutLogits"),
        (lambda: carried.train_on_batch(chunk, TOKENS), "CarriedModel"),
    ]:
        with pytest.raises(ValueError) as error:
            act()
        assert str(error.value) == SENTENCE.format(name=name)
    # What is divided may also be the rows of another model's, or one of its parts.
    part = Griffin(CONFIG)
    fully_shard(part.blocks[0])
    packed = Griffin(CONFIG).packed()
    fully_shard(packed)
    for model, tokens in ((part, TOKENS), (packed, ROWS)):
        with pytest.raises(ValueError, match="Got a DTensor, as created by torch.distributed.fsdp.fully_shard.$"):
            model(tokens)
