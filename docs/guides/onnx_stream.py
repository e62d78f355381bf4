"""An exported step on onnxruntime: python onnx_stream.py MODEL.onnx INPUTS OUTPUTS

The arrays of the files INPUTS and OUTPUTS, .npz, are `(rows, time, ...)`.
"""

import json
import sys

import numpy as np
import onnxruntime


class Stream:
    """Some rows, fed one step at a time; their state stays here."""

    def __init__(self, path, rows=1):
        with open(f"{path}.json", encoding="utf-8") as file:
            facts = json.load(file)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # a step is too short for several
        self.session = onnxruntime.InferenceSession(path, options)
        self.dtypes = {each["name"]: each["dtype"] for each in facts["inputs"]}
        self.outputs = facts["outputs"]
        self.names = {each["past"]: each["present"] for each in facts["state"]}
        self.no_reset, self.state = np.zeros(rows, "bool"), {}
        sizes = {"batch": rows, "past": 0}
        for each in facts["state"]:
            shape = [sizes.get(size, size) for size in each["shape"]]
            self.state[each["past"]] = np.full(shape, each["initial"], each["dtype"])

    def __call__(self, **inputs):
        """The outputs of one step by name; rows in `reset` begin anew before it."""
        inputs = {"reset": self.no_reset, **inputs}
        feeds = {name: np.asarray(inputs[name], d) for name, d in self.dtypes.items()}
        wanted = [*self.outputs, *self.names.values()]
        found = self.session.run(wanted, {**feeds, **self.state})
        found = dict(zip(wanted, found, strict=True))
        self.state = {past: found.pop(present) for past, present in self.names.items()}
        return found


if __name__ == "__main__":
    model, source, target = sys.argv[1:]
    rows = dict(np.load(source))
    count, steps = next(iter(rows.values())).shape[:2]
    stream = Stream(model, count)
    found = [stream(**{n: x[:, t] for n, x in rows.items()}) for t in range(steps)]
    outputs = {name: [step[name] for step in found] for name in stream.outputs}
    np.savez(target, **{name: np.stack(each, 1) for name, each in outputs.items()})
