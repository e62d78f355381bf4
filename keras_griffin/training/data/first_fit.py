"""First-fit packing of a stream of pieces into rows, with few rows open at a time."""

from collections.abc import Iterable, Iterator

#: How many rows are open at a time. More of them pack tighter, and cost more time for each piece.
OPEN_ROWS = 32


def first_fit(lengths: Iterable[int], capacity: int, open_rows: int = OPEN_ROWS) -> Iterator[list[int]]:
    """Put each piece into the first open row with room for it, and yield closed rows as the numbers of their pieces.

    A piece that fits into no open row opens a new one; if that exceeds the limit, the fullest row is closed first. So
    memory does not grow with the stream. Full rows come at once, the rest at the end in the order of opening.
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
