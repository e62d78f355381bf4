"""What the tests' processes have in common, imported once before they are forked; each has one device, or thread."""

import importlib
import os
import sys

os.environ["XLA_FLAGS"] += " --xla_force_host_platform_device_count=1"
backend = os.environ["KERAS_BACKEND"]
if backend != "tensorflow":
    # As where it isn't installed: in seconds Keras would load it, to set its seed.
    sys.modules["tensorflow"] = None
if backend == "jax":
    importlib.import_module("tests.one_context")
elif backend == "torch":
    importlib.import_module("torch").set_num_threads(1)
    importlib.import_module("keras_griffin.distribution.torch_fully_shard")
for module in ("tests.distribution.tiny", "keras_griffin.training"):
    importlib.import_module(module)
