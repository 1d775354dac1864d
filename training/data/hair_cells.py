"""Spike generators of the cochlear encoder, run on a batch of envelopes at once."""

import numpy as np

__all__ = ["hair_cell_spikes", "sigma_delta_spikes"]


def _padded(envelopes):
    lengths = np.array([len(envelope) for envelope in envelopes])
    padded = np.zeros((lengths.max(), len(envelopes), envelopes[0].shape[1]), np.float32)
    for k, envelope in enumerate(envelopes):
        padded[: len(envelope), k] = envelope
    return padded, lengths


def _run(envelopes, advance, threshold, n_fibres, step_us):
    """Advance all generators step by step and return their threshold crossings.

    `advance(level, n_active)` returns the value to compare, (n_active, n_channels, n_fibres), and a function
    that resets those that spiked and returns the value after it. Recordings come longest first, so that those
    still running are the first rows.
    """
    levels, lengths = _padded(envelopes)
    n_units = levels.shape[2] * n_fibres
    before = np.zeros((len(envelopes), levels.shape[2], n_fibres), np.float32)
    found = []
    for step, level in enumerate(levels):
        n_active = int(np.searchsorted(-lengths, -step, side="left"))
        value, reset = advance(level[:n_active, :, None], n_active)
        spiking = np.flatnonzero(value >= threshold)
        if spiking.size:
            now, last = value.ravel()[spiking], before[:n_active].ravel()[spiking]
            limit = np.broadcast_to(threshold, value.shape).ravel()[spiking]
            # Between two samples the value is linear; after a reset it may start above the threshold.
            part = np.clip((limit - last) / np.maximum(now - last, 1e-12), 0, 1)
            times = np.maximum(np.rint((step - 1 + part) * step_us), 0).astype(np.int64)
            found.append((spiking // n_units, spiking % n_units, times))
        before[:n_active] = reset(spiking)
    return found


def hair_cell_spikes(envelopes, thresholds, steps_per_tau, step_us):
    """Run leaky integrate-and-fire fibres with reset to zero.

    Parameters
    ----------
    envelopes : sequence of (n_steps, n_channels) float32 arrays
        Longest first.
    thresholds : sequence of float
        One for each fibre of a channel.
    steps_per_tau : float
        Membrane time constant in steps.
    step_us : float, microseconds

    Returns
    -------
    list of (recordings, units, times)
        Indices of the recordings, ``channel * n_fibres + fibre``, microseconds.

    Notes
    -----
    :math:`\\tau\\,dv/dt = I - v`, exact for an input that is constant over a step; spike and :math:`v \\to 0`
    at :math:`v \\ge \\theta`.
    """
    decay = np.float32(np.exp(-1 / steps_per_tau))
    v = np.zeros((len(envelopes), envelopes[0].shape[1], len(thresholds)), np.float32)

    def advance(level, n_active):
        active = v[:n_active]
        active *= decay
        active += (1 - decay) * level

        def reset(spiking):
            active.reshape(-1)[spiking] = 0
            return active

        return active, reset

    return _run(envelopes, advance, np.asarray(thresholds, np.float32), len(thresholds), step_us)


def sigma_delta_spikes(envelopes, theta, steps_per_tau, step_us):
    """Code envelopes by a decaying estimate that every spike raises by 2 theta.

    Parameters
    ----------
    envelopes : sequence of (n_steps, n_channels) float32 arrays
        Longest first.
    theta : float
        Error of the estimate at which a spike is sent; the estimate stays within theta of the signal.
    steps_per_tau : float
        Time constant of the estimate's decay in steps.
    step_us : float, microseconds

    Returns
    -------
    list of (recordings, units, times)
        Indices of the recordings, channels, microseconds.
    """
    decay = np.float32(np.exp(-1 / steps_per_tau))
    estimate = np.zeros((len(envelopes), envelopes[0].shape[1], 1), np.float32)

    def advance(level, n_active):
        active = estimate[:n_active]
        active *= decay
        error = level - active

        def reset(spiking):
            active.reshape(-1)[spiking] += np.float32(2 * theta)
            error.reshape(-1)[spiking] -= np.float32(2 * theta)
            return error

        return error, reset

    return _run(envelopes, advance, np.float32(theta), 1, step_us)
