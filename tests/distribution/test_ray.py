"""docs/examples/train_with_ray.py in two workers, one of which is killed: `make ray`."""

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ray", reason="Ray is in an environment of its own: make ray")

import ray.train  # noqa: E402

from tests.distribution.killed import SETTINGS, Kill, saved_by_then, train  # noqa: E402
from tests.distribution.processes import last_file  # noqa: E402
from tests.distribution.test_launchers import KINDS, STEP, assert_same, tokens  # noqa: E402, F401

# After `killed`, which says where the examples are.
from train_with_ray import fit  # noqa: E402  isort: skip

pytestmark = [
    pytest.mark.slow,
    # Ray uses options of its own that it has deprecated, and leaves sockets to the end.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


def killed_once(arguments):
    """The second worker ends before a step of its first start."""
    is_second = ray.train.get_context().get_world_rank() == 1
    train(**arguments, callbacks=[Kill(arguments["folder"], STEP, "itself")] * is_second)


@pytest.fixture(scope="module")
def workers():
    """Two, which are forked before JAX has threads here, with one device each."""
    root = Path(__file__).parents[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{root}{os.pathsep}{root / 'docs' / 'examples'}")
        patch.setenv("XLA_FLAGS", f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=1")
        ray.init(num_cpus=2, include_dashboard=False)
        yield 2
        ray.shutdown()


@pytest.mark.parametrize(("rows", "weights", "dtype"), KINDS[:2])
def test_two_workers_train_what_one_process_does_though_one_is_killed(workers, tmp_path, tokens, rows, weights, dtype):  # noqa: F811
    settings = {**SETTINGS, "rows": rows, "weights": weights, "dtype": dtype}
    fit({"tokens": tokens, "folder": str(tmp_path / "cut"), "settings": settings}, workers, run=killed_once)
    assert int(saved_by_then(str(tmp_path / "cut")).read_text()) < STEP
    alone = train(tokens, str(tmp_path / "alone"), settings)
    cut = last_file(tmp_path / "cut")
    assert_same(last_file(tmp_path / "alone"), cut, rtol=0, atol=1e-5)
    np.testing.assert_allclose(cut.facts["callbacks"]["History 0"]["history"]["loss"], alone["loss"], rtol=0, atol=1e-5)
