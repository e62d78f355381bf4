"""What the models are asked: tokens, how they are cut and packed, and what each reference is known to get wrong."""

from dataclasses import dataclass, field

import numpy as np

NEW_TOKENS = 12
#: Where a reference's own way is known to give something else than each document gives when it is run alone.
WRONG, REFUSES = "wrong", "refuses"


@dataclass(frozen=True)
class Question:
    """Rows of tokens, and the way in which a model is to go through them.

    Args:
        what: the question in words; its name in the table.
        way: `whole`, `chunks`, `steps` or `generate`.
        tokens: `(B, T)`; for `generate` a list of prompts.
        segments: `(B, T)`, 0 for padding, in the ways `whole` and `steps`; or None.
        prefill: how many columns go in at once: the first chunk, or what stands before the steps.
        faults: `WRONG` or `REFUSES` by reference; what isn't named is right.
    """

    what: str
    way: str
    tokens: list
    segments: list | None = None
    prefill: int | None = None
    faults: dict = field(default_factory=dict)


def questions(case):
    """All questions about one case. Every row is longer than the window, and begins with id 2."""
    generator = np.random.default_rng(1000 + case.seed)
    window = case.window

    def draw(rows, columns):
        return draw_tokens(generator, case, rows, columns)

    # Four rows everywhere, and one length of prompts: JAX and TensorFlow compile for each shape.
    length, prompt = 3 * window, window + 4
    long = draw(4, length)
    packed = [
        segments(5, window + 3, length - window - 8),
        segments(window + 2, 1, 2, length - window - 5),
        segments(1, 1, length - 2),
        segments(length),
    ]
    # The last document of the prompt has 1, 2, 3 and 4 tokens; none of the convolution's taps may cross its start.
    boundary = [segments(prompt - last, length - prompt + last) for last in (1, 2, 3, 4)]
    # The last token of a prompt is the first of the steps, so that a prompt of one token is a row of padding before it.
    padded = [padding(length, prompt + 1 - real) for real in (2, 3, 4, prompt + 1)]
    single = [padding(length, prompt + 1 - real) for real in (1, 5, prompt, prompt + 1)]
    rectangle = draw(4, prompt)
    ragged = [row[:real] for row, real in zip(draw(4, prompt), (2, 2, 3, prompt), strict=True)]
    with_single = [row[:real] for row, real in zip(draw(4, prompt), (1, 2, 7, prompt), strict=True)]
    # transformers has no cache for a model without attention.
    has_cache = "attention" in case.block_types
    uncached = {} if has_cache else {"transformers": REFUSES}
    conv_leaks = {"transformers": WRONG}
    leaks_in_cache = {**conv_leaks, **uncached}
    # transformers allocates the state of the convolution with the width of the model.
    one_token = uncached if case.recurrence_width == case.width else {"transformers": REFUSES}
    greedy = [
        Question("greedy", "generate", rectangle, faults=uncached),
        Question("greedy, ragged", "generate", ragged, faults={**leaks_in_cache, "deepmind jax": WRONG}),
        Question(
            "greedy, ragged, one token",
            "generate",
            with_single,
            faults={**leaks_in_cache, "deepmind jax": WRONG, "deepmind torch": WRONG},
        ),
    ]
    if case.from_one_token:
        greedy.append(Question("greedy from one token", "generate", [[2]], faults=one_token))
    return [
        Question("one pass", "whole", long),
        Question("prompt, then steps", "steps", long, prefill=prompt, faults=uncached),
        Question(
            "a prompt in two chunks",
            "chunks",
            long,
            prefill=prompt,
            faults={**leaks_in_cache, "deepmind jax": REFUSES, "deepmind torch": REFUSES},
        ),
        Question("packed documents", "whole", long, packed, faults=conv_leaks),
        Question(
            "steps after a document's start",
            "steps",
            draw(4, length),
            boundary,
            prompt,
            {**leaks_in_cache, "deepmind jax": WRONG},
        ),
        Question(
            "left padding",
            "steps",
            draw(4, length),
            padded,
            prompt,
            {**leaks_in_cache, "deepmind jax": WRONG},
        ),
        Question(
            "left padding, one token",
            "steps",
            draw(4, length),
            single,
            prompt,
            {**leaks_in_cache, "deepmind jax": WRONG, "deepmind torch": WRONG},
        ),
        *greedy,
    ]


def draw_tokens(generator, case, rows, columns):
    """Random tokens; each row begins with id 2."""
    tokens = generator.integers(3, case.vocabulary_size, (rows, columns))
    tokens[:, 0] = 2
    return tokens.tolist()


def segments(*lengths):
    """The row of segment ids of documents of these lengths."""
    return np.repeat(np.arange(len(lengths)) + 1, lengths).tolist()


def padding(length, pads):
    """The row of one document behind padding."""
    return [0] * pads + [1] * (length - pads)


def positions(segments):
    """Each token's place in its document; -1 for padding.

    Args:
        segments: `(B, T)`; 0 is padding.

    Returns:
        `(B, T)` integers.
    """
    segments = np.asarray(segments)
    places = np.zeros_like(segments)
    for column in range(1, segments.shape[1]):
        same = segments[:, column] == segments[:, column - 1]
        places[:, column] = np.where(same, places[:, column - 1] + 1, 0)
    return np.where(segments > 0, places, -1)
