"""What `test_many_processes.py` runs, once in each process: a `fit` of one model, and its losses as JSON.

`python -m tests.distribution.in_two_processes KIND ADDRESS PROCESSES INDEX`, on JAX.
"""

import json
import sys

import keras

from keras_griffin.distribution import LocalRows, layout_map
from keras_griffin.models import Griffin
from tests.distribution.tiny import CONFIG, EPOCHS, Batches


def distribution_of(kind):
    if kind == "DataParallel":
        return keras.distribution.DataParallel(auto_shard_dataset=False)
    layouts = layout_map(CONFIG, keras.distribution.DeviceMesh((1, 2), ["batch", "model"]))
    return keras.distribution.ModelParallel(layout_map=layouts, auto_shard_dataset=False)


def main(kind, address, processes, index):
    keras.utils.set_random_seed(0)
    data = Batches()
    if processes > 1:
        keras.distribution.initialize(address, processes, index)
        keras.distribution.set_distribution(distribution_of(kind))
        data = LocalRows(data)
    losses = Griffin(CONFIG).fit(data, epochs=EPOCHS, shuffle=False, verbose=0).history["loss"]
    print("ANSWERS" + json.dumps({"losses": losses, "rows": len(data[0][0])}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
