"""One model in several processes of JAX has the losses that it has in one."""

import contextlib

import keras
import numpy as np
import pytest

from keras_griffin.distribution import LocalRows, gathered, layout_map
from keras_griffin.models import Griffin
from tests.distribution.processes import answers_of, free_address
from tests.distribution.tiny import CONFIG, EPOCHS, Batches

BACKEND = keras.backend.backend()


def fit_on_jax(kind, file, address, processes, index):
    keras.utils.set_random_seed(0)
    data = Batches()
    if processes > 1:
        keras.distribution.initialize(address, processes, index)
        if kind == "data":
            distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
        else:
            layouts = layout_map(CONFIG, keras.distribution.DeviceMesh((1, 2), ["batch", "model"]))
            distribution = keras.distribution.ModelParallel(layout_map=layouts, auto_shard_dataset=False)
        keras.distribution.set_distribution(distribution)
        data = LocalRows(data)
    trained = Griffin(CONFIG)
    losses = trained.fit(data, epochs=EPOCHS, shuffle=False, verbose=0).history["loss"]
    # One process alone saves and reads the whole model, and all go on with their parts.
    with gathered(trained) if processes > 1 else contextlib.nullcontext():
        if index == 0:
            trained.save(file)
            said = np.asarray(trained.generate([[1, 2, 3]], 8)).tolist()
            assert said == np.asarray(keras.saving.load_model(file).generate([[1, 2, 3]], 8)).tolist()
            sums = [float(np.abs(np.asarray(variable)).sum()) for variable in trained.optimizer.variables]
        # Whole values are divided again, if all processes have the same.
        trained.set_weights(trained.get_weights())
    if processes > 1:
        with pytest.raises(ValueError, match="^gathered: a value must be assigned in every .* ones for final_norm/sc"):
            with gathered(trained):
                if index == 0:
                    trained.final_norm.scale.assign(0.5 * trained.final_norm.scale)
    losses += trained.fit(data, epochs=1, shuffle=False, verbose=0).history["loss"]
    return losses, len(data[0][0]), (said, sums) if index == 0 else None


@pytest.mark.skipif(BACKEND != "jax", reason="keras.distribution is JAX's alone")
@pytest.mark.slow
def test_two_processes_of_jax_train_one_model(tmp_path):
    addresses = {kind: free_address() for kind in ("data", "model")}
    places = [("one", "-", 1, 0), *((kind, addresses[kind], 2, index) for kind in addresses for index in (0, 1))]
    runs = [(kind, tmp_path / f"{kind}.keras", *place) for kind, *place in places]
    (expected, _, (said, sums)), *many = answers_of(fit_on_jax, *runs)
    assert [rows for _, rows, _ in many] == [4, 4, 8, 8]
    for losses, _, alone in many:
        np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-5)
        if alone:
            assert alone[0] == said
            np.testing.assert_allclose(alone[1], sums, rtol=1e-4)
    assert expected[1] < expected[0]
