"""The picture of a recording: input, voltage and the spikes of all repeats, below each other."""

from __future__ import annotations

import numpy as np
from brian2 import second
from brian2.units.fundamentalunits import fail_for_dimension_mismatch

from .errors import DataError

_COLOURS = {"input": "#8C8C8C", "voltage": "#0072B2", "spikes": "black"}


def plot_recording(recording, start=None, end=None, axes=None):
    """Draw a recording; see `RecordingArchive.plot`."""
    from matplotlib.figure import Figure

    length = float(recording.duration)
    first, last = 0.0 if start is None else start, length if end is None else end
    for name, value in (("start", start), ("end", end)):
        if value is not None:
            fail_for_dimension_mismatch(value, second, f"{name} must be a time")
    first, last = max(0.0, float(first)), min(length, float(last))
    if not first < last:
        raise DataError(f"{recording.name or 'recording'}: start = {start}, end = {end} is no part of {length:g} s")
    rows = ["input", *(["voltage"] if recording.voltage_mV is not None else []), "spikes"]
    if axes is None:
        heights = {"input": 1.0, "voltage": 1.4, "spikes": 0.35 + 0.13 * min(len(recording), 20)}
        figure = Figure(figsize=(6.6, 0.6 + sum(heights[row] for row in rows)), layout="constrained")
        axes = figure.subplots(len(rows), 1, sharex=True, height_ratios=[heights[row] for row in rows])
    elif len(axes) != len(rows):
        raise DataError(f"{recording.name or 'recording'}: {len(axes)} axes for {', '.join(rows)}; give {len(rows)}")
    step = recording.dt_us * 1e-6
    shown = slice(int(first / step + 1e-9), int(np.ceil(last / step - 1e-9)))
    t = (np.arange(len(recording.input))[shown] + 0.5) * step
    for ax, row in zip(axes, rows, strict=True):
        if row == "input":
            ax.plot(t, recording.input[shown], color=_COLOURS[row], lw=0.6)
            ax.set_ylabel(f"Input ({recording.input_unit})")
        elif row == "voltage":
            ax.plot(t, recording.voltage_mV[0, shown], color=_COLOURS[row], lw=0.6)
            ax.set_ylabel("Voltage (mV)")
        else:
            draw_repeats(ax, [np.asarray(recording.spike_times(k)) for k in range(len(recording))], _COLOURS[row])
        if recording.scored_from_us * 1e-6 > first:
            ax.axvline(recording.scored_from_us * 1e-6, color=_COLOURS["input"], lw=0.8, ls=":")
    axes[-1].set(xlabel="Time (s)", xlim=(first, last))
    return axes[0].figure


def draw_repeats(ax, trains, colour) -> None:
    """Draw one row of ticks for every repeat, the first on top."""
    ax.eventplot(trains, lineoffsets=np.arange(len(trains)), linelengths=0.8, linewidths=0.7, colors=[colour])
    ax.set(ylabel="Repeat", ylim=(len(trains) - 0.5, -0.5))
    ax.set_yticks(sorted({0, len(trains) - 1}), [str(1 + k) for k in sorted({0, len(trains) - 1})])
