"""How a network learns: losses, the gradients, optimisers, the loop, data and the command line."""

from .asynchronous.online import AsynchronousLearner
from .data import DataError, EventArchive, load, load_splits
from .errors import RunError, TrainingError
from .exact import (
    FinalCrossEntropy,
    FinalState,
    FirstSpike,
    FirstSpikeCrossEntropy,
    FunctionLoss,
    HighestPotential,
    HybridProblem,
    MaxCrossEntropy,
    MaxOverTime,
    Objective,
    Pseudospikes,
    SpikeCounts,
    SpikeRate,
    SpikeTimes,
    TrainableNetwork,
    VanRossum,
    WakeSilent,
    brian2_gradient,
    final_loss,
    integral_loss,
    max_loss,
    spike_loss,
    torch_layer,
    value_and_grad,
)
from .gamma.online import LearningOperation, OnlineLearner
from .loop import TrainingOptions, train
from .optimisers import SGD, Adam
from .runs import Run
from .tasks import Task, make_task
from .watching.diagnosis import NothingLearned
from .watching.progress import TrainingStatus

__all__ = [
    "SGD",
    "Adam",
    "AsynchronousLearner",
    "DataError",
    "EventArchive",
    "FinalCrossEntropy",
    "FinalState",
    "FirstSpike",
    "FirstSpikeCrossEntropy",
    "FunctionLoss",
    "HighestPotential",
    "HybridProblem",
    "LearningOperation",
    "MaxCrossEntropy",
    "MaxOverTime",
    "NothingLearned",
    "Objective",
    "OnlineLearner",
    "Pseudospikes",
    "Run",
    "RunError",
    "SpikeCounts",
    "SpikeRate",
    "SpikeTimes",
    "Task",
    "TrainableNetwork",
    "TrainingError",
    "TrainingOptions",
    "TrainingStatus",
    "VanRossum",
    "WakeSilent",
    "brian2_gradient",
    "final_loss",
    "integral_loss",
    "load",
    "load_splits",
    "make_task",
    "max_loss",
    "spike_loss",
    "torch_layer",
    "train",
    "value_and_grad",
]
