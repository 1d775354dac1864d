"""Losses of what a run gave: spike times, final states, maxima over time."""

from .base import FunctionLoss, LossSum, Partials, RunLoss, RunResult
from .pseudospikes import Pseudospikes
from .silent import SpikeRate, WakeSilent
from .spikes import FirstSpikeCrossEntropy, SpikeCounts, SpikeTimes, VanRossum
from .states import FinalCrossEntropy, FinalState, MaxCrossEntropy, MaxOverTime

__all__ = [
    "FinalCrossEntropy",
    "FinalState",
    "FirstSpikeCrossEntropy",
    "FunctionLoss",
    "LossSum",
    "MaxCrossEntropy",
    "MaxOverTime",
    "Partials",
    "Pseudospikes",
    "RunLoss",
    "RunResult",
    "SpikeCounts",
    "SpikeRate",
    "SpikeTimes",
    "VanRossum",
    "WakeSilent",
]
