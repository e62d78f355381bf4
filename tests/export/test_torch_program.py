"""ONNX and `.pt2` files of every mixer and unit, read by onnxruntime, OpenVINO and PyTorch, against the layers."""

import collections
import json
import logging

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("these programs are PyTorch's", allow_module_level=True)
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import torch  # noqa: E402

from keras_griffin.export import export  # noqa: E402
from keras_griffin.export.write import _whole  # noqa: E402
from keras_griffin.layers import UNITS  # noqa: E402
from keras_griffin.models import Griffin, GriffinConfig, SequenceEncoder  # noqa: E402
from tests.export.comparison import assert_same_numbers  # noqa: E402
from tests.export.registry import assert_layers, every_program  # noqa: E402

# PyTorch's own.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

#: OpenVINO would compute in bfloat16 where the processor can.
PRECISE = {"INFERENCE_PRECISION_HINT": "f32"}


@pytest.fixture(autouse=True, scope="module")
def without_trace():
    """PyTorch's trace, of which pytest would keep every line."""
    logger = logging.getLogger("torch.__trace")
    logger.propagate = False
    yield
    logger.propagate = True


def written(model, path, **options):
    """A call of the ONNX file, by names."""
    export(model, path, **options)
    return onnx_file(path)


def onnx_file(path):
    """A call by names."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [result.name for result in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(None, feeds), strict=True))


def pt2_file(path):
    """A call by the names in the file's own metadata."""
    metadata = {"metadata.json": ""}
    program = torch.export.load(path, extra_files=metadata).module()
    facts = json.loads(metadata["metadata.json"])
    results = facts["outputs"] + [each["present"] for each in facts["state"]]

    def run(feeds):
        found = program(*map(torch.from_numpy, feeds.values()))
        return {name: x.numpy(force=True) for name, x in zip(results, found, strict=True)}

    return run


@pytest.mark.slow
@pytest.mark.parametrize("part, what", every_program("onnx"))
def test_every_mixer_and_unit(part, what, tmp_path):
    assert_layers(lambda model, **options: written(model, tmp_path / "m.onnx", **options), part, what)


def encoder(pool, masked, layers=keras.Model):
    """A bidirectional encoder, functional or Sequential."""
    stack = [keras.layers.Masking()] * masked + [
        SequenceEncoder(8, 1, pool=pool, bidirectional=True, conv_kernel_size=4)
    ]
    if layers is keras.Sequential:
        return keras.Sequential([keras.Input((None, 3), name="samples"), *stack])
    x = inputs = keras.Input((None, 3), name="samples")
    for layer in stack:
        x = layer(x)
    return keras.Model(inputs, x)


def nodes_of(path):
    """How many nodes of each kind the graph of an ONNX file has."""
    return collections.Counter(node.op_type for node in onnx.load(path).graph.node)


ENCODERS = [("mean", True, keras.Sequential), ("last", True, keras.Model), ("max", False, keras.Model)]


@pytest.mark.parametrize(
    ("pool", "masked", "layers"), ENCODERS[:1] + [pytest.param(*x, marks=pytest.mark.slow) for x in ENCODERS[1:]]
)
def test_an_encoder_of_both_directions_has_one_scan_for_each(pool, masked, layers, tmp_path):
    openvino = pytest.importorskip("openvino")
    model, path = encoder(pool, masked, layers), tmp_path / "m.onnx"
    assert_same_numbers(written(model, path, what="sequence"), _whole(model), "sequence")
    assert nodes_of(path)["Scan"] == 2 and not nodes_of(path)["Loop"]
    samples = np.random.default_rng(0).normal(size=(2, 9, 3)).astype("float32")
    (found,) = openvino.compile_model(openvino.Core().read_model(path), "CPU", PRECISE)(samples).values()
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(model(samples)), atol=1e-5)


def test_a_selective_scan_is_one_node(tmp_path):
    inputs = keras.Input((None, 4), name="inputs")
    export(
        keras.Model(inputs, UNITS["selective_ssm"](return_sequences=True)(inputs)), tmp_path / "m.onnx", what="sequence"
    )
    assert nodes_of(tmp_path / "m.onnx")["Scan"] == 1


def test_a_step_of_griffin_in_openvino_has_no_loop(tmp_path):
    openvino = pytest.importorskip("openvino")
    model, path = Griffin(GriffinConfig(32, 16, 3, 2, mlp_width=4, window=5)), tmp_path / "m.onnx"
    export(model, path)
    assert not nodes_of(path)["Scan"] + nodes_of(path)["Loop"]
    assert json.loads(onnx.load(path).metadata_props[0].value)["what"] == "step"
    compiled = openvino.compile_model(openvino.Core().read_model(path), "CPU", PRECISE)

    def run(feeds):
        found = compiled(feeds)
        return {next(iter(result.names)): found[result] for result in compiled.outputs}

    assert_same_numbers(run, model, "step")


def test_a_pt2_file(tmp_path):
    model, path = encoder("last", False), tmp_path / "m.pt2"
    export(model, path, what="sequence")
    assert_same_numbers(pt2_file(path), model, "sequence")


def test_kerass_own_export_of_any_batch_and_time(tmp_path):
    model, path = encoder("mean", False), tmp_path / "m.pt2"
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("time")}
    model.export(path, format="torch", dynamic_shapes=(free,), verbose=False)
    program = torch.export.load(path).module()
    for shape in ((1, 2, 3), (3, 40, 3)):
        samples = np.random.default_rng(0).normal(size=shape).astype("float32")
        found = program(torch.from_numpy(samples))
        found = found[0] if isinstance(found, list | tuple) else found
        np.testing.assert_allclose(found.numpy(force=True), keras.ops.convert_to_numpy(model(samples)), atol=1e-5)


def test_sorted_steps_keep_their_order(tmp_path):
    """PyTorch's exporter has no stable sort."""
    inputs = keras.Input((None,), name="numbers", dtype="int32")
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: keras.ops.argsort(x, axis=1))(inputs))
    run = written(model, tmp_path / "m.onnx", what="sequence")
    numbers = np.array([[3, 1, 3, 0, 1]], "int32")
    (found,) = run({"numbers": numbers}).values()
    np.testing.assert_array_equal(found, np.argsort(numbers, axis=1, kind="stable"))


def test_advance_itself_exports_with_a_free_batch_and_time():
    model = Griffin(GriffinConfig(32, 8, 1, num_heads=1, block_pattern=("recurrent",)))

    class Continued(torch.nn.Module):
        def forward(self, token_ids, *leaves):
            state = keras.tree.pack_sequence_as(model.initial_state(1), list(leaves))
            logits, state = model.advance(token_ids, state)
            return logits, *keras.tree.flatten(state)

    def arguments(rows, steps):
        token_ids = torch.from_numpy(np.random.default_rng(steps).integers(0, 32, (rows, steps)).astype("int32"))
        return token_ids, *(leaf.clone() for leaf in keras.tree.flatten(model.initial_state(rows)))

    first, rows = arguments(2, 4), torch.export.Dim("rows")
    shapes = ({0: rows, 1: torch.export.Dim("steps")}, *[{0: rows} for _ in first[1:]])
    with torch.no_grad():
        program = torch.export.export(Continued(), first, dynamic_shapes=(shapes[0], shapes[1:]), strict=False)
        for given in (arguments(3, 7), arguments(1, 2)):
            for got, wanted in zip(program.module()(*given), Continued()(*given), strict=True):
                np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=1e-5, atol=1e-5)
