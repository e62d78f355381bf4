import keras
import numpy as np
import pytest

from keras_griffin.tokenizers import ByteTokenizer
from keras_griffin.training import BitsPerByte, HeldOutWindows, RowAccuracy, Tokens, token_byte_counts


def test_bits_of_tokens_are_divided_by_the_bytes_that_they_write():
    """Over two batches of different sizes and weights; the third token is special and writes nothing."""
    rng = np.random.default_rng(0)
    counts = np.array([3, 1, 0, 5])
    metric = BitsPerByte(token_bytes=counts)
    bits, written = 0.0, 0.0
    for length in (4, 7):
        targets, logits = rng.integers(4, size=(2, length)), rng.normal(size=(2, length, 4)).astype("float32")
        weights = rng.integers(3, size=(2, length)).astype("float32")
        metric.update_state(targets, logits, sample_weight=weights)
        nats = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, targets[..., None], -1)[..., 0]
        bits, written = bits + (weights * nats).sum() / np.log(2), written + (weights * counts[targets]).sum()
    assert float(metric.result()) == pytest.approx(bits / written, rel=1e-5)
    metric.reset_state()
    assert float(metric.result()) == 0


def test_a_target_outside_the_vocabulary_makes_it_nan_where_it_has_weight():
    for token_bytes in (1.0, [1, 1]):
        metric = BitsPerByte(token_bytes=token_bytes)
        metric.update_state(np.array([[0, 2]]), np.zeros((1, 2, 2)), sample_weight=np.array([[1.0, 0.0]]))
        assert float(metric.result()) == pytest.approx(1.0)
        metric.update_state(np.array([[0, 2]]), np.zeros((1, 2, 2)))
        assert np.isnan(float(metric.result()))


def test_the_bytes_of_tokens_are_those_of_the_tokenizer():
    class Pieces(ByteTokenizer):
        vocabulary_size = 3

        def token_bytes(self, token_id, is_first=False):
            return [b"", b" a", "né".encode()][token_id]

    np.testing.assert_array_equal(token_byte_counts(Pieces()), [0, 2, 3])
    assert token_byte_counts(ByteTokenizer()).tolist() == [1] * 256


@pytest.mark.parametrize("token_bytes", [-1, [1, -2], [[1, 2]], [], "bytes"])
def test_bytes_of_tokens_that_are_none_are_refused(token_bytes):
    with pytest.raises(ValueError, match="BitsPerByte: token_bytes must be a number, or one for each token.*Got"):
        BitsPerByte(token_bytes=token_bytes)


def test_evaluation_over_held_out_windows_is_the_mean_over_all_bytes():
    """A table of logits for each previous byte: its bits can be written down."""
    rng = np.random.default_rng(0)
    text = rng.integers(256, size=103, dtype="uint8")
    table = rng.normal(size=(256, 256)).astype("float32")
    model = keras.Sequential([keras.Input((None,), dtype="int32"), keras.layers.Embedding(256, 256)])
    model.set_weights([table])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(weighted_metrics=[BitsPerByte(), Tokens()], loss=loss)
    logs = model.evaluate(HeldOutWindows(text, 8, 4), verbose=0, return_dict=True)
    probabilities = np.exp(table) / np.exp(table).sum(axis=1, keepdims=True)
    assert logs["bits_per_byte"] == pytest.approx(-np.log2(probabilities[text[:-1], text[1:]]).mean(), abs=1e-4)
    # The windows overlap and the last batch is filled up, with what has no weight.
    assert logs["tokens"] == 102


def test_tokens_are_the_targets_with_weight():
    metric = Tokens()
    metric.update_state(np.zeros((2, 3), "int32"), None)
    metric.update_state(np.zeros((2, 3), "int32"), None, sample_weight=np.array([[0.0, 0.5, 2.0], [0.0, 0.0, 1.0]]))
    metric.update_state(np.zeros((2, 3), "int32"), None, sample_weight=np.array([0.0, 2.0]))
    assert int(metric.result()) == 6 + 3 + 3
    metric.reset_state()
    assert int(metric.result()) == 0


def test_a_row_is_right_if_all_its_answers_are():
    """Against a count in Python over two batches; rows without an answer, and answers not due, do not count."""
    rng = np.random.default_rng(0)
    metric, right, rows = RowAccuracy(), 0, 0
    for length in (3, 5):
        targets, logits = rng.integers(2, size=(20, length)), rng.normal(size=(20, length, 2)).astype("float32")
        weights = rng.integers(3, size=(20, length)) * (np.arange(20) > 1)[:, None]
        metric.update_state(targets, logits, sample_weight=weights.astype("float32"))
        for row in range(2, 20):
            due = [step for step in range(length) if weights[row, step]]
            rows += bool(due)
            right += bool(due) and all(logits[row, step].argmax() == targets[row, step] for step in due)
    assert 0 < right < rows and float(metric.result()) == pytest.approx(right / rows)
    metric.reset_state()
    assert float(metric.result()) == 0
    metric.update_state(np.array([[0, 1], [1, 1]]), np.eye(2)[[[0, 1], [1, 0]]])
    assert float(metric.result()) == 0.5


def test_an_answer_from_nan_is_wrong_where_it_is_due():
    logits = np.eye(2)[[[0, 0], [0, 0], [0, 0]]]
    logits[0, 0] = logits[1, 0, 1] = np.nan
    metric = RowAccuracy()
    metric.update_state(np.zeros((3, 2), "int32"), logits)
    assert float(metric.result()) == pytest.approx(1 / 3)
    metric.reset_state()
    metric.update_state(np.zeros((3, 2), "int32"), logits, sample_weight=np.array([[0.0, 1.0]] * 3))
    assert float(metric.result()) == 1


@pytest.mark.parametrize(("targets", "logits"), [((3,), (3, 2)), ((2, 3, 1), (2, 3, 4)), ((2, 3), (2, 4, 4))])
def test_rows_of_other_shapes_are_refused(targets, logits):
    """One class a row, as of a classifier, would be taken for one row."""
    with pytest.raises(
        ValueError, match=r"^RowAccuracy: targets must have shape \(B, T\), and logits \(B, T, V\)\. Got"
    ):
        RowAccuracy().update_state(np.zeros(targets, "int32"), np.zeros(logits, "float32"))


@pytest.mark.parametrize(
    "metric",
    [BitsPerByte("bits", token_bytes=[1, 2]), BitsPerByte(token_bytes=4.5), Tokens("n"), RowAccuracy("rows")],
)
def test_the_config_round_trip_rebuilds_the_metric(metric):
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()
