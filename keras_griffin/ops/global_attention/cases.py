"""The calls on which `global_attention` is tested and timed."""

from dataclasses import dataclass, replace

from keras_griffin.ops.case import Functions
from keras_griffin.ops.global_attention import global_attention, reference
from keras_griffin.ops.local_attention.cases import AttentionCase, with_marks


@dataclass(frozen=True)
class GlobalCase(AttentionCase):
    """One call of `global_attention`; its marks are those of `AttentionCase`."""

    functions = Functions(global_attention, reference.global_attention, reference.global_attention_gradient)
    window: int | None = None
    num_key_heads: int = 1

    @property
    def options(self):
        return self.marks


#: The tests' blocks are of 32 queries, so these are one block, several of one length, and with shorter ones.
PLAIN = {
    "one step": GlobalCase(1, 1, num_key_heads=2),
    "one block": GlobalCase(7, 9, num_key_heads=2),
    "blocks": GlobalCase(64, 64),
    "blocks after history": GlobalCase(67, 80, num_key_heads=2),
}
CASES = (
    *map(with_marks, PLAIN.values()),
    *PLAIN.values(),
    replace(PLAIN["blocks"], has_mask=True),
    replace(PLAIN["blocks"], has_segments=True),
    replace(PLAIN["blocks after history"], dtype="bfloat16", has_segments=True, has_mask=True),
    # PyTorch's kernels don't support narrower heads.
    *(GlobalCase(150, 160, channels=16, has_segments=marked, has_mask=marked) for marked in (False, True)),
    # One number, no queries, and no rows.
    GlobalCase(1, 1, None, 1, 1, 1, 1),
    with_marks(GlobalCase(0, 5)),
    with_marks(GlobalCase(7, 7, batch_size=0)),
)


def timed(device: str) -> tuple[GlobalCase, ...]:
    """A small model's batch, and a layer of a model of a billion parameters at a context of 8192."""
    small, large = GlobalCase(512, 512, None, 1, 8, 8, 64), GlobalCase(8192, 8192, None, 1, 1, 16, 128)
    return (small, large) if device == "cpu" else (small, large, replace(large, dtype="bfloat16"))
