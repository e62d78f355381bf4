import json
import zlib

import numpy as np
import pytest

from keras_griffin.files.safetensors import SafeTensors, StoredTensor, write_safetensors
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.models.saving.checksums import CHECKSUMS, check_files, recorded, verified, write_checksums
from keras_griffin.models.saving.preset_files import save_to_preset
from keras_griffin.tokenizers import ByteTokenizer

pytestmark = pytest.mark.any_backend

CONFIG = GriffinConfig(vocabulary_size=256, width=16, num_layers=1, num_heads=2, window=4)
RULE = r"^from_preset: every file must be as save_to_preset wrote it; verify=False .* Got '.*' with "


@pytest.fixture
def folder(tmp_path):
    """Two tensors and two small files, as a preset's."""
    arrays = {"a": np.arange(6, dtype="float32").reshape(2, 3), "b": np.float16(2.0), "c": np.zeros((0, 2))}
    sums = {}
    stored = {name: StoredTensor(x.shape, x.dtype, lambda x=x: x) for name, x in arrays.items()}
    write_safetensors(tmp_path / "model.safetensors", recorded(stored, sums))
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text(json.dumps({"name": name}))
    write_checksums(tmp_path, SafeTensors(tmp_path / "model.safetensors"), sums)
    return tmp_path


def read_all(folder):
    check_files(folder)
    return {name: stored.read() for name, stored in verified(folder, SafeTensors(folder / "model.safetensors")).items()}


def test_what_is_whole_is_read(folder):
    assert read_all(folder)["a"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert sorted(path.name for path in folder.iterdir() if path.name != CHECKSUMS) == [
        *("config.json", "model.safetensors", "tokenizer.json")
    ]


def test_no_file_elsewhere_is_read(folder):
    (folder.parent / "secret").write_text("")
    content = {"files": {"../secret": zlib.crc32(b"")}, "header": 0, "tensors": {}}
    (folder / CHECKSUMS).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"{RULE}no \.\./secret\.$"):
        check_files(folder)


def test_from_preset_looks_unless_told_not_to(tmp_path):
    model = Griffin(CONFIG, tokenizer=ByteTokenizer())
    save_to_preset(model, tmp_path / "preset")
    for name, sentence in {
        "config.json": r"a changed config\.json",
        "byte_tokenizer.json": r"a changed byte_tokenizer\.json",
        "model.safetensors": "a changed final_norm/scale|a changed block_0/.*|a changed token_embedding/embeddings",
    }.items():
        whole = (tmp_path / "preset" / name).read_bytes()
        # In the small files a space; in the other one a number.
        place = whole.rindex(b" ") if name.endswith(".json") else len(whole) - 3
        changed = bytearray(whole)
        changed[place] = ord("\t") if name.endswith(".json") else whole[place] ^ 1
        (tmp_path / "preset" / name).write_bytes(changed)
        with pytest.raises(ValueError, match=rf"{RULE}({sentence})\.$"):
            Griffin.from_preset(tmp_path / "preset")
        assert Griffin.from_preset(tmp_path / "preset", verify=False).config == CONFIG
        (tmp_path / "preset" / name).write_bytes(whole)
    (tmp_path / "preset" / CHECKSUMS).unlink()
    with pytest.raises(ValueError, match=rf"{RULE}no {CHECKSUMS}\.$"):
        Griffin.from_preset(tmp_path / "preset")
