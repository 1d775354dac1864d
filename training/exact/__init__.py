"""Training with the exact gradient of the user's own Brian 2 networks."""

from ...models.hybrid.losses import final_loss, integral_loss, max_loss, spike_loss
from .bridges import Objective, torch_layer
from .classification import FirstSpike, HighestPotential
from .evaluation import ExactEvaluation, evaluate_exact, evaluate_exact_brian2
from .gradient import HybridProblem, brian2_gradient, value_and_grad
from .losses import (
    FinalCrossEntropy,
    FinalState,
    FirstSpikeCrossEntropy,
    FunctionLoss,
    MaxCrossEntropy,
    MaxOverTime,
    Pseudospikes,
    SpikeCounts,
    SpikeRate,
    SpikeTimes,
    VanRossum,
    WakeSilent,
)
from .samples import SpikeTask, spike_task
from .trainable import TrainableNetwork

__all__ = [
    "ExactEvaluation",
    "FinalCrossEntropy",
    "FinalState",
    "FirstSpike",
    "FirstSpikeCrossEntropy",
    "FunctionLoss",
    "HighestPotential",
    "HybridProblem",
    "MaxCrossEntropy",
    "MaxOverTime",
    "Objective",
    "Pseudospikes",
    "SpikeCounts",
    "SpikeRate",
    "SpikeTask",
    "SpikeTimes",
    "TrainableNetwork",
    "VanRossum",
    "WakeSilent",
    "brian2_gradient",
    "evaluate_exact",
    "evaluate_exact_brian2",
    "final_loss",
    "integral_loss",
    "max_loss",
    "spike_loss",
    "spike_task",
    "torch_layer",
    "value_and_grad",
]
