import numpy as np
import pytest
from keras import ops

from keras_griffin.models import GriffinConfig, Hawk
from keras_griffin.tasks import induction_heads, selective_copying
from tests.tasks.check_task import check_task

pytestmark = pytest.mark.any_backend

TASKS = {
    "induction_heads": lambda **seed: induction_heads(2, 32, **seed),
    "selective_copying": lambda **seed: selective_copying(2, 28, 4, **seed),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_has_the_shapes_and_dtypes_of_a_task_and_its_rows_follow_from_the_seed(name):
    check_task(name, TASKS[name], (2, 32))


@pytest.mark.trainable
@pytest.mark.parametrize("name", TASKS)
def test_a_model_trains_on_a_batch_as_it_is_with_the_loss_of_the_answers(name):
    model, batch = Hawk(GriffinConfig(vocabulary_size=16, width=16, num_layers=1, num_heads=1)), TASKS[name]()
    logits = ops.convert_to_numpy(model(batch.token_ids)).astype("float64")
    nats = np.log(np.exp(logits).sum(axis=-1)) - np.take_along_axis(logits, batch.targets[..., None], -1)[..., 0]
    model.compile("adam", model.loss)
    np.testing.assert_allclose(model.train_on_batch(*batch), nats[batch.weights == 1].mean(), rtol=1e-5)
