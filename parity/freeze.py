"""The few logits that stand, as numbers, beside the tests: made here, and held to what the packages give today.

.venv-parity/bin/python -m parity.freeze             writes tests/conversion/frozen_references.json
.venv-parity/bin/python -m parity.freeze FOLDER      compares, into FOLDER/rows-frozen.json
"""

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

from parity.ask import documents_alone
from parity.cases import FROZEN, weights
from parity.checkpoints import write_huggingface
from parity.deepmind_reference import DeepMindJAX, DeepMindTorch
from parity.questions import NEW_TOKENS, questions
from parity.rows import row, write_rows
from parity.transformers_reference import Transformers

PATH = Path(__file__).resolve().parent.parent / "tests" / "conversion" / "frozen_references.json"
#: Places in the sequence whose logits are kept: at its start, where DeepMind's window of keys ends and where Hugging
#: Face's does, and at its end.
PLACES = (0, 3, FROZEN.window, FROZEN.window + 1, 3 * FROZEN.window - 1)
PACKAGES = ("transformers", "recurrentgemma", "torch", "jax", "numpy")


def main(folder=None):
    """Write the file, or judge it."""
    with tempfile.TemporaryDirectory() as home:
        write_huggingface(FROZEN, Path(home))
        found = {
            "transformers": Transformers(Path(home) / "huggingface"),
            "deepmind torch": DeepMindTorch(FROZEN),
            "deepmind jax": DeepMindJAX(FROZEN),
        }
    answers = {name: answer(reference) for name, reference in found.items()}
    if folder is None:
        del answers["deepmind jax"]
        numbers = {"made_by": {name: version(name) for name in PACKAGES}, **facts(), **answers}
        lines = (f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in numbers.items())
        PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        return
    frozen = json.loads(PATH.read_text())
    rows = []
    for name, fresh in answers.items():
        kept = frozen["transformers" if name == "transformers" else "deepmind torch"]
        gap = float(np.abs(np.array(kept["logits"]) - np.array(fresh["logits"])).max())
        rows.append(row("frozen", "logits", name, gap))
        wrong = sum(a != b for a, b in zip(kept["greedy"], fresh["greedy"], strict=True))
        rows.append(row("frozen", "greedy", name, wrong, 0))
    write_rows(folder, "frozen", rows)


def facts():
    """What the numbers are of. The sum shows whether the random weights are still the same."""
    sum_of_weights = sum(float(np.abs(tensor.astype("float64")).sum()) for tensor in weights(FROZEN).values())
    tokens = asked()["one pass"].tokens[0]
    return {"sum_of_weights": sum_of_weights, "tokens": tokens, "places": PLACES, "new_tokens": NEW_TOKENS}


def answer(reference):
    """Logits at the places of the first row, and its greedy continuation."""
    of_rows = documents_alone(reference, asked()["one pass"])[0]
    prompt_and_new = documents_alone(reference, asked()["greedy"])[0]
    # The shortest decimals that give the same float32 again.
    logits = [[float(str(logit)) for logit in of_rows[place]] for place in PLACES]
    return {"logits": logits, "greedy": prompt_and_new}


def asked():
    """The questions by name."""
    return {question.what: question for question in questions(FROZEN)}


if __name__ == "__main__":
    main(*sys.argv[1:])
