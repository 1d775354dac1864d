"""Processes of a served program: each takes the next sample when it is free; a sample that fails is reported."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import threading
import warnings
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np

from ..cache import in_use
from ..checks import checked_number, processors
from ..errors import EngineError, NetworkError
from .program import Program

PARAMETERS, SAMPLE = 0, 1


class SamplesFailed(UserWarning):
    """Some samples of a run have no result."""


@dataclass(frozen=True)
class Failed:
    """A sample without an answer.

    Attributes
    ----------
    reason : str
    """

    reason: str


@dataclass
class Answers:
    """What the processes answered.

    Attributes
    ----------
    samples : list of dict of str to array, or Failed
        Outputs by name; a monitor's recording is (steps, columns).
    seconds : float
        Processor time within the simulation loops, summed over the samples.
    """

    samples: list
    seconds: float


class _Worker:
    """One process."""

    def __init__(self, program: Program, parameters: dict):
        self.program, self.parameters, self.process = program, parameters, None

    def ask(self, kind: int, arrays: dict) -> tuple[float, dict]:
        if self.process is None and kind == SAMPLE:
            self._start()
        process = self.process
        try:
            process.stdin.write(_message(self.program, kind, arrays))
            process.stdin.flush()
            status, seconds, n = (a[0] for a in self._read([np.int64, np.float64, np.int64], [1, 1, 1]))
            sizes = self._read([np.int64], [int(n)])[0]
            parts = [self._bytes(int(size)) for size in sizes]
        except (OSError, EOFError):
            raise self._ended() from None
        if status:
            raise EngineError(parts[0].decode(errors="replace"))
        named = zip(self.program.outputs.items(), parts, strict=False)
        return float(seconds), {name: _array(part, *kind) for (name, kind), part in named}

    def _start(self) -> None:
        self.said = tempfile.TemporaryFile()
        try:
            self.process = subprocess.Popen(
                [str(self.program.folder / "main")], cwd=self.program.folder, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=self.said,
            )  # fmt: skip
        except BaseException:
            self.said.close()
            raise
        self.ask(PARAMETERS, self.parameters)

    def _bytes(self, size: int) -> bytes:
        found = self.process.stdout.read(size)
        if len(found) < size:
            raise EOFError
        return found

    def _read(self, kinds, counts) -> list[np.ndarray]:
        return [np.frombuffer(self._bytes(8 * count), kind) for kind, count in zip(kinds, counts, strict=True)]

    def _ended(self) -> EngineError:
        code, said = self.stop()
        return EngineError(f"The C++ program ended with status {code}{f': {said}' if said else ''}.")

    def stop(self) -> tuple[int | None, str]:
        """End the process; its status and the last that it said."""
        process, self.process = self.process, None
        if process is None:
            return None, ""
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # what could not be written any more
                pipe.close()
        code = process.wait()
        with self.said:
            self.said.seek(max(0, self.said.seek(0, os.SEEK_END) - 300))
            return code, " ".join(self.said.read().decode(errors="replace").split())


def serve(program: Program, parameters: dict, samples, *, processes=None, progress=None) -> Answers:
    """Run samples in processes of a program.

    Parameters
    ----------
    program : Program
    parameters : dict of str to array
        All of the program's; they stay for all samples.
    samples : sequence of dict of str to array, or of callables that return one
        Inputs of every sample. A timed array is given as (places, values) of its entries.
    processes : int, optional
        By default one per core, and not more than samples.
    progress : callable, optional
        Called with the number of samples done.

    Returns
    -------
    Answers
        In the order of the samples, whatever the processes did.

    Raises
    ------
    EngineError
        If the program cannot be started or refuses the parameters. A sample that fails is a `Failed`.
    """
    n = processors() if processes is None else int(checked_number("processes", processes, 1, whole=True))
    found: list = [None] * len(samples)
    waiting, lock, totals, stopped = iter(range(len(samples))), threading.Lock(), [0.0, 0], threading.Event()
    workers = [_Worker(program, parameters) for _ in range(max(1, min(n, len(samples))))]

    def work(worker):
        while not stopped.is_set():
            if worker.process is None:
                try:
                    worker._start()
                except OSError as error:
                    raise EngineError(f"{program.folder / 'main'} cannot be started ({error}).") from error
            with lock:
                sample = next(waiting, None)
            if sample is None:
                return
            seconds = 0.0
            try:
                inputs = samples[sample]
                seconds, found[sample] = worker.ask(SAMPLE, inputs() if callable(inputs) else inputs)
            except (EngineError, NetworkError, ValueError) as error:
                found[sample] = Failed(str(error))
            with lock:
                totals[0], totals[1] = totals[0] + seconds, totals[1] + 1
                if progress and not stopped.is_set():
                    progress(totals[1])

    with in_use(program.folder), contextlib.ExitStack() as ended, ThreadPoolExecutor(len(workers)) as pool:
        for worker in workers:  # once no thread runs: one may have started its process just after it was stopped
            ended.callback(worker.stop)
        try:
            futures = [pool.submit(work, worker) for worker in workers]
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                if future.done():
                    future.result()
        finally:  # an interrupt or a progress bar that fails: nobody waits for the rest
            stopped.set()
            for worker in workers:
                worker.stop()
    return Answers(found, totals[0])


def warn_failed(failed: dict[int, str], n_samples: int) -> None:
    """Say which samples failed.

    Raises
    ------
    EngineError
        If all did.

    Warns
    -----
    SamplesFailed
    """
    if not failed:
        return
    first, reason = next(iter(failed.items()))
    if len(failed) == n_samples:
        raise EngineError(f"No sample could be run; of the first: {reason}")
    warnings.warn(f"{len(failed)} of {n_samples} samples failed, sample {first}: {reason}", SamplesFailed, stacklevel=3)


def _message(program: Program, kind: int, arrays: dict) -> bytes:
    head, parts = [kind, len(arrays)], []
    for name, value in arrays.items():
        if program.kinds[name] == "sparse":
            places, values = value
            part = np.asarray(places, np.int64).tobytes() + np.asarray(values, np.float64).tobytes()
        else:
            part = np.ascontiguousarray(value, program.kinds[name]).tobytes()
        head += [program.places[name], len(part)]
        parts.append(part)
    return b"".join([np.array(head, np.int64).tobytes(), *parts])


def _array(part: bytes, kind: str, columns: int) -> np.ndarray:
    found = np.frombuffer(part, kind)
    return found.reshape(-1, columns) if columns else found
