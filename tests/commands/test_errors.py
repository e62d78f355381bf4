import pytest

from keras_griffin.commands.errors import CommandError, refusals


def test_what_the_library_refuses_the_command_refuses_in_the_same_words():
    with pytest.raises(CommandError, match=r"^a rule\. Got 3\.$"), refusals():
        raise ValueError("a rule. Got 3.")


def test_other_errors_stay_what_they_are():
    with pytest.raises(KeyError), refusals():
        raise KeyError("a fault of the program")
