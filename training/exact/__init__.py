"""Training with the exact gradient of the user's own Brian 2 networks."""

from ...models.hybrid.losses import final_loss, integral_loss, spike_loss
from .gradient import HybridProblem, value_and_grad

__all__ = ["HybridProblem", "final_loss", "integral_loss", "spike_loss", "value_and_grad"]
