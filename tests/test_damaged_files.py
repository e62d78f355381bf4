"""Whatever happens to a file, loading it gives what it held, or one sentence: never another error, and no wait."""

import functools
import io
import json
import random
import re
import shutil
import struct
import zipfile

import keras
import numpy as np
import pytest
from tokenizers import Tokenizer

from keras_griffin.commands.shared.errors import CommandError
from keras_griffin.commands.shared.load import load_model
from keras_griffin.conversion import load_rwkv, save_huggingface
from keras_griffin.conversion.checkpoint import open_checkpoint
from keras_griffin.files.safetensors import write_safetensors
from keras_griffin.generation import load_state, save_state
from keras_griffin.models import Griffin, GriffinConfig, LanguageModel
from keras_griffin.models.saving.weights import as_array
from keras_griffin.testing.arrays import as_array as values_of
from keras_griffin.tokenizers import ByteTokenizer, HuggingFaceTokenizer, load_tokenizer
from keras_griffin.training import TokenFile, write_token_file
from keras_griffin.training.resuming.run_file import read_run, write_run

pytestmark = [pytest.mark.any_backend, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
#: How often each file is changed; raise it to look for longer.
CHANGES = 25
CONFIG = GriffinConfig(
    vocabulary_size=256, width=8, num_layers=1, num_heads=2, num_gate_blocks=2, block_pattern=("recurrent",)
)
#: What may stand in JSON where something else should.
STRANGE = [None, True, -1, 0, 2**31, 2**40, 2**63, 10**30, 1e308, np.nan, "", "x", "\ud800", [], {}, [[2**40] * 2]]
SENTENCE = re.compile(r"[A-Za-z]\w*: [^\n]{1,3000}\.")


def weights(model):
    return model.config.to_dict(), [(each.path, as_array(each).tobytes()) for each in model.weights]


@functools.cache
def unadapted():
    return Griffin(CONFIG)


def adapted(folder):
    """A model is shared by the files that it refuses, and so must not have changed."""
    model = unadapted()
    assert model.lora is None
    model.load_adapter(folder / "adapter.safetensors", verify=False)
    unadapted.cache_clear()
    return [as_array(each).tobytes() for each in model.lora.variables.values()], model.lora.alpha, model.lora.targets


def written(folder):
    tokenizer = load_tokenizer(folder)
    return tokenizer and (tokenizer.vocabulary_size, tokenizer.encode("a cab"), tokenizer.start_id, tokenizer.stop_ids)


def make_state(folder):
    save_state(Griffin(CONFIG).prefill([[1, 2, 3]]), folder / "state.safetensors")


def make_preset(folder):
    Griffin(CONFIG, tokenizer=ByteTokenizer()).save_to_preset(folder)


def make_adapter(folder):
    model = Griffin(CONFIG)
    model.enable_lora(2, targets=["up"])
    model.save_adapter(folder / "adapter.safetensors")


def make_keras(folder):
    Griffin(CONFIG, tokenizer=ByteTokenizer()).save(folder / "model.keras")


def make_rwkv(folder):
    model = LanguageModel.from_preset("rwkv4_169m", vocabulary_size=8, width=4, num_layers=2)
    save_huggingface(model, folder)


def make_pth(folder):
    import torch

    make_rwkv(folder / "rwkv")
    tensors = {name: torch.tensor(each.read()) for name, each in open_checkpoint(folder / "rwkv").items()}
    shutil.copy(folder / "rwkv" / "config.json", folder)
    shutil.rmtree(folder / "rwkv")
    torch.save(tensors, folder / "model.pth")


def make_npz(folder):
    np.savez_compressed(folder / "a.npz", a=np.arange(600.0).reshape(20, 30), b=np.ones(3, "int32"))


def make_shards(folder):
    for name in "ab":
        write_safetensors(folder / f"{name}.safetensors", {name: np.ones(3)})
    index = {"weight_map": {name: f"{name}.safetensors" for name in "ab"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def make_tokenizer(folder):
    letters = {letter: index for index, letter in enumerate("abcĠ")}
    model = {"type": "BPE", "vocab": letters, "merges": [], "byte_fallback": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    content = {"version": "1.0", "pre_tokenizer": byte_level, "decoder": byte_level, "model": model}
    HuggingFaceTokenizer(Tokenizer.from_str(json.dumps(content))).save(folder)


def make_token_file(folder):
    write_token_file(folder / "tokens", [np.array([1, 2, 3]), np.array([4, 5])], vocabulary_size=10)


def make_run(folder):
    write_run(folder / "run.safetensors", {"a": np.arange(5.0)}, {"step": 3, "b": [1, {"c": 2}]})


def run_of(folder):
    run = read_run(folder / "run.safetensors")
    return run.facts, {name: array.tobytes() for name, array in run.tensors.items()}


def state_of(folder):
    return [values_of(leaf).tobytes() for leaf in keras.tree.flatten(load_state(folder / "state.safetensors"))]


def tensors(path):
    return [each.read().tobytes() for each in open_checkpoint(path).values()]


def documents(folder):
    return [document.tolist() for document in TokenFile(folder / "tokens")]


PRESET = ["config.json", "model.safetensors", "byte_tokenizer.json"]
CHECKED = [*PRESET, "keras_griffin_checksums.json"]
INDEXED = ["model.safetensors.index.json", "a.safetensors"]
#: For each format: what makes a folder, the files to change, what reads it, and whether any change must be noticed.
FORMATS = {
    "state": (make_state, ["state.safetensors"], state_of, True),
    "preset": (make_preset, CHECKED, lambda folder: weights(Griffin.from_preset(folder)), True),
    "unverified": (make_preset, PRESET, lambda folder: weights(Griffin.from_preset(folder, verify=False)), False),
    "adapter": (make_adapter, ["adapter.safetensors"], adapted, True),
    "keras": (make_keras, ["model.keras"], lambda folder: weights(load_model("chat", folder / "model.keras")), False),
    "rwkv": (make_rwkv, ["config.json", "model.safetensors"], lambda folder: weights(load_rwkv(folder)), False),
    "pth": (make_pth, ["model.pth"], lambda folder: weights(load_rwkv(folder / "model.pth")), False),
    "npz": (make_npz, ["a.npz"], lambda folder: tensors(folder / "a.npz"), False),
    "shards": (make_shards, INDEXED, tensors, False),
    "tokenizer": (make_tokenizer, ["tokenizer.json", "special_ids.json"], written, False),
    "token file": (make_token_file, ["tokens"], documents, False),
    "run": (make_run, ["run.safetensors"], run_of, True),
}


def changed_bytes(chance, data):
    """Cut, with bits flipped, longer, shorter, or with a number near the start that is none."""
    at, data = chance.randrange(len(data)), bytearray(data)
    match chance.randrange(5):
        case 0:
            del data[at:]
        case 1:
            data[at] ^= 1 << chance.randrange(8)
        case 2:
            data[at:at] = chance.randbytes(chance.choice([1, 8]))
        case 3:
            del data[at : at + chance.choice([1, 8])]
        case _:
            at = at % 400
            data[at : at + 8] = struct.pack("<Q", chance.choice([0, 2**31, 2**40, 2**64 - 1]))
    return bytes(data)


def changed_json(chance, content):
    """With one value, at any depth and also in the JSON of a string, gone, renamed or replaced."""
    if isinstance(content, str) and content[:1] in "[{":
        return json.dumps(changed_json(chance, json.loads(content)))
    if not isinstance(content, dict | list) or not content or chance.random() < 0.1:
        is_count = type(content) is int and chance.random() < 0.5
        return content + chance.choice([-1, 1, 10**6]) if is_count else chance.choice(STRANGE)
    content, key = content.copy(), chance.choice(list(content) if isinstance(content, dict) else range(len(content)))
    action = chance.random()
    if action < 0.1:
        del content[key]
    elif action < 0.2 and isinstance(content, dict):
        content["x"] = content.pop(key)
    else:
        content[key] = changed_json(chance, content[key])
    return content


def changed(chance, name, data):
    """A file's bytes after a change of their own kind, or of any."""
    if chance.random() < 0.4:
        return changed_bytes(chance, data)
    if name.endswith(".json"):
        return json.dumps(changed_json(chance, json.loads(data))).encode()
    if name.endswith(".safetensors"):
        (length,) = struct.unpack("<Q", data[:8])
        header = json.dumps(changed_json(chance, json.loads(data[8 : 8 + length]))).encode()
        return struct.pack("<Q", len(header)) + header + data[8 + length :]
    if data[:2] != b"PK":
        return changed_bytes(chance, data)
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(result, "w") as other:
        part = chance.choice(archive.namelist())
        for each in archive.namelist():
            content = archive.read(each)
            other.writestr(each, changed(chance, each, content) if each == part and content else content)
    return result.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_changed_file_gives_what_it_held_or_one_sentence(kind, tmp_path):
    make, names, load, is_noticed = FORMATS[kind]
    whole, folder = tmp_path / "whole", tmp_path / "changed"
    whole.mkdir()
    make(whole)
    expected, chance, refused = load(whole), random.Random(kind), 0
    for _ in range(CHANGES):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        path = folder / chance.choice(names)
        path.write_bytes(changed(chance, path.name, path.read_bytes()))
        try:
            found = load(folder)
        except (ValueError, CommandError) as error:
            assert type(error) in (ValueError, CommandError) and SENTENCE.fullmatch(str(error)), path.read_bytes()
            refused += 1
        else:
            assert found == expected or not is_noticed, path.read_bytes()
    assert refused > CHANGES // 4
