"""First-fit packing of a stream of pieces into rows, with few rows open at a time."""

from collections.abc import Iterable, Iterator

#: How many rows are open at a time. More of them pack tighter, and cost more time for each piece.
OPEN_ROWS = 32


def first_fit(lengths: Iterable[int], capacity: int, open_rows: int = OPEN_ROWS) -> Iterator[list[int]]:
    """Put each piece into the first open row that has room for it.

    A piece that fits into no open row opens a new one; if that exceeds the limit, the fullest row is closed first. So
    memory does not grow with the stream.

    Args:
        lengths: of the pieces, in order; each from 1 to `capacity`.
        capacity: the length of a row.
        open_rows: how many rows may be open at a time.

    Yields:
        A closed row as the numbers of its pieces, in order: full rows at once, the rest at the end in the order of
        opening.

    Examples:
        >>> from keras_griffin.training.data.first_fit import first_fit
        >>> list(first_fit([5, 4, 8, 3, 4], capacity=8))
        [[2], [0, 3], [1, 4]]
    """
    rooms: list[int] = []
    rows: list[list[int]] = []
    for piece, length in enumerate(lengths):
        if length == capacity:
            yield [piece]
            continue
        place = next((place for place, room in enumerate(rooms) if room >= length), None)
        if place is None:
            if len(rows) == open_rows:
                fullest = min(range(open_rows), key=rooms.__getitem__)
                del rooms[fullest]
                yield rows.pop(fullest)
            place = len(rows)
            rooms.append(capacity)
            rows.append([])
        rooms[place] -= length
        rows[place].append(piece)
        if not rooms[place]:
            del rooms[place]
            yield rows.pop(place)
    yield from rows
