"""Recording archives: a neuron's input and its spikes, one repeat after the other."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from brian2 import Quantity, amp, second, volt
from brian2.units.fundamentalunits import fail_for_dimension_mismatch, get_dimensions

from ...equations.display import Displayed
from .checks import check_offsets
from .errors import DataError
from .fields import Field, Problems, first_true
from .npz import read_fields
from .storage import write_npz

__all__ = ["RecordingArchive", "read_recording"]

# Ends of names that optional packages read: pynwb the first, neo the others.
FOREIGN = (".nwb", ".abf", ".smr", ".smrx", ".axgd", ".axgx", ".nix", ".mat", ".ibw", ".pxp", ".wcp")

FIELDS = {
    "dt_us": Field("float64", 0, 1e-3, 1e6),
    "input": Field("float64"),
    "input_unit": Field("text", 0),
    "spike_times_us": Field("float64", least=0),
    "offsets": Field("int64", least=0),
    "voltage_mV": Field("float32", 2, required=False),
    "scored_from_us": Field("float64", 0, 0, required=False),
}


@dataclass(frozen=True, eq=False, repr=False)
class RecordingArchive(Displayed):
    """Hold the spikes of one neuron in repeats of one input.

    `read_recording` reads one from a file, `RecordingArchive.from_repeats` makes one of quantities.

    Parameters
    ----------
    dt_us : float, microseconds
        Time step of input and voltage.
    input : (n,) float64 array
        In `input_unit`.
    input_unit : str
    spike_times_us : (n_spikes,) float64 array
        Repeat after repeat, each from the beginning of the recording.
    offsets : (n_repeats + 1,) int64 array
        Repeat ``k`` is ``spike_times_us[offsets[k]:offsets[k + 1]]``.
    voltage_mV : (n_repeats, n) float32 array, optional
    scored_from_us : float
        What comes before is run, not scored.
    name : str, optional
        Names the archive in messages.

    Raises
    ------
    DataError
        If a value does not fit, or the fields contradict each other: one line that names every wrong field.
    """

    dt_us: float
    input: np.ndarray
    input_unit: str
    spike_times_us: np.ndarray
    offsets: np.ndarray
    voltage_mV: np.ndarray | None = None  # noqa: N815 (the file's own name)
    scored_from_us: float = 0.0
    name: str = ""

    def __post_init__(self):
        problems = Problems(self.name or "recording archive")
        problems.keep(self, FIELDS)
        self._check_together(problems)
        problems.stop()

    @classmethod
    def from_repeats(cls, spike_times, input, dt, *, input_unit=None, voltage=None, scored_from=0 * second, name=""):
        """Make an archive of quantities.

        Parameters
        ----------
        spike_times : sequence of Quantity, second
            Sorted spike times of every repeat, from the beginning of the input.
        input : (n,) Quantity or array
            A current, or numbers whose unit is `input_unit`.
        dt : Quantity, second
            Step of `input` and `voltage`.
        input_unit : str, optional
            Needed where `input` is no current.
        voltage : (n_repeats, n) Quantity, volt, optional
        scored_from : Quantity, second
            What comes before is run, not scored.
        name : str, optional

        Returns
        -------
        RecordingArchive

        Raises
        ------
        DataError
            As the constructor; if `input_unit` is missing.
        DimensionMismatchError
            If a unit is wrong.
        """
        times = (("dt", dt), ("scored_from", scored_from), *(("spike_times", train) for train in spike_times))
        for word, value in times:
            fail_for_dimension_mismatch(value, second, f"{word} must be a time")
        if get_dimensions(input) == amp.dim:
            input, input_unit = np.asarray(input) * 1e9, "nA"
        elif input_unit is None:
            raise DataError(f"{name or 'recording archive'}: input is no current; say its unit by input_unit")
        if voltage is not None:
            fail_for_dimension_mismatch(voltage, volt, "voltage must be a voltage")
            voltage = np.atleast_2d(np.asarray(voltage)) * 1e3
        trains = [np.atleast_1d(np.asarray(train, float)) * 1e6 for train in spike_times]
        return cls(
            dt_us=float(dt) * 1e6, input=np.asarray(input, float), input_unit=input_unit,
            spike_times_us=np.concatenate([np.zeros(0), *trains]),
            offsets=np.cumsum([0, *map(len, trains)]), voltage_mV=voltage, scored_from_us=float(scored_from) * 1e6,
            name=name,
        )  # fmt: skip

    def _check_together(self, problems):
        n, end = len(self.input), len(self.input) * self.dt_us
        if not n:
            problems.add("input", "is empty; it must hold the input of every time step")
        check_offsets(problems, self.offsets, len(self.spike_times_us), "spike_times_us")
        if not problems.found and len(self.offsets) < 2:
            problems.add("offsets", "describes no repeat; it must have one entry more than there are repeats")
        late = first_true(self.spike_times_us > end)
        if late is not None:
            value = self.spike_times_us[late]
            problems.add("spike_times_us", f"is {value:.10g} at index {late}, after the end of 'input' at {end:.10g}")
        if "offsets" not in problems.found:
            falls = self.spike_times_us[1:] < self.spike_times_us[:-1]
            starts = self.offsets[1:-1]
            falls[starts[(starts > 0) & (starts < len(self.spike_times_us))] - 1] = False
            bad = first_true(falls)
            if bad is not None:
                problems.add("spike_times_us", f"falls at index {bad + 1}; sort each repeat by time")
            if self.voltage_mV is not None and self.voltage_mV.shape != (self.n_repeats, n):
                shape = (self.n_repeats, n)
                problems.add("voltage_mV", f"has shape {self.voltage_mV.shape}; it must be {shape}, repeats by steps")
        if self.scored_from_us >= end > 0:
            problems.add("scored_from_us", f"is {self.scored_from_us:.10g}, but 'input' ends at {end:.10g}")

    def __len__(self):
        return self.n_repeats

    @property
    def n_repeats(self) -> int:
        """How often the input was given."""
        return len(self.offsets) - 1

    @property
    def duration(self) -> Quantity:
        """Length of the input, second."""
        return Quantity(len(self.input) * self.dt_us * 1e-6, dim=second.dim)

    def summary(self) -> dict:
        """Sizes of the recording."""
        counts, v = np.diff(self.offsets), self.voltage_mV
        each = f" ({counts.min()} to {counts.max()} a repeat)" if len(self) > 1 else ""
        return {
            "name": self.name,
            "repeats": self.n_repeats,
            "duration": f"{self.duration}, in steps of {self.dt_us:g} us",
            "input": f"{self.input.min():.4g} to {self.input.max():.4g} {self.input_unit}",
            "spikes": f"{len(self.spike_times_us)}{each}",
            "voltage": None if v is None else f"{v.min():.4g} to {v.max():.4g} mV",
            "scored": f"from {self.scored_from_us * 1e-6:g} s" if self.scored_from_us else None,
        }

    def part(self, start=0 * second, end=None) -> RecordingArchive:
        """The recording until `end`, scored from `start`: what comes before is run, so that states are what they were.

        Parameters
        ----------
        start, end : Quantity, second
            `end` is by default that of the recording.

        Returns
        -------
        RecordingArchive

        Raises
        ------
        DataError
            If nothing is left.
        """
        for word, value in (("start", start), ("end", end)):
            if value is not None:
                fail_for_dimension_mismatch(value, second, f"{word} must be a time")
        n, first = len(self.input), max(self.scored_from_us, float(start) * 1e6)
        if end is not None:
            n = min(n, round(float(end) * 1e6 / self.dt_us))
        if not first < n * self.dt_us:
            raise DataError(f"{self.name or 'recording'}: start = {start}, end = {end} is no part of {self.duration}")
        trains = [self.spike_times_us[a:b] for a, b in zip(self.offsets[:-1], self.offsets[1:], strict=True)]
        trains = [train[train < n * self.dt_us] for train in trains]
        voltage = None if self.voltage_mV is None else self.voltage_mV[:, :n]
        spikes = {"spike_times_us": np.concatenate(trains), "offsets": np.cumsum([0, *map(len, trains)])}
        return replace(self, input=self.input[:n], voltage_mV=voltage, scored_from_us=first, **spikes)

    def plot(self, start=None, end=None, axes=None):
        """Draw the input, the voltage of the first repeat where there is one, and the spikes of all repeats.

        Parameters
        ----------
        start, end : Quantity, second, optional
            The part that is drawn; by default all.
        axes : sequence of Axes, optional
            Two, or three with a voltage; by default those of a new figure.

        Returns
        -------
        Figure

        Raises
        ------
        DataError
            If the part is empty, or the number of axes is another.
        """
        from .recording_plot import plot_recording  # the picture needs matplotlib, the data do not

        return plot_recording(self, start, end, axes)

    def save(self, path, compressed=True) -> None:
        """Write the archive to an ``.npz`` file, atomically.

        Parameters
        ----------
        path : path-like
            A file already there is replaced when the new one is complete.
        compressed : bool
            Smaller and slower.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        held = {field.name: getattr(self, field.name) for field in fields(self) if field.name in FIELDS}
        write_npz(Path(path), {name: value for name, value in held.items() if value is not None}, compressed)

    def spike_times(self, repeat: int) -> Quantity:
        """Spike times of a repeat, second."""
        first, last = self.offsets[repeat], self.offsets[repeat + 1]
        return Quantity(self.spike_times_us[first:last] * 1e-6, dim=second.dim)


def read_recording(path) -> RecordingArchive:
    """Read a recording.

    Parameters
    ----------
    path : path-like
        ``.npz`` file with ``dt_us``, ``input``, ``input_unit``, ``spike_times_us``, ``offsets``; optionally
        ``voltage_mV`` and ``scored_from_us``. Or ``.nwb`` (needs `pynwb`), or any other file that `neo` reads.

    Returns
    -------
    RecordingArchive

    Raises
    ------
    DataError
        If the file is missing, damaged or malformed: one line that names every wrong field; if it needs a package
        that is not installed.
    """
    kind = Path(path).suffix.lower()
    if kind in FOREIGN:
        from .electrophysiology import read_foreign  # optional packages

        found = read_foreign(path, kind)
    else:
        found = read_fields(path, FIELDS, "archive of a recording")
    archive = RecordingArchive(**found, name=str(path))
    object.__setattr__(archive, "name", Path(path).stem)  # the path was for the messages
    return archive
