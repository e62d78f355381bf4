"""`transformers` as a reference: its models, asked as the others are."""

import numpy as np
import torch
import transformers
from transformers import RecurrentGemmaForCausalLM

from parity.recurrent_families import FAMILIES


class Transformers:
    """A Hugging Face folder loaded by `transformers`, in float32."""

    #: Decoding begins with the token after the prompt.
    last_prompt_token_is_a_step = False

    def __init__(self, folder):
        self.model = RecurrentGemmaForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()

    @torch.no_grad()
    def forward(self, tokens, positions, cache=None, keep=False):
        """Logits, and the cache where it is to be kept. A position of -1 is padding, masked as `generate` does it."""
        past, seen = (None, np.empty((len(tokens), 0), int)) if cache is None else cache
        seen = np.concatenate([seen, positions], 1)
        padded = {"attention_mask": torch.tensor(seen >= 0).long()} if (seen < 0).any() else {}
        positions = torch.tensor(np.maximum(positions, 0))
        keep = keep or cache is not None
        if keep and past is None:
            past = self._empty_cache(len(tokens))
        logits = self.model(torch.tensor(tokens), positions, cache=past, use_cache=keep, **padded).logits
        return logits.numpy(), (past, seen)

    def generate(self, prompts, max_new_tokens):
        """Prompts with their greedy continuations; padded on the left to one length."""
        length = max(map(len, prompts))
        tokens = torch.tensor([[0] * (length - len(row)) + row for row in prompts])
        mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in prompts])
        config = self.model.generation_config
        # Every row goes on to the end.
        config.eos_token_id, config.pad_token_id = None, 0
        output = self.model.generate(tokens, attention_mask=mask, do_sample=False, max_new_tokens=max_new_tokens)
        return [row[length - len(prompt) :] for row, prompt in zip(output.tolist(), prompts, strict=True)]

    def _empty_cache(self, rows):
        from transformers import DynamicCache

        # What the model itself does when it is called with `use_cache` and no cache; it doesn't give its own back.
        self.model._setup_cache(self.model.config, rows, "cpu", torch.float32)
        return DynamicCache(config=self.model.config)


class RecurrentTransformers(Transformers):
    """A Hugging Face folder of one of `parity.recurrent_families`."""

    def __init__(self, folder, family):
        self.family = FAMILIES[family]
        cls = getattr(transformers, self.family.architecture)
        self.model = cls.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.no_grad()
    def forward(self, tokens, positions, cache=None, keep=False):
        """Logits, and the state where it is to be kept. Padding is masked in the first call, as `generate` does it."""
        padded = cache is None and (positions < 0).any()
        mask = {"attention_mask": torch.tensor(positions >= 0).long()} if padded else {}
        state = {self.family.state: cache} if cache is not None else {}
        output = self.model(torch.tensor(tokens), use_cache=keep or cache is not None, **state, **mask)
        if output.logits.shape[:2] != tokens.shape:
            raise RuntimeError(f"forward: logits must be for {tokens.shape}. Got {tuple(output.logits.shape)}.")
        return output.logits.numpy(), getattr(output, self.family.state)
