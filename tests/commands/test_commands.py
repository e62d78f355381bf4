from keras_griffin.commands import COMMANDS


def test_a_command_is_a_module_with_options_and_an_action():
    assert list(COMMANDS) == ["train", "generate", "chat", "convert", "tokenize", "explain"]
    for command in COMMANDS.values():
        assert callable(command.add_arguments) and callable(command.run)
        assert command.__doc__.splitlines()[0].endswith(".")
