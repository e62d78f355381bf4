import pytest

from keras_griffin.commands.shared.errors import CommandError
from keras_griffin.commands.shared.load import load_named_tokenizer
from keras_griffin.tokenizers import ByteTokenizer, train_bpe

pytestmark = pytest.mark.any_backend


def test_it_is_found_in_a_folder_or_in_a_file_that_is_one(tmp_path):
    tokenizer = train_bpe(["the cat"], 300)
    tokenizer.save(tmp_path)
    assert load_named_tokenizer("train", str(tmp_path)) == tokenizer
    assert load_named_tokenizer("train", str(tmp_path / "tokenizer.json")) == tokenizer


def test_no_name_means_bytes():
    assert load_named_tokenizer("train", None) == ByteTokenizer()


@pytest.mark.parametrize("path", ["", "no/where"])
def test_where_there_is_none_the_command_says_so(path):
    with pytest.raises(CommandError) as error:
        load_named_tokenizer("train", path)
    assert str(error.value) == (
        "train: --tokenizer must be a folder with one of byte_tokenizer.json, tokenizer.json, tokenizer.model. "
        f"Got {path!r}."
    )
