import keras
import pytest

from keras_griffin.commands.shared.errors import CommandError, disk_refusal, refusals, refusals_of_the_disk

pytestmark = pytest.mark.any_backend


def test_what_the_library_refuses_the_command_refuses_in_the_same_words():
    with pytest.raises(CommandError, match=r"^a rule\. Got 3\.$"), refusals():
        raise ValueError("a rule. Got 3.")


def test_a_sentence_is_freed_of_what_keras_puts_around_it():
    class Refusing(keras.layers.Layer):
        def call(self, x):
            raise ValueError("a rule. Got 3.")

    with pytest.raises(CommandError, match=r"^a rule\. Got 3\.$"), refusals():
        Refusing()(keras.ops.zeros(1))
    # An error on the way of another is none that it repeats.
    with pytest.raises(CommandError, match=r"^b rule\. Got 4\.$"), refusals():
        try:
            raise ValueError("a rule. Got 3.")
        except ValueError:
            raise ValueError("b rule. Got 4.")  # noqa: B904


def test_a_file_is_named_as_the_user_named_it():
    error = OSError(28, "No space left on device", "/a/.b.partial-x/b")
    assert str(disk_refusal("save", "a rule", error, "b")) == "save: a rule. Got 'b': No space left on device."
    with pytest.raises(CommandError, match=r"^save: a rule\. Got \[Errno 28\] No space left on device: '/a/.*/b'\.$"):
        with refusals_of_the_disk("save", "a rule"):
            raise error
    # As HDF5 says it.
    lines = OSError("[Errno 28] can't write\n  (file write failed)")
    assert str(disk_refusal("save", "a rule", lines, "b")).endswith("Got [Errno 28] can't write (file write failed).")


def test_other_errors_stay_what_they_are():
    with pytest.raises(KeyError), refusals():
        raise KeyError("a fault of the program")
