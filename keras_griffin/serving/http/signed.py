"""States that clients hold: signed by the server, so that nobody else can make one or change it.

In base64: a signature, HMAC-SHA256 by the server's key of all that follows; a fingerprint of the model; a byte, 1 if
the state has read the end of a chat's answer; and a file as `save_state` writes it.
"""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import asdict

from keras import ops

from keras_griffin.generation.capacity import grows, walk
from keras_griffin.generation.state import LanguageModelState
from keras_griffin.generation.state_io import state_from_bytes, state_to_bytes
from keras_griffin.serving.http.refusal import Refusal

_SIZE = hashlib.sha256().digest_size
#: More than a file of a state has beside its tensors, for each of them.
_HEADER = 512


class SignedStates:
    """Signs the states of a model, and reads them again.

    Args:
        key: any text; whoever knows it can sign.
        most_characters: of a state that grows with its tokens; others have a known size.
    """

    def __init__(self, model, key: str, most_characters: int):
        self._key = key.encode()
        self._fingerprint = fingerprint(model)
        state = model.initial_state(1)
        num_bytes = state.num_bytes + _HEADER * (2 + len([*walk(state)]))
        #: How long a signed state is at most.
        self.most_characters = most_characters if grows(state) else 4 * (num_bytes + 2 * _SIZE) // 3

    def sign(self, state: LanguageModelState, *, is_ended: bool) -> str:
        """A state for a client."""
        content = self._fingerprint + bytes([is_ended]) + state_to_bytes(state)
        return base64.b64encode(self._signature(content) + content).decode()

    def read(self, text: str) -> tuple[LanguageModelState, bool]:
        """The state of a client, and whether it has read the end of an answer."""
        if len(text) > self.most_characters:
            _refuse(f"have at most {self.most_characters} characters. Got {len(text)}.")
        try:
            signed = base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            _refuse("be base64, as it was handed out.")
        signature, content = signed[:_SIZE], signed[_SIZE:]
        if not hmac.compare_digest(signature, self._signature(content)):
            _refuse("be whole and unchanged, and signed with this server's key.")
        if not hmac.compare_digest(content[:_SIZE], self._fingerprint):
            _refuse("be of the model that this server runs.")
        return state_from_bytes(content[_SIZE + 1 :]), bool(content[_SIZE])

    def _signature(self, content):
        return hmac.digest(self._key, content, "sha256")


def fingerprint(model) -> bytes:
    """A hash of all that a state's meaning depends on: the model's config, vocabulary, dtype and weights."""
    hashed = hashlib.sha256(json.dumps([asdict(model.config), model.dtype_policy.name], default=str).encode())
    tokenizer = model.tokenizer
    for token_id in range(tokenizer.vocabulary_size):
        written = tokenizer.token_bytes(token_id)
        hashed.update(len(written).to_bytes(4, "little") + written)
    for variable in model.weights:
        array = ops.convert_to_numpy(variable)
        # Not its path, which has the model's name.
        hashed.update(f"{array.dtype} {array.shape}".encode())
        hashed.update(array.tobytes())
    return hashed.digest()


def _refuse(rule):
    raise Refusal(f"state must {rule}", param="state")
