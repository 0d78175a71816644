"""`sizeof` against what was allocated while the object was built."""

import memlens
import pytest
import truth_cases

TRACED = truth_cases.traced_cases()
EXACT = truth_cases.exact_cases()


@pytest.mark.parametrize("name", TRACED)
def test_traced(name):
    made, truth = truth_cases.measured(TRACED[name])
    assert memlens.sizeof(made) == pytest.approx(truth, rel=0.02)


@pytest.mark.parametrize("name", EXACT)
def test_exact(name):
    build, truth = EXACT[name]
    assert memlens.sizeof(build()) == pytest.approx(truth, rel=0.02)
