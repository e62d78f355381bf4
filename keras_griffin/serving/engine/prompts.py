"""Read the prompts of several callers together, piece by piece."""

from collections.abc import Callable

import numpy as np

from keras_griffin.generation.compilers.compile import compiles
from keras_griffin.generation.loop import consume
from keras_griffin.generation.prompt import aligned
from keras_griffin.serving.engine.kept_states import KeptStates
from keras_griffin.serving.engine.reading import Reading
from keras_griffin.serving.engine.rows import Rows
from keras_griffin.serving.engine.steps import score, scored

#: How many tokens of a prompt, and of all prompts together, are read between two steps of the answers.
PIECE = 128
MOST_READ = 1024
#: The lengths and numbers of rows for which a backend that compiles reads prompts.
LENGTHS = (8, 32, PIECE)
ROWS = (1, 4, 16, 64)


def read_on(model, prepare: Callable, rows: Rows, kept: KeptStates, readings: list[Reading]) -> int:
    """Read a piece of each prompt, or of the first alone if it is scored; how many tokens were read."""
    if readings[0].is_scored:
        return _read_scored(prepare, rows, kept, readings[0])
    pieces: list[np.ndarray] = []
    readings = [reading for reading in readings if not reading.is_scored][: ROWS[-1]]
    for reading in readings:
        piece = reading.piece(PIECE)
        # Each row is as long as the longest.
        if pieces and (len(pieces) + 1) * max(map(len, [*pieces, piece])) > MOST_READ:
            break
        pieces.append(piece)
    readings = readings[: len(pieces)]
    token_ids, mask = in_few_shapes(pieces)
    state = rows.joined([reading.state for reading in readings], len(token_ids))
    state = rows.with_places(state, max(reading.seen for reading in readings), token_ids.shape[1])
    state = consume(model, state, token_ids, mask)
    for place, (reading, piece) in enumerate(zip(readings, pieces, strict=True)):
        state, alone = rows.taken(state, place, reading.seen + len(piece))
        reading.went_on(len(piece), alone, kept)
    return sum(map(len, pieces))


def _read_scored(prepare, rows, kept, reading):
    piece = reading.piece(PIECE)
    token_ids, mask = in_few_shapes([piece])
    state = rows.joined([reading.state], len(token_ids))
    state = rows.with_places(state, reading.seen, token_ids.shape[1])
    scores, state = score(prepare, state, token_ids, mask)
    top = max(job.top_logprobs or 0 for job in reading.jobs)
    start = token_ids.shape[1] - len(piece)
    for place, token_id in enumerate(piece.tolist()):
        found = scored(token_id, scores, (0, start + place), top)
        # Nothing predicts the first token of a text.
        is_predicted = reading.scores or reading.jobs[0].state is not None
        reading.scores.append(found if is_predicted else found._replace(logprob=None, top=()))
    _, alone = rows.taken(state, 0, reading.seen + len(piece))
    reading.went_on(len(piece), alone, kept)
    return len(piece)


def in_few_shapes(pieces: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
    """Pieces `aligned` as rows `(B, T)`; where that is compiled, of few sizes, with copies of the last piece."""
    count, length = len(pieces), max(map(len, pieces))
    if compiles():
        count = next(size for size in ROWS if size >= count)
        length = next(size for size in LENGTHS if size >= length)
    token_ids, mask = aligned([*pieces, *pieces[-1:] * (count - len(pieces))], length)
    return token_ids, mask if compiles() or not mask.all() else None
