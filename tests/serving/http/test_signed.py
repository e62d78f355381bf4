import base64
import hashlib
import hmac

import keras
import numpy as np
import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.serving.http.refusal import Refusal
from keras_griffin.serving.http.signed import SignedStates, fingerprint
from keras_griffin.tokenizers import ByteTokenizer

KEY = "a key of the server"
CONFIG = GriffinConfig(
    vocabulary_size=300, width=16, num_layers=2, num_heads=2, window=8, block_pattern=("recurrent", "local_mqa")
)


pytestmark = pytest.mark.any_backend


def made(**options):
    return Griffin(CONFIG, tokenizer=ByteTokenizer(), **options)


@pytest.fixture(scope="module")
def model():
    return made()


@pytest.fixture(scope="module")
def signed(model):
    return SignedStates(model, KEY, 10**6)


@pytest.fixture(scope="module")
def state(model):
    return model.prefill([[1, 2, 3]])


@pytest.mark.parametrize("is_ended", [True, False])
def test_a_state_that_was_handed_out_comes_back(signed, state, is_ended):
    text = signed.sign(state, is_ended=is_ended)
    assert len(text) <= signed.most_characters
    back, was_ended = signed.read(text)
    assert was_ended is is_ended and type(back) is type(state)
    for ours, theirs in zip(keras.tree.flatten(back), keras.tree.flatten(state), strict=True):
        ours, theirs = keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_another_server_with_the_key_and_the_model_reads_it(model, signed, state):
    other = made(name="another_name")
    other.set_weights(model.get_weights())
    SignedStates(other, KEY, 0).read(signed.sign(state, is_ended=True))


UNSIGNED = "state must be whole and unchanged, and signed with this server's key."


def changed(text, place):
    content = bytearray(base64.b64decode(text))
    content[place] ^= 1
    return base64.b64encode(content).decode()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: "", UNSIGNED),
        (lambda text: text[:40], UNSIGNED),
        (lambda text: text[:-400], UNSIGNED),
        (lambda text: changed(text, 0), UNSIGNED),
        (lambda text: changed(text, 40), UNSIGNED),
        (lambda text: changed(text, 64), UNSIGNED),
        (lambda text: changed(text, -1), UNSIGNED),
        (lambda text: base64.b64encode(bytes(500)).decode(), UNSIGNED),
        (lambda text: text[:-1] + "!", "state must be base64, as it was handed out."),
        (lambda text: text + "\n", "state must be base64, as it was handed out."),
        (lambda text: text[:-3] + "é", "state must be base64, as it was handed out."),
    ],
)
def test_a_state_that_is_not_ours_is_refused(signed, state, change, sentence):
    with pytest.raises(Refusal) as raised:
        signed.read(change(signed.sign(state, is_ended=True)))
    assert str(raised.value) == sentence
    assert (raised.value.status, raised.value.param) == (400, "state")


def test_a_state_with_another_key_or_model_or_size_is_refused(model, signed, state):
    text = signed.sign(state, is_ended=True)
    with pytest.raises(Refusal) as raised:
        SignedStates(model, "another key", 0).read(text)
    assert str(raised.value) == UNSIGNED and KEY not in str(raised.value)
    other = made()
    other.set_weights([2 * weight for weight in model.get_weights()])
    with pytest.raises(Refusal, match="^state must be of the model that this server runs.$"):
        SignedStates(other, KEY, 0).read(text)
    with pytest.raises(Refusal, match=f"^state must have at most {signed.most_characters} characters. Got 10000000.$"):
        signed.read("A" * 10**7)


def test_a_state_that_grows_may_be_as_large_as_a_body():
    config = CONFIG.replace(block_pattern=("global_mqa",))
    assert SignedStates(Griffin(config, tokenizer=ByteTokenizer()), KEY, 12345).most_characters == 12345


def test_the_signature_is_hmac_sha256(signed, state):
    content = base64.b64decode(signed.sign(state, is_ended=True))
    assert content[:32] == hmac.new(KEY.encode(), content[32:], hashlib.sha256).digest()
    assert content[64] == 1


def test_a_fingerprint_tells_models_apart_and_not_their_names(model):
    first = fingerprint(model)
    assert fingerprint(model) == first and len(first) == 32
    copy = made(name="copy")
    copy.set_weights(model.get_weights())
    assert fingerprint(copy) == first
    weights = model.get_weights()
    weights[3] = np.nextafter(weights[3], np.float32(9)).astype("float32")
    copy.set_weights(weights)
    assert fingerprint(copy) != first
    copy.set_weights(model.get_weights())
    copy.tokenizer = type("Upside", (ByteTokenizer,), {"token_bytes": lambda self, token_id: bytes([255 - token_id])})()
    assert fingerprint(copy) != first
