"""How a network learns: losses, the gradients, optimisers, the loop, data and the command line."""

from .asynchronous.online import AsynchronousLearner
from .data import DataError, EventArchive, load, load_splits
from .errors import RunError, TrainingError
from .exact import HybridProblem, final_loss, integral_loss, spike_loss, value_and_grad
from .gamma.online import LearningOperation, OnlineLearner
from .loop import TrainingOptions, train
from .optimisers import SGD, Adam
from .runs import Run
from .tasks import Task, make_task

__all__ = [
    "SGD",
    "Adam",
    "AsynchronousLearner",
    "DataError",
    "EventArchive",
    "HybridProblem",
    "LearningOperation",
    "OnlineLearner",
    "Run",
    "RunError",
    "Task",
    "TrainingError",
    "TrainingOptions",
    "final_loss",
    "integral_loss",
    "load",
    "load_splits",
    "make_task",
    "spike_loss",
    "train",
    "value_and_grad",
]
