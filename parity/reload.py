"""Load with `transformers` what keras_griffin saved.

    .venv-parity/bin/python -m parity.reload FOLDER jax torch tensorflow

reads `FOLDER/saved/BACKEND` and leaves `rows-BACKEND-reloaded.json`: logits beside those of the reference that the
model came from, and how many weights are not, to the last bit, those that the checkpoint held.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from parity.ask import difference
from parity.cases import CASES, weights
from parity.questions import questions
from parity.recurrent_families import RECURRENT_CASES, recurrent_questions, recurrent_weights
from parity.rows import LIMIT, row, write_rows
from parity.transformers_reference import RecurrentTransformers, Transformers

#: The first is `transformers` itself, with the same weights: no bit may differ.
LIMITS = {"transformers": 0, "deepmind torch": LIMIT}


def main(folder, *backends):
    """Every saved model of every backend."""
    for backend in backends:
        rows = []
        for case in CASES:
            if not case.for_transformers:
                continue
            answers = json.loads((Path(folder) / case.name / "answers.json").read_text())["one pass"]
            for reference, limit in LIMITS.items():
                if reference in answers:
                    saved = Path(folder) / "saved" / backend / f"{case.name}-{reference.split()[0]}"
                    rows += judge(case, saved, reference, answers[reference]["expected"], limit)
        for case in RECURRENT_CASES:
            answers = json.loads((Path(folder) / case.name / "answers.json").read_text())["one pass"]
            saved = Path(folder) / "saved" / backend / case.name
            rows += judge_recurrent(case, saved, answers["transformers"]["expected"])
        write_rows(folder, f"{backend}-reloaded", rows)


def judge(case, saved, reference, expected, limit):
    """Yield the rows of one saved model."""
    value = gap(Transformers(saved), questions(case), expected)
    yield row(case.name, "saved, then transformers", reference, value, limit)
    yield row(case.name, "saved weights", reference, unequal(weights(case), saved, getattr(torch, case.stored)), 0)


def judge_recurrent(case, saved, expected):
    """Yield the rows of one saved model without attention. Some of its variables are float32 in every model."""
    value = gap(RecurrentTransformers(saved, case.family), recurrent_questions(case), expected)
    yield row(case.name, "saved, then transformers", "transformers", value, 0)
    yield row(case.name, "saved weights", "transformers", unequal(recurrent_weights(case), saved), 0)


def gap(reference, asked, expected):
    """How far the logits of one pass are from the expected ones."""
    question = next(question for question in asked if question.what == "one pass")
    tokens = np.array(question.tokens)
    logits, _ = reference.forward(tokens, np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape))
    return difference(logits, expected, question)


def unequal(theirs, saved, dtype=None):
    """How many numbers differ; a tensor too many, too few, or of another dtype than one given counts whole."""
    ours = load_file(saved / "model.safetensors")
    count = sum(tensor.numel() for name, tensor in ours.items() if name not in theirs)
    for name, tensor in theirs.items():
        if name not in ours or ours[name].dtype != (dtype or ours[name].dtype):
            count += tensor.size
        else:
            count += int((ours[name].float() != torch.tensor(tensor)).sum())
    return count


if __name__ == "__main__":
    main(*sys.argv[1:])
