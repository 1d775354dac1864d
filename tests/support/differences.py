"""Central differences of a hybrid problem's loss, five points, refused where the spike pattern changes."""

from __future__ import annotations

import numpy as np


def central_difference(problem, key, direction, step):
    """Derivative of the loss along `direction` of the value `key`, by a stencil whose error is of fourth order."""
    base, pattern, losses = problem.network.values[key], problem.simulate().pattern(), []
    for factor in (-2, -1, 1, 2):
        values = {key: base + factor * step * direction}
        tape = problem.simulate(values)
        assert tape.pattern() == pattern, f"a spike appears or vanishes within the step of {key}"
        losses.append(problem.value_of(tape))
    return (losses[0] - 8 * losses[1] + 8 * losses[2] - losses[3]) / (12 * step)


def relative_errors(problem, seed=0, steps=(3e-5, 1e-4)):
    """Relative error of every entry's gradient along one random direction, and of its largest component.

    Where the first step leaves an error, rounding of the loss may have made it, and a larger step is tried.
    """
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
            found, effect, error = gradient @ direction, np.abs(gradient * size).max(), np.inf
            for step in steps:
                if error > 1e-7:
                    expected = central_difference(problem, key, direction, step)
                    scale = max(abs(expected), effect) if effect > floor else 1e6 * floor  # tiny: against the largest
                    error = min(error, abs(found - expected) / scale)
            errors[(*key, name)] = error
    return errors
