"""How a network learns: losses, the gradients, optimisers, the loop, data and the command line."""

from .asynchronous.online import AsynchronousLearner
from .data import DataError, EventArchive, load, load_splits
from .errors import RunError, TrainingError
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
    "LearningOperation",
    "OnlineLearner",
    "Run",
    "RunError",
    "Task",
    "TrainingError",
    "TrainingOptions",
    "load",
    "load_splits",
    "make_task",
    "train",
]
