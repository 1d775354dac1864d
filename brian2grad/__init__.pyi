"""The public names and where they live: read by type checkers, editors and, at run time, by ``__init__.py``."""

from .equations import ModelError as ModelError
from .equations import NeuronModel as NeuronModel
from .equations import asynchronous_lif as asynchronous_lif
from .equations import derive_adjoint as derive_adjoint
from .equations import exact_memory as exact_memory
from .equations import gamma_memory as gamma_memory
from .equations import lif as lif
from .equations import register_derivative as register_derivative
from .equations import spiking_gamma as spiking_gamma
from .models import AsynchronousNetwork as AsynchronousNetwork
from .models import AsynchronousSpikingGamma as AsynchronousSpikingGamma
from .models import SpikingGammaNetwork as SpikingGammaNetwork
from .models import StepEvents as StepEvents
from .models import bin_events as bin_events
from .models.asynchronous.schedulers import FifoScheduler as FifoScheduler
from .models.asynchronous.schedulers import LayerSynchronous as LayerSynchronous
from .models.asynchronous.schedulers import LifoScheduler as LifoScheduler
from .models.asynchronous.schedulers import MomentumScheduler as MomentumScheduler
from .models.asynchronous.schedulers import RandomScheduler as RandomScheduler
from .models.asynchronous.schedulers import TimedScheduler as TimedScheduler
from .models.errors import EngineError as EngineError
from .models.errors import NetworkError as NetworkError
from .training import SGD as SGD
from .training import Adam as Adam
from .training import DataError as DataError
from .training import EventArchive as EventArchive
from .training import HybridProblem as HybridProblem
from .training import Run as Run
from .training import RunError as RunError
from .training import Task as Task
from .training import TrainingError as TrainingError
from .training import TrainingOptions as TrainingOptions
from .training import final_loss as final_loss
from .training import integral_loss as integral_loss
from .training import load as load
from .training import load_splits as load_splits
from .training import make_task as make_task
from .training import spike_loss as spike_loss
from .training import train as train
from .training import value_and_grad as value_and_grad
from .training.estimators import AsynchronousClassifier as AsynchronousClassifier
from .training.estimators import SpikingGammaClassifier as SpikingGammaClassifier

__version__: str
