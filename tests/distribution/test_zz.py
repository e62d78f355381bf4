import time, pytest, sys
sys.path.insert(0, "/work/wt/border")
from tests.distribution.processes import answers_of
def act(index):
    if index == 1:
        assert index == 0, "a fault here"
    time.sleep(1000 if index == 0 else 0)
    return index
def test_a(): answers_of(act, (0,), (1,))
