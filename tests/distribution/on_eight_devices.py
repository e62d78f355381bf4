"""What `test_layout_map.py` asks of JAX on eight simulated devices, a process of its own; answers are JSON.

`python -m tests.distribution.on_eight_devices FOLDER`, with XLA told to simulate the devices; files go into FOLDER.
"""

import json
import re
import sys
from pathlib import Path

import jax
import keras
import numpy as np

from keras_griffin.distribution import layout_map
from tests.distribution.tiny import CONFIG, losses, model, packed, windows

FOLDER = Path(sys.argv[1])
#: A collective of a compiled program: its result's type and its kind.
COLLECTIVE = re.compile(r"= (.+?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\(")


def model_parallel(shape, config=CONFIG, **options):
    mesh = keras.distribution.DeviceMesh(shape, ["batch", "model"])
    return keras.distribution.ModelParallel(layout_map=layout_map(config, mesh, **options))


def collectives(program: str) -> list[list[str]]:
    """Of every collective: its kind, its result's type, and from which operation of the model it came."""
    found = []
    for line in program.splitlines():
        match = COLLECTIVE.search(line)
        if match:
            origin = re.search(r'op_name="([^"]*)"', line)
            found.append([match[2], match[1], origin[1] if origin else ""])
    return found


def train(distribution, data, make=model):
    """A trained model, the losses of its `fit`, and the program that `fit` ran for each batch."""
    keras.distribution.set_distribution(distribution)
    trained, programs = make(), []

    def train_function(state, iterator):
        batch = next(iterator)
        if not programs:
            # As Keras compiles it, in two steps, so that the program can be read.
            shardings = None if distribution is None else (None, jax.tree.map(lambda x: x.sharding, state))
            step = jax.jit(trained.train_step, donate_argnums=0, out_shardings=shardings)
            programs.append(step.lower(state, batch).compile())
        return programs[0](state, batch)

    trained.train_function = train_function
    return trained, losses(trained, data), programs[0].as_text()


def stored(variables) -> list[int]:
    """Numbers altogether, and on the first device."""
    first = jax.devices()[0]
    parts = [shard.data.size for v in variables for shard in v.value.addressable_shards if shard.device == first]
    return [sum(int(np.prod(v.shape)) for v in variables), sum(parts)]


def reloaded(trained) -> dict:
    """Whether a saved model comes back as it was: its numbers and their places, and the numbers on one device."""
    path = FOLDER / "model.keras"
    trained.save(path)
    saved = [*trained.variables, *trained.optimizer.variables]
    again = keras.saving.load_model(path)
    pairs = list(zip(saved, [*again.variables, *again.optimizer.variables], strict=True))
    keras.distribution.set_distribution(None)
    alone = keras.saving.load_model(path)
    alone = zip(saved, [*alone.variables, *alone.optimizer.variables], strict=True)
    return {
        "places": all(a.value.sharding == b.value.sharding for a, b in pairs),
        "numbers": all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs),
        "numbers on one device": all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in alone),
        "devices": sorted({len(b.value.sharding.device_set) for _, b in pairs}),
    }


def recurrent_part() -> str:
    """Convolution, gates and recurrence alone, with their gradients, the channels divided in eight."""
    keras.distribution.set_distribution(model_parallel((1, 8)))
    mixer = model().blocks[0].mixer
    variables = [*mixer.conv.trainable_variables, *mixer.rg_lru.trainable_variables]
    by_channel = keras.distribution.TensorLayout((None, None, "model"), keras.distribution.distribution().device_mesh)
    inputs, gradient = (
        jax.device_put(np.random.default_rng(i).normal(size=(4, 24, 32)).astype("float32"), by_channel.backend_layout)
        for i in range(2)
    )
    reset = np.random.default_rng(3).random((4, 24)) < 0.2

    def outputs(values, inputs):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            x, _ = mixer.conv.advance(inputs, mixer.conv.initial_state(4), reset=reset)
            return mixer.rg_lru.advance(x, mixer.rg_lru.initial_state(4), reset=reset)[0]

    def step(values, inputs, gradient):
        made, pull = jax.vjp(outputs, values, inputs)
        return made, pull(gradient)

    values = [variable.value for variable in variables]
    return jax.jit(step).lower(values, inputs, gradient).compile().as_text()


def main():
    answers = {"losses": {}, "collectives": {}, "stored": {}}
    one, answers["losses"]["one device"], _ = train(None, windows())
    prompt = windows()[0][:3, :5]
    answers["tokens"] = {"one device": one.generate(prompt, 6).tolist()}
    answers["losses"]["DataParallel (8,)"] = train(keras.distribution.DataParallel(), windows())[1]
    for shape, options in (((2, 4), {}), ((4, 2), {}), ((1, 8), {"fully_sharded": False})):
        trained, answers["losses"][f"ModelParallel {shape}"], program = train(
            model_parallel(shape, **options), windows()
        )
        answers["collectives"][str(shape)] = collectives(program)
        if shape == (2, 4):
            parameters = trained.trainable_variables
            slots = {v.path: v.value.sharding.spec for v in trained.optimizer.variables}
            answers["slots as parameters"] = all(
                slots[f"adamw/{v.path.replace('/', '_')}_{slot}"] == v.value.sharding.spec
                for v in parameters
                for slot in ("momentum", "velocity")
            )
            answers["stored"] = {"parameters": stored(parameters), "all": stored(trained.optimizer.variables)}
            answers["tokens"]["ModelParallel (2, 4)"] = trained.generate(prompt, 6).tolist()
            answers["reloaded"] = reloaded(trained)
    answers["collectives"]["recurrent part"] = collectives(recurrent_part())

    def make_packed():
        return model().packed()

    answers["losses"]["packed, one device"] = train(None, packed(), make_packed)[1]
    answers["losses"]["packed, ModelParallel (2, 4)"] = train(model_parallel((2, 4)), packed(), make_packed)[1]
    print("ANSWERS" + json.dumps(answers))


if __name__ == "__main__":
    main()
