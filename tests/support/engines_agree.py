"""The compiled engine against the oracle on one problem: spikes, losses, every gradient."""

import numpy as np

from brian2grad.models.hybrid.adjoint import Backward, loss_value
from brian2grad.models.hybrid.engine import HybridEngine


def agree(problem, tolerance=1e-7):
    tape = problem.simulate()
    expected, gradients = loss_value(tape), Backward(tape).run()
    outcome = HybridEngine(problem.network, problem.duration).run()
    for name, group in problem.network.groups.items():
        spikes = [(t, k) for t, owner, k in tape.spikes if owner == name]
        neurons, times = outcome.spikes[name][0]
        assert neurons.tolist() == [k for _, k in spikes]
        np.testing.assert_allclose(times, [t for t, _ in spikes], rtol=0, atol=1e-10 * problem.duration)
        assert outcome.final[name].shape == (1, group.n, len(group.states))
    np.testing.assert_allclose(outcome.losses, [expected], rtol=1e-8)
    found = outcome.backward()
    for key in problem.keys:
        largest = np.abs(gradients[key]).max(initial=0)
        np.testing.assert_allclose(
            found[key], gradients[key], rtol=0, atol=tolerance * largest + 1e-12, err_msg=str(key)
        )
