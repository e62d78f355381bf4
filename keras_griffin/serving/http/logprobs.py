"""Log-probabilities in the two schemas of OpenAI."""

from collections.abc import Iterable

from keras_griffin.serving.engine.job import Scored
from keras_griffin.tokenizers import Tokenizer
from keras_griffin.tokenizers.incremental_decoder import IncrementalDecoder

#: JSON has no infinity.
LEAST = -9999.0


class ChatLogprobs:
    """Those of `/v1/chat/completions`: an object for each token."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer

    def of(self, scores: Iterable[Scored]) -> dict:
        """The object of some tokens."""
        content = [
            {**self._one(token_id, logprob), "top_logprobs": [self._one(*each) for each in top]}
            for token_id, logprob, top in scores
        ]
        return {"content": content, "refusal": None}

    def _one(self, token_id, logprob):
        written = self._tokenizer.token_bytes(token_id)
        return {"token": written.decode("utf-8", "replace"), "logprob": _finite(logprob), "bytes": [*written]}


class CompletionLogprobs:
    """Those of `/v1/completions`: lists; an offset is that of a token's first character in the choice's whole text."""

    def __init__(self, tokenizer: Tokenizer, *, is_first: bool):
        self._tokenizer = tokenizer
        self._decoder = IncrementalDecoder(tokenizer, is_first=is_first)
        self._offset = 0

    def of(self, scores: Iterable[Scored]) -> dict:
        """The object of the next tokens."""
        lists: dict[str, list] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for token_id, logprob, top in scores:
            text = self._text(token_id)
            # The likelier of two tokens that are written alike comes first.
            likeliest = {self._text(each): _finite(value) for each, value in reversed(top)}
            lists["tokens"].append(text)
            lists["token_logprobs"].append(_finite(logprob))
            lists["top_logprobs"].append(None if logprob is None else {text: _finite(logprob)} | likeliest)
            lists["text_offset"].append(self._place(token_id))
        return lists

    def _place(self, token_id):
        """Where a token begins: after a character that it shows to be broken, within one that it goes on with."""
        before = self._offset
        self._offset += len(self._decoder.push(token_id))
        alone = len(IncrementalDecoder(self._tokenizer, is_first=False).push(token_id))
        return max(before, self._offset - alone)

    def _text(self, token_id):
        """A token as OpenAI writes it; parts of characters as escaped bytes."""
        written = self._tokenizer.token_bytes(token_id)
        try:
            return written.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in written)


def _finite(logprob):
    return None if logprob is None else logprob if logprob > LEAST else LEAST
