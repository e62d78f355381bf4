import dataclasses

import pytest

from experiments import selective_copying
from experiments.harness.table import Table
from experiments.models.families import TINY

pytestmark = pytest.mark.any_backend

RUN = selective_copying.plan("smoke", (0,), Table())[0]


def test_every_field_is_part_of_the_identity():
    others = {field.name: 99 for field in dataclasses.fields(RUN)} | {"config": TINY, "data": {"length": 7}}
    changed = [dataclasses.replace(RUN, **{name: value}) for name, value in others.items()]
    changed.append(dataclasses.replace(RUN, learning_rate=None))
    assert len({run.identity for run in (RUN, *changed)}) == 2 + len(others)


def test_the_identity_is_the_same_in_every_process():
    again = dataclasses.replace(RUN, data=dict(reversed(RUN.data.items())))
    assert again.identity == RUN.identity and len(RUN.identity) == 12
