"""Random models and networks: one derivative along a random direction of all that is trained, against differences."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from random_models import problems

from brian2grad.models.errors import NetworkError
from brian2grad.models.hybrid.adjoint import loss_value


def order(tape):
    """All events, not spikes alone: where an arrival and the end of a refractory period swap, the loss has a kink."""
    return [(e.kind, e.group.name, e.index, e.pathway, e.synapse) for e in tape.events]


def check(case):
    problem, rng = case
    try:
        tape = problem.simulate()
    except NetworkError:  # a reset that leaves the neuron above its threshold, or a flow without bound
        assume(False)
    assume(tape.spikes and tape.least_slope > 1)
    _, gradients = problem.loss_and_gradients()
    base = {k: problem.network.values[k] for k in problem.keys}
    direction = {k: rng.uniform(-1, 1, b.size) * np.where(b == 0, 1, np.abs(b)) for k, b in base.items()}
    expected = sum(g @ direction[k] for k, g in zip(problem.keys, gradients, strict=True))
    size = sum(np.abs(g) @ np.abs(direction[k]) for k, g in zip(problem.keys, gradients, strict=True))
    errors = []
    for step in (1e-4, 1e-5, 1e-6):
        losses = []
        for factor in (-2, -1, 1, 2):
            moved = problem.simulate({k: b + factor * step * direction[k] for k, b in base.items()})
            if order(moved) == order(tape):
                losses.append(loss_value(moved))
        if len(losses) == 4:
            found = (losses[0] - 8 * losses[1] + 8 * losses[2] - losses[3]) / (12 * step)
            errors.append(abs(found - expected) / size)
    assume(errors)
    assert min(errors) < 1e-6, errors


OPTIONS = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}


@settings(max_examples=8, **OPTIONS)
@given(problems())
def test_gradient_of_random_models(case):
    check(case)


@pytest.mark.long
@settings(max_examples=500, **OPTIONS)
@given(problems())
def test_gradient_of_five_hundred_random_models(case):
    check(case)
