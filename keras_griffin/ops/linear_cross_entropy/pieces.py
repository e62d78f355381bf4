"""How many steps' logits are in memory at a time."""

#: In elements: 64 MiB in float32. With fewer rows the matrix product would be slower.
LOGITS_AT_A_TIME = 2**24


def steps_in_piece(batch_size: int, length: int, vocabulary_size: int) -> int:
    """How many steps, of all rows, have their logits computed together: from 1 to T, in pieces as equal as possible.

    Pieces are cut along time, so that devices that share the rows need not communicate.

    Args:
        batch_size: B.
        length: T.
        vocabulary_size: V.
    """
    most = max(1, LOGITS_AT_A_TIME // max(1, batch_size * vocabulary_size))
    pieces = max(1, -(-length // most))
    return max(1, -(-length // pieces))
