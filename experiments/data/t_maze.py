"""T-mazes: a sign at the start says how to turn at the end of a corridor."""

from collections.abc import Sequence

import numpy as np

#: What is seen: a sign to the left, a sign to the right, the junction.
FEATURES = 3
#: Left and right.
TURNS = 2


class TMaze:
    """Rows of mazes, one after another: a sign at the first step, a corridor, and a turn at its end.

        place    0      1 .. L - 1    L
        seen     sign   nothing       junction

    A step is one place ahead. Only the turn at the junction has a reward, 1 if it is that of the sign and -1 if it is
    not; then another maze begins, whose sign and corridor are drawn anew.

    Args:
        rows: B.
        corridors: the lengths L, which are equally likely.
        rng: draws the mazes.

    Attributes:
        corridors: `(B,)` int, the length of each row's corridor.
        signs: `(B,)` int, the right turn in each row.
        places: `(B,)` int, where each row is.
    """

    def __init__(self, rows: int, corridors: Sequence[int], rng: np.random.Generator):
        self._lengths, self._rng = np.array(corridors), rng
        self.corridors, self.signs, self.places = (np.zeros(rows, "int64") for _ in range(3))
        self._begin(np.ones(rows, bool))

    @property
    def is_start(self) -> np.ndarray:
        """Whether a row is at the first step of a maze: `(B,)`."""
        return self.places == 0

    @property
    def is_junction(self) -> np.ndarray:
        """Whether a row is at the last step of a maze: `(B,)`."""
        return self.places == self.corridors

    @property
    def seen(self) -> np.ndarray:
        """What is seen: `(B, FEATURES)` float32."""
        signs = [self.is_start & (self.signs == turn) for turn in range(TURNS)]
        return np.stack([*signs, self.is_junction], axis=1).astype("float32")

    def step(self, turns: np.ndarray) -> np.ndarray:
        """Go ahead, and turn where there is a junction.

        Args:
            turns: `(B,)`, 0 for left and 1 for right; they count at junctions alone.

        Returns:
            The rewards, `(B,)`.
        """
        ends = self.is_junction
        rewards = np.where(ends, np.where(turns == self.signs, 1.0, -1.0), 0.0)
        self.places += 1
        self._begin(ends)
        return rewards

    def _begin(self, rows):
        """A new maze in the rows that are True."""
        number = rows.sum()
        self.places[rows] = 0
        self.signs[rows] = self._rng.integers(TURNS, size=number)
        self.corridors[rows] = self._rng.choice(self._lengths, size=number)
