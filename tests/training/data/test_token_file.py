"""Documents to a file and back; and what is no such file, or a damaged one."""

import os
import pickle
import struct
import zlib
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_griffin.tokenizers import ByteTokenizer
from keras_griffin.training import ConsecutiveChunks, PackedDocuments, TokenFile, write_token_file
from keras_griffin.training.data.fingerprint import tokenizer_fingerprint
from keras_griffin.training.data.token_file import HEADER_BYTES, MAGIC

pytestmark = pytest.mark.any_backend


def documents(vocabulary_size, count=20):
    generator = np.random.default_rng(0)
    return [generator.integers(0, vocabulary_size, length) for length in generator.integers(0, 40, count)]


@pytest.mark.parametrize(("vocabulary_size", "dtype"), [(256, "uint16"), (65536, "uint16"), (65537, "uint32")])
def test_documents_come_back(tmp_path, vocabulary_size, dtype):
    given = [*documents(vocabulary_size), np.array([0, vocabulary_size - 1]), []]
    write_token_file(tmp_path / "some.tokens", iter(given), vocabulary_size)
    file = TokenFile(tmp_path / "some.tokens")
    assert (len(file), file.vocabulary_size, file.dtype, file.fingerprint) == (22, vocabulary_size, dtype, None)
    assert file.lengths.tolist() == list(map(len, given))
    for one, other in zip(file, given, strict=True):
        assert one.dtype == dtype and not one.flags.writeable
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(file[-2], given[-2])
    np.testing.assert_array_equal(file.tokens, np.concatenate(given))
    file.verify()
    assert os.listdir(tmp_path) == ["some.tokens"]


def test_the_files_of_a_folder_count_as_one(tmp_path):
    """Some of them without documents, and documents without tokens at their ends."""
    given = [[], *documents(300), []]
    write_token_file(tmp_path / "some.tokens", given, 300)
    whole = TokenFile(tmp_path / "some.tokens")
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "README").touch()
    bounds = [0, 0, 1, 9, 9, len(given)]
    for number in range(5):
        part = given[bounds[number] : bounds[number + 1]]
        write_token_file(tmp_path / "some" / f"{number:05}-of-00005.tokens", part, 300)
    folder = TokenFile(tmp_path / "some")
    assert repr(folder) == repr(whole).replace(")", ", 5 files)")
    assert list(map(len, folder.shards)) == [0, 1, 8, 0, 13] and folder.num_tokens == whole.num_tokens
    np.testing.assert_array_equal(folder.offsets, whole.offsets)
    np.testing.assert_array_equal(folder.lengths, whole.lengths)
    for each in (folder, pickle.loads(pickle.dumps(folder))):
        for number in range(-len(given), len(given)):
            assert each[number].dtype == whole.dtype and not each[number].flags.writeable
            np.testing.assert_array_equal(each[number], whole[number])
    for kind in (PackedDocuments, ConsecutiveChunks):
        one, other = (kind(file, 16, 4) for file in (whole, folder))
        assert one.num_batches == other.num_batches > 1
        for index in range(one.num_batches):
            keras.tree.map_structure(np.testing.assert_array_equal, one[index], other[index])
    folder.verify()
    with pytest.raises(ValueError, match=r"^TokenFile: tokens must be those of one file, such as shards\[0\]\. Got 5 "):
        folder.tokens  # noqa: B018


def test_what_is_no_whole_folder_is_refused(tmp_path):
    def refused(sentence):
        with pytest.raises(ValueError, match=f"^TokenFile: {sentence}, in '.*'\\.$"):
            TokenFile(tmp_path).verify()

    rule = "a folder must have all of its files, 00000-of-0000{}.tokens and so on, and no others so named. Got a folder"
    refused(f"{rule.format(1)} without 00000-of-00001.tokens")
    (tmp_path / "00000-of-00001.tokens").symlink_to(tmp_path)
    refused(f"{rule.format(1)} without 00000-of-00001.tokens")
    (tmp_path / "00000-of-00001.tokens").unlink()
    write_token_file(tmp_path / "00000-of-00003.tokens", [[1]], 9)
    write_token_file(tmp_path / "00002-of-00003.tokens", [[2]], 9)
    refused(f"{rule.format(3)} without 00001-of-00003.tokens")
    write_token_file(tmp_path / "00001-of-00003.tokens", [[3]], 8)
    refused(
        "the files of a folder must have one vocabulary and one tokenizer. Got 9 ids of tokenizer None in "
        "00000-of-00003.tokens, and 8 of None in 00001-of-00003.tokens"
    )
    write_token_file(tmp_path / "00001-of-00003.tokens", [[3]], 9)
    before = TokenFile(tmp_path).checksum
    write_token_file(tmp_path / "00001-of-00003.tokens", [[4]], 9)
    assert TokenFile(tmp_path).checksum != before
    damaged = (tmp_path / "00001-of-00003.tokens").read_bytes()
    (tmp_path / "00001-of-00003.tokens").write_bytes(damaged[:80] + b"\5" + damaged[81:])
    refused("the tokens must match their checksum. Got a mismatch")
    write_token_file(tmp_path / "00000-of-00002.tokens", [[1]], 9)
    refused(f"{rule.format(3)} with 00000-of-00002.tokens")


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    events, replaced = [], os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append(os.fstat(descriptor).st_size))
    monkeypatch.setattr(os, "replace", lambda *pair: (events.append("rename"), replaced(*pair)))
    write_token_file(tmp_path / "some.tokens", [[1, 2], [3]], 256)
    assert events[:2] == [(tmp_path / "some.tokens").stat().st_size, "rename"]


def test_the_format_is_the_one_that_is_documented(tmp_path):
    write_token_file(tmp_path / "some.tokens", [[1, 2], [515]], 1000, tokenizer=None)
    written = (tmp_path / "some.tokens").read_bytes()
    tokens, offsets = struct.pack("<3H", 1, 2, 515), struct.pack("<3Q", 0, 2, 3)
    header = b"KGTOKENS" + struct.pack("<IIQQQ", 1, 2, 1000, 2, 3) + bytes(32) + struct.pack("<I", zlib.crc32(tokens))
    assert len(header) == 76
    header += struct.pack("<I", zlib.crc32(header + offsets))
    assert written == header + tokens + bytes(2) + offsets


def test_what_is_damaged_in_any_byte_is_cut_off_or_goes_on_is_refused(tmp_path):
    path = tmp_path / "some.tokens"
    write_token_file(path, [[1, 2], [3, 4, 5], [6]], 256)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        if place in range(HEADER_BYTES + 12, HEADER_BYTES + 16):
            continue  # what fills the tokens up to a multiple of 8
        with pytest.raises(ValueError, match=r"^TokenFile: [^\n]*, in '.*some\.tokens'\.$"):
            TokenFile(path).verify()
    for part in [*(whole[:size] for size in range(len(whole))), whole + b"\0"]:
        path.write_bytes(part)
        with pytest.raises(ValueError, match=rf"^TokenFile: .* Got .*\b{len(part)}( bytes)?, in '.*some\.tokens'\.$"):
            TokenFile(path)


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (0, b"PK\3\4\0\0\0\0", rf"the file must begin with {MAGIC!r} and a header\. Got b'PK.* and 128 bytes"),
        (8, struct.pack("<I", 7), r"the file must be of version 1\. Got version 7"),
        (12, struct.pack("<I", 3), r"a token must have 2 or 4 bytes\. Got 3"),
        (24, struct.pack("<Q", 2**60), r"\d+ documents of 6 tokens must make \d+ bytes\. Got 128"),
        (16, struct.pack("<Q", 9), r"the header and the table of documents must match their checksum\. Got a mismatch"),
        (80, b"\x09", r"the tokens must match their checksum\. Got a mismatch"),
    ],
)
def test_what_is_something_else_is_said(tmp_path, place, value, sentence):
    path = tmp_path / "some.tokens"
    write_token_file(path, [[1, 2], [3, 4, 5], [6]], 256)
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + value + whole[place + len(value) :])
    with pytest.raises(ValueError, match=f"^TokenFile: {sentence}, in '.*some.tokens'\\.$"):
        TokenFile(path).verify()


def test_what_ends_early_leaves_the_old_file(tmp_path):
    def interrupted():
        yield [1, 2]
        raise KeyboardInterrupt

    write_token_file(tmp_path / "some.tokens", [[7]], 256)
    with pytest.raises(KeyboardInterrupt):
        write_token_file(tmp_path / "some.tokens", interrupted(), 256)
    assert TokenFile(tmp_path / "some.tokens")[0].tolist() == [7] and os.listdir(tmp_path) == ["some.tokens"]


@pytest.mark.parametrize("size", [None, 0, 2**32 + 1])
def test_a_vocabulary_is_needed(tmp_path, size):
    sentence = rf"^write_token_file: vocabulary_size must be from 1 to 2\*\*32, or a tokenizer's\. Got {size}\.$"
    with pytest.raises(ValueError, match=sentence):
        write_token_file(tmp_path / "some.tokens", [[1]], size)


def test_documents_outside_the_vocabulary_are_refused(tmp_path):
    for document in ([3, 256], [-1, 3]):
        sentence = rf"ids must be from 0 to 255\. Got ids from {min(document)} to {max(document)}, document 1\.$"
        with pytest.raises(ValueError, match=rf"^write_token_file: token {sentence}"):
            write_token_file(tmp_path / "some.tokens", [[1], document], 256)
    with pytest.raises(ValueError, match=r"^write_token_file: a document must be integers of shape \(T,\)\. Got "):
        write_token_file(tmp_path / "some.tokens", [[1.0]], 256)
    assert not os.listdir(tmp_path)


class Backwards(ByteTokenizer):
    """Another tokenizer over as many ids."""

    def encode(self, text, *, start=True):
        return [255 - token_id for token_id in super().encode(text)]

    def token_bytes(self, token_id, is_first=False):
        return super().token_bytes(255 - token_id)


def test_tokenizers_are_told_apart():
    assert tokenizer_fingerprint(ByteTokenizer()) == tokenizer_fingerprint(ByteTokenizer())
    assert len(tokenizer_fingerprint(ByteTokenizer())) == 32
    other = ByteTokenizer()
    other.stop_ids = (0,)
    digests = {tokenizer_fingerprint(tokenizer) for tokenizer in (ByteTokenizer(), Backwards(), other)}
    assert len(digests) == 3


def test_a_model_of_another_vocabulary_or_tokenizer_is_refused(tmp_path):
    def model(size, tokenizer):
        return SimpleNamespace(config=SimpleNamespace(vocabulary_size=size), tokenizer=tokenizer)

    write_token_file(tmp_path / "some.tokens", [[7]], tokenizer=ByteTokenizer())
    write_token_file(tmp_path / "unknown.tokens", [[7]], 256)
    file, unknown = TokenFile(tmp_path / "some.tokens"), TokenFile(tmp_path / "unknown.tokens")
    assert file.fingerprint == tokenizer_fingerprint(ByteTokenizer()).hex()
    for fitting in (model(256, ByteTokenizer()), model(1000, None)):
        file.check_model(fitting)
    unknown.check_model(model(256, Backwards()))
    sentence = (
        r"^check_model: the tokens must be of the model's vocabulary of 100\. Got a vocabulary of 256, in '.*'\.$"
    )
    with pytest.raises(ValueError, match=sentence):
        file.check_model(model(100, None))
    sentence = (
        r"^check_model: the tokens must be those of the model's tokenizer, .*\. Got those of a different one, in '"
    )
    with pytest.raises(ValueError, match=sentence):
        file.check_model(model(256, Backwards()))
