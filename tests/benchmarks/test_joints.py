"""What the anatomy of a hit puts its stopwatches at."""

import pytest

from benchmarks.scenarios.joints import JOINTS, resolved


@pytest.mark.parametrize("store", ("local", "redis"))
@pytest.mark.parametrize("joint", JOINTS, ids=lambda joint: joint[0])
def test_each_joint_is_there(joint, store):
    _, module, path = joint
    owner, name = resolved(module, path, store)
    assert callable(getattr(owner, name))
