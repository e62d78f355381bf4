import subprocess
import sys

import pytest

from tests.ops.linear_cross_entropy import memory_of_a_gradient


@pytest.mark.trainable
@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the highest level of memory in use")
def test_logits_of_all_steps_are_never_there():
    """Keras's own loss, beside it, shows that the measure sees them."""
    command = [sys.executable, memory_of_a_gradient.__file__]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    in_pieces, at_once = (int(line) for line in printed.split())
    assert in_pieces < memory_of_a_gradient.LOGITS_BYTES / 2
    assert at_once > memory_of_a_gradient.LOGITS_BYTES / 2
