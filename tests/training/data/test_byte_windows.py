import numpy as np
import pytest

from keras_griffin.training import HeldOutWindows, RandomWindows

pytestmark = pytest.mark.any_backend


def random_text(length, seed=0):
    return np.random.default_rng(seed).integers(256, size=length, dtype="uint8")


def test_random_windows_are_cut_from_the_text_with_targets_one_ahead():
    text = np.arange(200, dtype="uint8")
    token_ids, targets = RandomWindows(text, sequence_length=16, batch_size=32, num_batches=1)[0]
    assert token_ids.shape == targets.shape == (32, 16)
    assert token_ids.dtype == targets.dtype == np.int32
    np.testing.assert_array_equal(targets, token_ids + 1)
    np.testing.assert_array_equal(token_ids, token_ids[:, :1] + np.arange(16))


def test_a_batch_depends_on_seed_epoch_and_index_alone():
    def batch(seed, epoch, index):
        windows = RandomWindows(random_text(1000), 8, 4, num_batches=10, seed=seed)
        for _ in range(epoch):
            windows.on_epoch_end()
        return str(windows[index][0].tolist())

    assert batch(0, 2, 5) == batch(0, 2, 5)
    assert len({batch(0, 2, 5), batch(1, 2, 5), batch(0, 3, 5), batch(0, 2, 6)}) == 4


@pytest.mark.parametrize("length", [9, 10, 16, 17, 64, 65, 1000])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_held_out_windows_predict_every_byte_but_the_first_once(length, batch_size):
    held_out = HeldOutWindows(np.arange(length), sequence_length=8, batch_size=batch_size)
    predicted = []
    for token_ids, targets, weights in held_out:
        assert token_ids.shape == targets.shape == weights.shape == (batch_size, 8)
        np.testing.assert_array_equal(targets, token_ids + 1)
        predicted += targets[weights == 1].tolist()
        assert set(np.unique(weights)) <= {0.0, 1.0}
    assert sorted(predicted) == list(range(1, length))
    assert held_out.num_predictions == length - 1


def test_a_choice_of_held_out_windows_spreads_over_the_text():
    held_out = HeldOutWindows(np.arange(1000), sequence_length=8, batch_size=4, windows=6)
    batches = list(held_out)
    predicted = np.concatenate([targets[weights == 1] for _, targets, weights in batches])
    assert held_out.num_batches == len(batches) == 2
    assert held_out.num_predictions == len(predicted) == len(set(predicted))
    assert predicted.min() == 1 and predicted.max() == 999
    assert np.diff(np.sort(predicted)).max() < 200


@pytest.mark.parametrize("windows_class", [RandomWindows, HeldOutWindows])
@pytest.mark.parametrize(("sequence_length", "length"), [(0, 10), (10, 10)])
def test_a_window_that_does_not_fit_is_refused(windows_class, sequence_length, length):
    sentence = (
        rf"^{windows_class.__name__}: sequence_length must be at least 1 and less than the length of the text\. "
        rf"Got sequence_length {sequence_length} and a text of {length}\.$"
    )
    numbers = {"num_batches": 1} if windows_class is RandomWindows else {}
    with pytest.raises(ValueError, match=sentence):
        windows_class(random_text(length), sequence_length, batch_size=2, **numbers)


@pytest.mark.parametrize("windows_class", [RandomWindows, HeldOutWindows])
def test_arguments_that_are_none_are_refused(windows_class):
    name, text = windows_class.__name__, random_text(20)
    third = {"num_batches": 1} if windows_class is RandomWindows else {}
    for given in ("some text", text.astype("float32"), text[None]):
        with pytest.raises(ValueError, match=rf"^{name}: the text must be integers of shape \(T,\), .* Got dtype "):
            windows_class(given, 2, 2, **third)
    last = "num_batches" if windows_class is RandomWindows else "windows"
    for argument, value in (("sequence_length", 2.0), ("batch_size", True), ("batch_size", "8"), (last, 0)):
        arguments = {"sequence_length": 2, "batch_size": 2, **third, argument: value}
        with pytest.raises(
            ValueError, match=rf"^{name}: {argument} must be an integer of at least \d.* Got {value!r}\.$"
        ):
            windows_class(text, **arguments)
    assert windows_class(text.tolist(), 2, 2, **third)[0][0].shape == (2, 2)
