"""One training or measurement of one model: everything that determines its numbers."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras_griffin.models import GriffinConfig


@dataclass(frozen=True)
class Run:
    """A run; with another setting it is another run."""

    experiment: str
    scale: str
    family: str
    #: Shared by the families: each has its own pattern. None if the experiment trains no `LanguageModel`.
    config: GriffinConfig | None
    #: What the experiment makes batches from, and how it tests.
    data: Mapping[str, Any]
    #: In words, for tables and plots.
    setting: str
    batch_size: int
    #: At most; a run ends early when the task is solved. 0 if nothing is trained.
    steps: int
    #: None if nothing is trained.
    learning_rate: float | None
    seed: int
    #: Steps between two validations.
    validate_every: int
    validation_rows: int
    #: The share of validation rows to answer without a mistake, twice in a row, at which the task counts as solved.
    solved: float = 0.995
    #: What the optimizer's rate does, where that is not what the experiment's did at first.
    schedule: str = ""

    def describe(self) -> dict:
        """All of it as JSON."""
        config = self.config.to_dict() if self.config else None
        described = {**dataclasses.asdict(self), "config": config, "data": dict(self.data)}
        # Older runs have no schedule, and keep their names.
        return described if self.schedule else {name: each for name, each in described.items() if name != "schedule"}

    @property
    def identity(self) -> str:
        """A name that no other run has: the start of the description's hash."""
        text = json.dumps(self.describe(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
