"""Recordings in the formats of electrophysiology: NWB files by `pynwb`, all others by `neo`; both are optional."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import DataError

SPIKE_LEVEL = 0.0  # volt: a voltage without spike times spikes where it rises through it
_SAME = 1e-6  # of the input's largest value: repeats whose inputs differ by less have one input


@dataclass
class Sweep:
    """One repeat, SI: input (ampere), step, and as far as they are there voltage (volt) and spike times."""

    current: np.ndarray
    dt: float
    voltage: np.ndarray | None = None
    spikes: np.ndarray | None = None


def read_foreign(path, kind: str) -> dict:
    """Fields of a recording that `pynwb` (``.nwb``) or `neo` reads; see `read_recording`.

    Every sweep is a repeat. Sweeps must have one input. Where a file has no spike times, a spike is where the voltage
    rises through 0 mV.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: no such file; give the path of a recording")
    package = "pynwb" if kind == ".nwb" else "neo"
    try:
        module = importlib.import_module(package)
        if package == "neo":
            importlib.import_module("neo.io")
    except ImportError:
        raise DataError(
            f"{path}: '{kind}' is read by {package}, which is not installed; pip install brian2grad[recordings]"
        ) from None
    try:
        sweeps = _nwb_sweeps(module, path) if package == "pynwb" else _neo_sweeps(module, path)
    except DataError:
        raise
    except Exception as error:  # readers of foreign formats raise whatever they meet in damaged bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: {package} cannot read it ({reason:.200})") from error
    return _joined(path, sweeps)


def _joined(path, sweeps: list[Sweep]) -> dict:
    """All sweeps as the fields of one archive."""
    if not sweeps:
        raise DataError(f"{path}: holds no sweep with an injected current; save the current beside the voltage")
    first = sweeps[0]
    for k, sweep in enumerate(sweeps):
        apart = len(sweep.current) != len(first.current) or abs(sweep.dt / first.dt - 1) > 1e-9
        if apart or np.abs(sweep.current - first.current).max() > _SAME * np.abs(first.current).max():
            raise DataError(f"{path}: sweep {k} has another input than sweep 0; keep the repeats of one input only")
        if sweep.voltage is not None and len(sweep.voltage) != len(first.current):
            raise DataError(
                f"{path}: sweep {k} has {len(sweep.voltage)} voltages for {len(first.current)} steps of its input"
            )
        if sweep.spikes is None:
            if sweep.voltage is None:
                raise DataError(f"{path}: sweep {k} has neither spike times nor a voltage")
            high = sweep.voltage > SPIKE_LEVEL
            sweep.spikes = (1 + np.flatnonzero(high[1:] & ~high[:-1])) * sweep.dt
    whole = all(sweep.voltage is not None for sweep in sweeps)
    times = [np.round(np.asarray(sweep.spikes, float) * 1e6, 3) for sweep in sweeps]
    return {
        "dt_us": round(first.dt * 1e6, 9), "input": first.current * 1e9, "input_unit": "nA",
        "spike_times_us": np.concatenate(times), "offsets": np.cumsum([0, *map(len, times)]),
        "voltage_mV": np.array([sweep.voltage * 1e3 for sweep in sweeps]) if whole else None,
    }  # fmt: skip


def _nwb_sweeps(pynwb, path) -> list[Sweep]:
    """Current clamp series of an NWB file; responses are told by where they start, spikes are those of its one unit."""
    from pynwb.icephys import CurrentClampSeries, CurrentClampStimulusSeries

    with pynwb.NWBHDF5IO(str(path), "r", load_namespaces=True) as file:
        held = file.read()
        given = [s for s in held.stimulus.values() if isinstance(s, CurrentClampStimulusSeries)]
        answers = [s for s in held.acquisition.values() if isinstance(s, CurrentClampSeries)]
        given = sorted(((*_nwb_grid(path, s), s) for s in given), key=lambda found: found[:2])
        answered = {round(_nwb_grid(path, s)[0], 6): _nwb_values(s) for s in answers}
        spikes = None
        if held.units is not None and len(held.units):
            if len(held.units) > 1:
                raise DataError(f"{path}: holds {len(held.units)} units; keep the one that is to be fitted")
            spikes = np.sort(np.asarray(held.units["spike_times"][0], float))
        sweeps = []
        for start, dt, series in given:
            current = _nwb_values(series)
            within = None
            if spikes is not None:
                within = spikes[(spikes >= start) & (spikes < start + len(current) * dt)] - start
            sweeps.append(Sweep(current, dt, answered.get(round(start, 6)), within))
        return sweeps


def _nwb_values(series) -> np.ndarray:
    return np.asarray(series.data[:], float) * series.conversion + (getattr(series, "offset", 0.0) or 0.0)


def _nwb_grid(path, series) -> tuple[float, float]:
    """Start and step, seconds."""
    if series.rate:
        return float(series.starting_time or 0.0), 1 / float(series.rate)
    times = np.asarray(series.timestamps[:], float)
    steps = np.diff(times)
    if not len(steps) or np.ptp(steps) > 1e-3 * steps.mean():
        raise DataError(f"{path}: '{series.name}' has no regular steps")
    return float(times[0]), float(steps.mean())


def _neo_sweeps(neo, path) -> list[Sweep]:
    """Segments of all blocks: the first signal in ampere, the first in volt, and the only spike train."""
    sweeps = []
    for block in neo.io.get_io(str(path)).read():
        for segment in block.segments:
            signals = {unit: _neo_signal(segment, unit) for unit in ("A", "V")}
            if signals["A"] is None:
                continue
            current, voltage = signals["A"], signals["V"]
            start, spikes = float(current.t_start.rescale("s")), None
            if len(segment.spiketrains) > 1:
                raise DataError(f"{path}: a segment holds {len(segment.spiketrains)} spike trains; keep one neuron's")
            if len(segment.spiketrains):
                spikes = np.sort(np.asarray(segment.spiketrains[0].rescale("s").magnitude, float)) - start
            values = [None if s is None else np.asarray(s.magnitude, float)[:, 0] for s in (current, voltage)]
            sweeps.append(Sweep(values[0], 1 / float(current.sampling_rate.rescale("Hz")), values[1], spikes))
    return sweeps


def _neo_signal(segment, unit):
    """The first signal whose unit can become `unit`, in that unit."""
    for signal in segment.analogsignals:
        try:
            return signal.rescale(unit)
        except ValueError:
            continue
    return None
