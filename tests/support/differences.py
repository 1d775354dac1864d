"""Central differences of a hybrid problem's loss, five points, refused where the spike pattern changes."""

from __future__ import annotations

import numpy as np

from brian2grad.models.hybrid.adjoint import loss_value


def central_difference(problem, key, direction, step):
    """Derivative of the loss along `direction` of the value `key`, by a stencil whose error is of fourth order."""
    base, pattern, losses = problem.network.values[key], problem.simulate().pattern(), []
    for factor in (-2, -1, 1, 2):
        values = {key: base + factor * step * direction}
        tape = problem.simulate(values)
        assert tape.pattern() == pattern, f"a spike appears or vanishes within the step of {key}"
        losses.append(loss_value(tape))
    return (losses[0] - 8 * losses[1] + 8 * losses[2] - losses[3]) / (12 * step)


def relative_errors(problem, seed=0, step=3e-5):
    """Relative error of every entry's gradient along one random direction, and of its largest component."""
    generator, errors = np.random.default_rng(seed), {}
    _, gradients = problem.loss_and_gradients()
    sizes = {k: np.abs(problem.network.values[k]).max() for k in problem.keys}
    floor = 1e-6 * max(np.abs(g).max() * sizes[k] for k, g in zip(problem.keys, gradients, strict=True))
    for key, gradient in zip(problem.keys, gradients, strict=True):
        base = problem.network.values[key]
        size = np.where(base == 0, np.abs(base).max() or 1e-3, np.abs(base))
        largest = np.zeros(base.size)
        largest[np.argmax(np.abs(gradient * size))] = 1
        directions = {"largest": largest}
        if base.size > 1:
            directions["random"] = generator.uniform(-1, 1, base.size)
        for name, signs in directions.items():
            direction = signs * size
            found, expected = gradient @ direction, central_difference(problem, key, direction, step)
            errors[(*key, name)] = abs(found - expected) / max(abs(expected), np.abs(gradient * size).max(), floor)
    return errors
