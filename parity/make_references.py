"""Write tiny checkpoints in every format, and what `transformers` and `recurrentgemma` say of them.

    .venv-parity/bin/python -m parity.make_references FOLDER

A folder for each case holds its checkpoints and `answers.json`: by question, by reference, what `parity.ask` returns.
`rows-itself.json` says of each reference whether it is right and wrong where it is known to be.
"""

import json
import sys
from pathlib import Path

import numpy as np

from parity import delta_rule
from parity.ask import ask, is_as_known
from parity.cases import CASES
from parity.checkpoints import write_deepmind, write_huggingface, write_recurrent
from parity.deepmind_reference import DeepMindJAX, DeepMindTorch
from parity.questions import questions
from parity.recurrent_families import RECURRENT_CASES, RecurrentCase, recurrent_questions
from parity.rows import LIMIT, row, write_rows
from parity.transformers_reference import RecurrentTransformers, Transformers


def main(folder):
    """Every case."""
    rows = []
    for case in (*CASES, *RECURRENT_CASES):
        print(f"references: {case.name}", flush=True)
        home = Path(folder) / case.name
        home.mkdir(parents=True)
        answers = answers_of(references(case, home), case)
        (home / "answers.json").write_text(json.dumps(answers))
        for what, asked in answers.items():
            rows += [row_of(case, what, name, answer) for name, answer in asked.items()]
    rows += delta_rule.answers_of_transformers(Path(folder))
    write_rows(folder, "itself", rows)


def row_of(case, what, name, answer):
    """How far a reference is from itself, and whether that is known of it."""
    return row(case.name, what, name, answer["error"], ok=is_as_known(answer, LIMIT), note=answer["fault"] or "")


def references(case, folder):
    """The references that can say the case, by name, over checkpoints written into the folder."""
    found = {}
    if isinstance(case, RecurrentCase):
        write_recurrent(case, folder)
        return {"transformers": RecurrentTransformers(folder / "huggingface", case.family)}
    if case.for_transformers:
        write_huggingface(case, folder)
        found["transformers"] = Transformers(folder / "huggingface")
    if case.for_deepmind:
        write_deepmind(case, folder)
        found["deepmind jax"] = DeepMindJAX(case)
        found["deepmind torch"] = DeepMindTorch(case)
    return found


def answers_of(found, case):
    """By question, by reference."""
    answers = {}
    for question in recurrent_questions(case) if isinstance(case, RecurrentCase) else questions(case):
        asked = {
            name: _plain(ask(reference, name, question))
            for name, reference in found.items()
            # To compile its sampler takes longer than all else together; its cache is asked everywhere.
            if question.way != "generate" or name != "deepmind jax" or case is CASES[0]
        }
        answers[question.what] = asked
    return answers


def _plain(answer):
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in answer.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
