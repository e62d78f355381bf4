import json
import platform
from importlib import metadata

import keras
import numpy

from keras_griffin.commands.shared.training import versions
from keras_griffin.tokenizers import ByteTokenizer, train_bpe


def test_what_a_result_was_made_with_is_named():
    found = versions(ByteTokenizer())
    assert list(found) == ["python", "keras", "keras_griffin", "numpy"] + [keras.backend.backend()] * (
        keras.backend.backend() != "numpy"
    )
    assert found["python"] == platform.python_version()
    assert (found["keras"], found["numpy"]) == (keras.__version__, numpy.__version__)
    assert json.loads(json.dumps(found)) == found


def test_so_is_the_package_of_a_tokenizer():
    assert versions(train_bpe(["a"], 257))["tokenizers"] == metadata.version("tokenizers")
