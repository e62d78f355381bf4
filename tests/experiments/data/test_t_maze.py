import numpy as np
import pytest

from experiments.data.t_maze import TMaze

pytestmark = pytest.mark.any_backend


def episodes(maze, steps, turn):
    """By row, the episodes that have ended: what was seen, the turns and the rewards of each."""
    rows = len(maze.places)
    ended, going = [[] for _ in range(rows)], [[] for _ in range(rows)]
    for _ in range(steps):
        seen, starts, ends = maze.seen, maze.is_start, maze.is_junction
        turns = turn(seen)
        rewards = maze.step(turns)
        for row in range(rows):
            assert starts[row] == (not going[row])
            going[row].append((seen[row].tolist(), turns[row], rewards[row]))
            if ends[row]:
                ended[row].append(going[row])
                going[row] = []
    return ended


def test_a_maze_is_a_sign_a_corridor_and_a_junction():
    rng = np.random.default_rng(0)
    ended = episodes(TMaze(8, (3, 5), np.random.default_rng(1)), 200, lambda seen: rng.integers(2, size=len(seen)))
    lengths, signs, rewards = [], [], []
    for episode in [episode for row in ended for episode in row]:
        (first, *between, last) = episode
        sign = first[0].index(1.0)
        assert first[0] == [1.0 - sign, float(sign), 0.0] and last[0] == [0.0, 0.0, 1.0]
        assert all((seen, reward) == ([0.0, 0.0, 0.0], 0.0) for seen, _, reward in between) and first[2] == 0.0
        assert last[2] == (1.0 if last[1] == sign else -1.0)
        lengths.append(len(episode) - 1)
        signs.append(sign)
        rewards.append(last[2])
    assert set(lengths) == {3, 5} and abs(np.mean(lengths) - 4) < 0.3
    assert abs(np.mean(signs) - 0.5) < 0.15 and abs(np.mean(rewards)) < 0.3


def test_what_remembers_the_sign_is_always_right():
    memory = np.zeros(4, "int64")

    def turn(seen):
        at_sign = seen[:, :2].any(axis=1)
        memory[at_sign] = seen[at_sign, 1]
        return memory

    ended = episodes(TMaze(4, (1, 2, 20), np.random.default_rng(2)), 300, turn)
    assert {episode[-1][2] for row in ended for episode in row} == {1.0} and min(map(len, ended)) > 10


def test_rows_differ_and_a_seed_gives_the_same_mazes_again():
    def seen(seed):
        maze, found = TMaze(16, (2, 3, 4), np.random.default_rng(seed)), []
        for _ in range(30):
            found.append(maze.seen)
            maze.step(np.zeros(16, "int64"))
        return np.stack(found, axis=1)

    first = seen(0)
    assert np.array_equal(first, seen(0)) and not np.array_equal(first, seen(1))
    assert first.dtype == "float32" and len({row.tobytes() for row in first}) == 16
