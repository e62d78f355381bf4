import dataclasses

import pytest

from experiments import selective_copying
from experiments.harness.table import Table
from experiments.models.families import TINY

pytestmark = pytest.mark.any_backend

RUN = selective_copying.plan("smoke", (0,), Table())[0]
CHANGES = {
    "experiment": "another",
    "scale": "small",
    "family": "Hawk",
    "config": TINY,
    "data": {**RUN.data, "length": 7},
    "setting": "another",
    "batch_size": 5,
    "steps": 5,
    "learning_rate": 0.02,
    "seed": 1,
    "validate_every": 1,
    "validation_rows": 9,
    "solved": 1.0,
}


def test_every_field_is_part_of_the_identity():
    assert set(CHANGES) == {field.name for field in dataclasses.fields(RUN)}
    changed = [dataclasses.replace(RUN, **{name: value}) for name, value in CHANGES.items()]
    changed.append(dataclasses.replace(RUN, learning_rate=None))
    assert len({run.identity for run in (RUN, *changed)}) == 2 + len(CHANGES)


def test_the_identity_is_the_same_in_every_process():
    again = dataclasses.replace(RUN, data=dict(reversed(RUN.data.items())))
    assert again.identity == RUN.identity and len(RUN.identity) == 12
