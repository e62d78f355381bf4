"""How many steps' logits there are at a time."""

#: Elements; 64 MiB in float32. Fewer rows would make the product of matrices slower.
LOGITS_AT_A_TIME = 2**24


def steps_in_piece(batch_size: int, length: int, vocabulary_size: int) -> int:
    """The steps of all rows whose logits are made together: from 1 to T, in pieces as equal as can be.

    A piece is cut along time, so that devices among which the rows are divided have nothing to tell one another.

    Args:
        batch_size: B.
        length: T.
        vocabulary_size: V.
    """
    most = max(1, LOGITS_AT_A_TIME // max(1, batch_size * vocabulary_size))
    pieces = max(1, -(-length // most))
    return max(1, -(-length // pieces))
