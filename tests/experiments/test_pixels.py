import gzip

import numpy as np
import pytest

from experiments import pixels
from experiments.data import extra, pixel_data
from experiments.harness.table import Table
from experiments.models.sequence_models import LAYERS, RING
from experiments.pixels import CLAIMS, plan
from tests.experiments import made_up

pytestmark = pytest.mark.any_backend


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Fashion-MNIST is not installed."""
    monkeypatch.setattr(pixel_data, "FASHION_MNIST", tmp_path / "nowhere")


def table_of(accuracy, seconds, seeds=(0, 1, 2)):
    """The results of accuracies and seconds, functions of the layer, the set and the seed."""

    def tests(run):
        cell = run.family, run.setting, run.seed
        return [(run.setting, "test_accuracy", accuracy(*cell)), (run.setting, "cpu_seconds", seconds(*cell))]

    return made_up.carried_out(pixels, "small", seeds, lambda run: 900, tests)


def words(accuracy=lambda *cell: 0.9, seconds=lambda layer, *_: 30.0 if layer == "RGLRU" else 100.0):
    return [claim.judge(table_of(accuracy, seconds)).word for claim in CLAIMS]


def test_what_the_claims_say_is_reproduced():
    table = table_of(
        lambda layer, name, seed: 0.9 + 0.01 * seed - 0.019 * (layer in ("RGLRU", RING)),
        lambda layer, name, seed: 33.0 if layer == "RGLRU" else 100.0,
    )
    found = [claim.judge(table) for claim in CLAIMS]
    assert [verdict.word for verdict in found] == 3 * ["reproduced"]
    assert found[0].evidence == (
        "accuracy in % of RGLRU for those of GRU, by seed: digits 88.1 for 90.0, 89.1 for 91.0, 90.1 for 92.0; "
        "MNIST-1D 88.1 for 90.0, 89.1 for 91.0, 90.1 for 92.0"
    )
    assert found[2].evidence == found[0].evidence.replace("RGLRU", RING)
    assert found[1].evidence.startswith("CPU seconds of RGLRU for those of GRU, by seed: digits 33 for 100, 33 for 100")


def test_a_set_alone_or_a_seed_alone_makes_a_claim_partly():
    assert words(lambda layer, name, seed: 0.9 - 0.03 * ((layer, name) == ("RGLRU", "digits")))[0] == "partly"
    assert words(lambda layer, name, seed: 0.9 - 0.03 * (layer == "RGLRU" and seed == 1))[0] == "partly"
    assert words(lambda layer, *_: 0.9 - 0.03 * (layer == "RGLRU"))[0] == "not reproduced"
    assert words(lambda layer, *_: 0.9 - 0.03 * (layer == RING))[::2] == ["reproduced", "not reproduced"]
    # A GRU that is worse is no reason to fail.
    assert words(lambda layer, *_: 0.9 if layer == "RGLRU" else 0.5)[0] == "reproduced"


def test_a_set_that_neither_has_learnt_decides_nothing_about_accuracy():
    assert words(lambda *_: 0.1) == ["undecided", "reproduced", "undecided"]
    assert words(lambda layer, name, seed: 0.1 if name == "digits" else 0.9)[0] == "partly"


def test_half_the_time_is_not_a_third():
    assert words(seconds=lambda layer, *_: 50.0 if layer == "RGLRU" else 100.0)[1] == "not reproduced"


def test_what_has_not_finished_is_left_out():
    table = table_of(lambda *_: 0.9, lambda layer, *_: 20.0)
    last = table.trials("RGLRU", "MNIST-1D")[-1]
    shorter = Table(row for row in table.rows if row.run != last.run)
    assert CLAIMS[0].judge(shorter).evidence.endswith("MNIST-1D 90.0 for 90.0, 90.0 for 90.0")
    assert [len(axes.lines) for axes in pixels.draw(shorter).axes] == [15, 14]
    alone = Table(row for row in table.rows if row.family == "LSTM" and row.setting == "digits")
    assert [claim.judge(alone).word for claim in CLAIMS] == 3 * ["undecided"]
    assert [len(axes.lines) for axes in pixels.draw(alone).axes] == [3]
    smoke = made_up.carried_out(pixels, "smoke", (0,), lambda run: 2)
    assert [claim.judge(smoke).word for claim in CLAIMS] == 3 * ["undecided"]
    assert len(pixels.draw(smoke).axes) == 1


def test_the_plan_has_a_search_on_each_set_and_then_the_seeds(tmp_path, monkeypatch):
    assert [(run.setting, run.family, run.learning_rate) for run in plan("small", (0, 1, 2), Table())] == [
        (name, layer, rate) for name in ("digits", "MNIST-1D") for layer in LAYERS for rate in (2e-3, 8e-3)
    ]
    # Two rates with the first seed, and two more seeds at one of them.
    assert len(table_of(lambda *_: 0.9, lambda *_: 1.0).trials()) == 2 * 5 * (2 + 2)
    monkeypatch.setattr(pixel_data, "FASHION_MNIST", tmp_path)
    table = table_of(lambda *_: 0.9, lambda *_: 1.0)
    assert len(table.trials()) == 2 * 5 * (2 + 2) + 5 * 2
    assert len(table.trials(setting="Fashion-MNIST")) == 10
    run = plan("small", (0,), Table())[0]
    assert (run.config, dict(run.data)) == (None, {"set": "digits", "width": 64})


def test_bumps_need_no_package_and_have_their_class_at_their_place():
    task = pixel_data.task("bumps")
    for part in (task.sample(30, 1), task.validation, task.test):
        assert part.features.shape[1:] == (10, 1) and part.features.dtype == "float32"
        np.testing.assert_array_equal(part.features[..., 0].argmax(axis=1), part.targets)
    assert task.pool == "mean" and task.num_classes == 10


def test_fashion_mnist_is_read_from_the_files_of_its_package(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    found = {}
    for part, rows in (("train", 1010), ("t10k", 20)):
        images = generator.integers(256, size=(rows, 28, 28), dtype="uint8")
        classes = generator.integers(10, size=rows, dtype="uint8")
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + images.tobytes()))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + classes.tobytes()))
        found[part] = images, classes
    monkeypatch.setattr(pixel_data, "FASHION_MNIST", tmp_path)
    train, validation, test = pixel_data.fashion_mnist()
    assert [len(rows) for rows, _ in (train, validation, test)] == [10, 1000, 20]
    images, classes = found["t10k"]
    np.testing.assert_array_equal(test[0].reshape(20, 14, 14), images[:, ::2, ::2])
    np.testing.assert_array_equal(test[1], classes)
    np.testing.assert_array_equal(np.concatenate([train[1], validation[1]]), found["train"][1])


def test_a_missing_package_is_named(monkeypatch):
    def without(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

    monkeypatch.setattr(extra, "import_module", without)
    with pytest.raises(SystemExit) as refused:
        pixel_data.digits()
    assert str(refused.value) == (
        "experiments: scikit-learn must be installed for the data of this experiment: pip install scikit-learn. "
        "Got no module sklearn."
    )


def test_a_package_that_lacks_another_says_so_itself(monkeypatch):
    def without(name):
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy")

    monkeypatch.setattr(extra, "import_module", without)
    with pytest.raises(ModuleNotFoundError, match="scipy"):
        extra.package("sklearn.datasets", "scikit-learn")
