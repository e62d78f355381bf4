"""Judge keras_griffin on one backend by what the references said.

    KERAS_BACKEND=jax python -m parity.compare FOLDER

reads the folder that `parity.make_references` wrote, and leaves `rows-jax.json` there, and in `saved/jax` the models as
`save_huggingface` writes them.
"""

import functools
import json
import sys
from pathlib import Path

import keras
import numpy as np

from keras_griffin import conversion
from keras_griffin.conversion import load_recurrentgemma, save_huggingface
from parity import delta_rule
from parity.ask import difference
from parity.cases import CASES
from parity.questions import NEW_TOKENS, questions
from parity.recurrent_families import FAMILIES, RECURRENT_CASES, recurrent_questions
from parity.rows import row, write_rows

#: What each family's checkpoints are called; the first is asked everything.
FORMATS = {
    "transformers": ("huggingface", "huggingface_old"),
    "deepmind": ("deepmind.pt", "deepmind_orbax", "deepmind.safetensors", "deepmind.npz"),
}


def main(folder):
    """Every case, as each family of checkpoints."""
    folder, backend = Path(folder), keras.backend.backend()
    rows = []
    for case in CASES:
        answers = json.loads((folder / case.name / "answers.json").read_text())
        for family in FORMATS:
            if family == "transformers" and not case.for_transformers or family == "deepmind" and not case.for_deepmind:
                continue
            print(f"{backend}: {case.name} of {family}", flush=True)
            rows += judge(case, family, folder / case.name, answers)
            rows += save(case, family, folder / case.name, folder / "saved" / backend / f"{case.name}-{family}")
    for case in RECURRENT_CASES:
        print(f"{backend}: {case.name} of transformers", flush=True)
        answers = json.loads((folder / case.name / "answers.json").read_text())
        rows += judge_recurrent(case, folder / case.name, answers, folder / "saved" / backend / case.name)
    rows += delta_rule.judge(folder)
    write_rows(folder, backend, rows)


def load(case, family, path, dtype="float32"):
    """Our model of a checkpoint. DeepMind's have no config: the shapes don't tell these three."""
    if family == "transformers":
        return load_recurrentgemma(path, dtype)
    return load_recurrentgemma(
        path,
        dtype,
        # DeepMind's number leaves the query's own key out.
        window=case.window + 1,
        logits_soft_cap=case.soft_cap or None,
        scale_embeddings=case.scale_embeddings,
    )


def judge(case, family, folder, answers):
    """Yield a row for each question and each reference of the family, and for each further format."""
    first, *further = FORMATS[family]
    model = load(case, family, folder / first)
    yield from judge_answers(case, model, questions(case), answers, family)
    for name in further:
        yield row(case.name, f"{name} beside {first}", family, unequal(load(case, family, folder / name), model), 0)


def judge_answers(case, model, asked, answers, family):
    """Yield a row for each question and each reference of the family."""
    for question in asked:
        of_family = {name: a for name, a in answers[question.what].items() if name.startswith(family)}
        ours = WAYS[question.way](model, question) if of_family else None
        for name, answer in of_family.items():
            value = difference(ours, answer["expected"], question)
            yield row(case.name, question.what, name, value, **({"limit": 0} if question.way == "generate" else {}))


def judge_recurrent(case, folder, answers, target):
    """Yield the rows of a model without attention: its answers, the authors' format, and saved and loaded again."""
    load_family = getattr(conversion, FAMILIES[case.family].loader)
    model = load_family(folder / "huggingface", "float32")
    yield from judge_answers(case, model, recurrent_questions(case), answers, "transformers")
    if case.for_authors:
        value = unequal(load_family(folder / "authors", "float32"), model)
        yield row(case.name, "authors beside huggingface", "transformers", value, 0)
    stored = load_family(folder / "huggingface", case.stored)
    save_huggingface(stored, target)
    yield row(case.name, "saved and loaded", "transformers", unequal(load_family(target, case.stored), stored), 0)


def save(case, family, folder, target):
    """Yield the row of a model saved in its checkpoint's own precision, and loaded again; or of the refusal to save."""
    model = load(case, family, folder / FORMATS[family][0], case.stored)
    if not case.for_transformers:
        answer = refusal(model, target)
        yield row(case.name, "saved", family, answer, 0, ok=answer == "ValueError")
        return
    save_huggingface(model, target)
    yield row(case.name, "saved and loaded", family, unequal(load_recurrentgemma(target, case.stored), model), 0)


def refusal(model, target):
    """The error with which a model is refused that `transformers` can't say."""
    try:
        save_huggingface(model, target)
    except ValueError as error:
        return type(error).__name__
    return "saved"


def unequal(model, other):
    """How many weights, and fields of the configs, are not the same, to the last bit."""
    fields, others = model.config.to_dict(), other.config.to_dict()
    pairs = zip(model.weights, other.weights, strict=True)
    return sum(int(np.sum(array(a) != array(b))) for a, b in pairs) + sum(fields[key] != others[key] for key in fields)


def array(tensor):
    """A tensor as NumPy has it."""
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def whole(model, question):
    """One pass; packed rows by the packed model."""
    tokens = np.array(question.tokens, "int32")
    if question.segments is None:
        return array(compiled(model)(tokens))
    return array(compiled(packed(model))({"token_ids": tokens, "segment_ids": np.array(question.segments, "int32")}))


@functools.cache
def packed(model):
    """The model's packed twin."""
    return model.packed()


def chunks(model, question):
    """Two chunks."""
    return advance(model, question, [0, question.prefill, len(question.tokens[0])])


def steps(model, question):
    """A prompt, and the rest token by token."""
    return advance(model, question, [0, *range(question.prefill, len(question.tokens[0]) + 1)])


def advance(model, question, cuts):
    """Logits from piece to piece. Segments are told of the first; what follows goes on."""
    tokens = np.array(question.tokens, "int32")
    segments = None if question.segments is None else np.array(question.segments, "int32")[:, : cuts[1]]
    go_on, state, logits = compiled(model.advance), model.initial_state(len(tokens)), []
    for start, end in zip(cuts, cuts[1:], strict=False):
        part, state = go_on(tokens[:, start:end], state, segment_ids=segments if start == 0 else None)
        logits.append(array(part))
    return np.concatenate(logits, 1)


@functools.cache
def compiled(method):
    """A method of a model, compiled on JAX, where each operation would else be compiled alone."""
    if keras.backend.backend() != "jax":
        return method
    import jax

    return jax.jit(method)


def generate(model, question):
    """Greedy continuations, ragged as they come."""
    return [np.asarray(row).tolist() for row in model.generate(question.tokens, NEW_TOKENS)]


WAYS = {"whole": whole, "chunks": chunks, "steps": steps, "generate": generate}

if __name__ == "__main__":
    main(*sys.argv[1:])
