"""Put a question to a reference: what it says in its own way, and what it says of each document alone."""

import numpy as np

from parity.questions import NEW_TOKENS, REFUSES, positions
from parity.rows import LIMIT

#: What references raise where they can't go the way that they are asked to go.
REFUSALS = (AssertionError, NotImplementedError, RuntimeError, ValueError)
#: Greedy choices are compared one for one: the best logit must be ahead by far more than rounding.
LEAST_MARGIN = 10 * LIMIT
#: Documents are run at one length, so that JAX compiles one program: what comes later never changes what came before.
LENGTH = 24


def ask(reference, name, question):
    """The answer that ours must give, and how far the reference itself is from each document alone.

    Returns:
        A dict: `expected` (logits `(B, T, V)`, or token ids for a greedy question), which is the reference's own answer
        where it is known to be right, else what it says of each document alone; `fault`, the fault known or None;
        `error`, the largest difference between the two (in logits, or the number of tokens), or the name of what was
        raised.
    """
    fault = question.faults.get(name)
    alone = documents_alone(reference, question)
    try:
        own = OWN_WAYS[question.way](reference, question)
    except REFUSALS as refusal:
        return {"expected": alone, "fault": fault, "error": type(refusal).__name__}
    error = difference(own, alone, question)
    return {"expected": alone if fault else own, "fault": fault, "error": error}


def is_as_known(answer, limit):
    """Whether a reference is right where it is known to be, and wrong by far where it is known to be wrong."""
    fault, error = answer["fault"], answer["error"]
    if fault == REFUSES or isinstance(error, str):
        return fault == REFUSES and isinstance(error, str)
    return error > 1e-2 if fault else error <= limit


def difference(answer, expected, question):
    """The largest difference of logits, padding left out; of greedy tokens, how many are not the same."""
    if question.way == "generate":
        return sum(a != b for row, other in zip(answer, expected, strict=True) for a, b in zip(row, other, strict=True))
    real = np.ones(np.shape(question.tokens), bool) if question.segments is None else np.array(question.segments) > 0
    return float(np.abs(np.asarray(answer, "float64") - np.asarray(expected, "float64"))[real].max())


def documents_alone(reference, question):
    """Each document in a row, and a pass, of its own: the one way in which no reference is wrong."""
    if question.way == "generate":
        return [_greedy_alone(reference, prompt) for prompt in question.tokens]
    tokens = np.array(question.tokens)
    segments = np.ones_like(tokens) if question.segments is None else np.array(question.segments)
    logits = None
    for row, ids in enumerate(segments):
        for segment in set(ids[ids > 0]):
            where = np.flatnonzero(ids == segment)
            of_document = _one_pass(reference, tokens[row, where])
            if logits is None:
                logits = np.zeros((*tokens.shape, of_document.shape[-1]), "float32")
            logits[row, where] = of_document
    return logits


def _one_pass(reference, document):
    tokens = np.array([[*document, *[0] * (LENGTH - len(document))]])
    logits, _ = reference.forward(tokens, np.arange(LENGTH)[None])
    return np.asarray(logits)[0, : len(document)]


def _greedy_alone(reference, prompt):
    row = list(prompt)
    for _ in range(NEW_TOKENS):
        logits = _one_pass(reference, row)[-1]
        second, first = np.sort(logits)[-2:]
        if first - second < LEAST_MARGIN:
            raise ValueError(f"ask: the best logit must be ahead by {LEAST_MARGIN}. Got {first} and {second}.")
        row.append(int(logits.argmax()))
    return row


def _whole(reference, question):
    tokens = np.array(question.tokens)
    segments = np.ones_like(tokens) if question.segments is None else question.segments
    return np.asarray(reference.forward(tokens, positions(segments))[0])


def _chunks(reference, question):
    return _through_cache(reference, question, [0, question.prefill, len(question.tokens[0])])


def _steps(reference, question):
    prefill = question.prefill + (not reference.last_prompt_token_is_a_step)
    return _through_cache(reference, question, [0, *range(prefill, len(question.tokens[0]) + 1)])


def _through_cache(reference, question, cuts):
    tokens = np.array(question.tokens)
    places = positions(np.ones_like(tokens) if question.segments is None else question.segments)
    cache, logits = None, []
    for start, end in zip(cuts, cuts[1:], strict=False):
        part, cache = reference.forward(tokens[:, start:end], places[:, start:end], cache, keep=True)
        logits.append(np.asarray(part))
    return np.concatenate(logits, 1)


def _generate(reference, question):
    return reference.generate(question.tokens, NEW_TOKENS)


OWN_WAYS = {"whole": _whole, "chunks": _chunks, "steps": _steps, "generate": _generate}
