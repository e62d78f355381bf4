import errno
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest

from keras_griffin import __main__ as module
from keras_griffin.__main__ import main
from keras_griffin.commands import COMMANDS, explain, find_command
from keras_griffin.commands.shared.errors import CommandError


@pytest.fixture
def explain_does(monkeypatch):
    """Let the command `explain` do something else."""
    return lambda act: monkeypatch.setattr(explain, "run", lambda arguments: act())


def raising(error):
    def act():
        raise error

    return act


def exit_code(argv):
    with pytest.raises(SystemExit) as error:
        main(argv)
    return error.value.code


def test_help_names_every_command(capsys):
    assert exit_code(["--help"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: python -m keras_griffin")
    assert all(f"\n    {name}" in printed for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_is_its_description(name, capsys):
    assert exit_code([name, "--help"]) == 0
    printed = capsys.readouterr().out
    assert find_command(name).__doc__.splitlines()[0] in printed
    assert max(map(len, printed.splitlines())) <= 100
    # A console's encoding may have no other characters.
    assert printed.isascii()


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ([], "keras_griffin: the following arguments are required: COMMAND (See --help.)\n"),
        (
            ["trian"],
            "argument COMMAND: must be one of chat, compare, convert, explain, export, fine-tune, generate, inspect, ",
        ),
        (["trian"], "tokenize, train. Got 'trian'; did you mean 'train'? (See --help.)\n"),
        (
            ["train", "--minuts=3"],
            "keras_griffin train: unrecognized arguments: --minuts=3; did you mean '--minutes'? (See ",
        ),
        (["explain", "--foo"], "keras_griffin explain: unrecognized arguments: --foo (See --help.)\n"),
        (
            ["convert", "a", "b", "--to", "hugging"],
            "must be one of preset, huggingface. Got 'hugging'; did you mean 'hug",
        ),
        (["train", "--steps", "0"], "argument --steps: must be an integer of at least 1. Got '0'. (See --help.)\n"),
        (["train", "--steps", "1", "--minutes", "1"], "not allowed with argument --steps (See --help.)\n"),
        (["generate"], "the following arguments are required: --model (See --help.)\n"),
        (["generate", "--model", "x", "--top-p", "2"], "must be a number above 0 and at most 1. Got '2'."),
    ],
)
def test_wrong_options_are_refused_in_one_line(argv, sentence, capsys):
    assert exit_code(argv) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (CommandError("load_corpus: a sentence."), 2, "keras_griffin explain: a sentence.\n"),
        (CommandError("ResumableRun.fit: a: b."), 2, "keras_griffin explain: a: b.\n"),
        (CommandError("A sentence: with more."), 2, "keras_griffin explain: A sentence: with more.\n"),
        # What the user has selected by its name.
        (CommandError("rg_lru: a sentence."), 2, "keras_griffin explain: rg_lru: a sentence.\n"),
        (CommandError("KERAS_GRIFFIN_X: a sentence."), 2, "keras_griffin explain: KERAS_GRIFFIN_X: a sentence.\n"),
        (KeyboardInterrupt(), 130, "\nStopped.\n"),
    ],
)
def test_a_refusal_and_ctrl_c_have_exit_codes_and_no_traceback(explain_does, capsys, error, code, sentence):
    explain_does(raising(error))
    assert main(["explain"]) == code
    assert capsys.readouterr().err == sentence


def test_what_keras_warns_of_quantised_layers_on_numpy_is_not_shown(explain_does):
    sentence = "`custom_gradient` for the numpy backend acts as a pass-through."
    explain_does(lambda: warnings.warn(sentence, stacklevel=2))
    assert not main(["explain"])


def test_a_backend_that_is_not_installed_is_refused_in_one_line():
    command = [sys.executable, "-m", "keras_griffin", "explain"]
    run = subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "pytorch"}, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1)
    assert run.stderr.endswith("Got 'pytorch'.\n")


@pytest.mark.slow
def test_the_module_runs_as_a_program():
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-m", "keras_griffin", "explain", "--all"]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    # TensorFlow's log is no part of the output.
    assert "linear_scan on " in run.stdout and run.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no device that is full")
@pytest.mark.parametrize(
    ("argv", "speaker"),
    [(["explain"], "keras_griffin explain"), (["explain", "--help"], "keras_griffin"), (["-h"], "keras_griffin")],
)
def test_output_for_which_the_disk_has_no_room_is_told(monkeypatch, capsys, argv, speaker):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert main(argv) == 2
    sentence = f"{speaker}: the disk must have enough space. Got [Errno 28] No space left on device.\n"
    assert capsys.readouterr().err == sentence


@pytest.mark.parametrize(
    ("system", "error", "code"),
    [
        ("nt", OSError(errno.EINVAL, "Invalid argument"), 141),
        ("nt", OSError(errno.EINVAL, "Invalid argument", "a?b"), None),
        ("posix", OSError(errno.EINVAL, "Invalid argument"), None),
        ("posix", BrokenPipeError(), 141),
    ],
)
def test_windows_calls_a_closed_pipe_an_invalid_argument(explain_does, monkeypatch, system, error, code):
    explain_does(raising(error))
    monkeypatch.setattr(module, "os", SimpleNamespace(**{**vars(os), "name": system}))
    with open(os.devnull, "w") as output:
        monkeypatch.setattr("sys.stdout", output)
        if code is None:
            with pytest.raises(OSError, match="Invalid argument"):
                main(["explain"])
        else:
            assert main(["explain"]) == code


@pytest.mark.any_backend
@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_output_that_nobody_reads_on_is_no_fault(arguments):
    command = [sys.executable, "-m", "keras_griffin", "explain", *arguments]
    # Closed before the command starts, which may print its help at once.
    reader, writer = os.pipe()
    os.close(reader)
    run = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert run.returncode == 141 and "Error" not in run.stderr, run.stderr
