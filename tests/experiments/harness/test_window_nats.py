import dataclasses
import types

import numpy as np
import pytest

from experiments import windows
from experiments.harness import window_nats
from experiments.harness.table import Table
from experiments.harness.window_nats import gain_of_far_bytes, nats_of_windows, rows_within

pytestmark = pytest.mark.any_backend

RUNS = {run.family: run for run in windows.plan("small", (0,), Table())}


def test_rows_have_every_byte_but_the_first_once_as_a_target():
    given = np.stack([np.arange(13), 100 + np.arange(13)])
    for length in (3, 4, 6, 12):
        rows = rows_within(given, length)
        assert rows.shape == (24 // length, length + 1)
        np.testing.assert_array_equal(np.diff(rows, axis=1), 1)
        np.testing.assert_array_equal(rows[:, 1:].reshape(2, 12), given[:, 1:])


@pytest.mark.parametrize("length", [4, 8, 16])
def test_models_of_every_length_are_asked_for_the_same_bytes(length, monkeypatch):
    given = np.random.default_rng(0).integers(0, 256, size=(6, 17))
    monkeypatch.setattr(window_nats, "held_out_windows", lambda number, length: given[:number, :length])
    run = RUNS["Griffin"]
    monkeypatch.setitem(run.data, "length", length)
    monkeypatch.setitem(run.data, "windows", 5)
    monkeypatch.setitem(run.data, "window_length", 16)
    asked = []

    def predict_on_batch(token_ids):
        """Logits by which a byte that is followed by itself plus its place in the row is likely."""
        asked.append(token_ids.shape)
        logits = np.zeros((*token_ids.shape, 256), "float32")
        likely = (token_ids + np.arange(token_ids.shape[1])) % 256
        np.put_along_axis(logits, likely[..., None], 3.0, axis=-1)
        return logits

    found = nats_of_windows(run, types.SimpleNamespace(predict_on_batch=predict_on_batch))
    assert all(rows <= run.batch_size and columns == length for rows, columns in asked)
    total = np.log(255 + np.exp(3))
    expected = [
        np.mean([total - 3 * (row[i + 1] == (row[i] + i % length) % 256) for i in range(16)]) for row in given[:5]
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_far_bytes_are_worth_what_the_last_quarter_loses_without_the_first_half(monkeypatch):
    given = np.random.default_rng(0).integers(0, 256, size=(6, 33))
    monkeypatch.setattr(window_nats, "held_out_windows", lambda number, length: given[:number, :length])
    run = RUNS["global MQA"]
    data = {**run.data, "length": 16, "windows": 5, "window_length": 32}

    def predict_on_batch(token_ids):
        """Logits by which the next byte is the likelier the more bytes stand before it."""
        logits = np.zeros((*token_ids.shape, 256), "float32")
        following = {tuple(window[place : place + 2]): window[place + 2] for window in given for place in range(31)}
        for row in range(len(token_ids)):
            for place in range(1, token_ids.shape[1]):
                logits[row, place, following.get(tuple(token_ids[row, place - 1 : place + 1]), 0)] = place
        return logits

    model = types.SimpleNamespace(predict_on_batch=predict_on_batch)
    found = gain_of_far_bytes(dataclasses.replace(run, data=data), model)
    nats = [np.log(255 + np.exp(float(place))) - place for place in range(16)]
    np.testing.assert_allclose(found, [np.mean(nats[4:8]) - np.mean(nats[12:])] * 5, rtol=1e-6)
