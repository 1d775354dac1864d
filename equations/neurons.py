"""Neuron models as Brian 2 equations that know their threshold, reset and integration method."""

from __future__ import annotations

from brian2 import Equations

from .display import Displayed
from .errors import ModelError

# What `NeuronModel` adds to Brian 2's `Equations`, in the order of `NeuronGroup`'s keyword arguments.
_EVENT_FIELDS = ("threshold", "reset", "refractory", "method")


class NeuronModel(Displayed, Equations):
    """Brian 2 equations together with threshold, reset, refractoriness and integration method.

    It *is* an `Equations` object, so it goes straight into a `NeuronGroup`, and `+` adds the user's own
    equations while the events stay attached::

        neuron = lif(tau_m=10 * ms) + "drive : volt"
        group = NeuronGroup(100, neuron, **neuron.arguments)

    Parameters
    ----------
    model : str or Equations or list of SingleEquation
        The dynamics, written once, as text.
    threshold, reset : str, optional
        Spike condition and the statements executed after a spike.
    refractory : str or Quantity or bool, optional
        Passed to `NeuronGroup` as it is.
    method : str or callable, optional
        State updater; ``None`` lets Brian 2 choose.
    name : str, optional
        Model name used in error messages.
    reference : str, optional
        Source of the model (paper, equation).
    """

    def __init__(
        self, model, *, threshold=None, reset=None, refractory=False, method=None, name="neuron", reference=""
    ):
        super().__init__(list(model.values()) if isinstance(model, Equations) else model)
        self.threshold = threshold
        self.reset = reset
        self.refractory = refractory
        self.method = method
        self.name = name
        self.reference = reference

    def summary(self) -> dict:
        """Equations and events."""
        events = {field: getattr(self, field) for field in _EVENT_FIELDS[:3] if getattr(self, field)}
        method = getattr(self.method, "__name__", self.method)
        return {"name": self.name, "equations": self, **events, "method": method, "source": self.reference}

    @property
    def model(self) -> Equations:
        """Plain `Equations` without the events."""
        return Equations(list(self.values()))

    @property
    def arguments(self) -> dict:
        """Keyword arguments for `NeuronGroup` besides the equations (only those that are set)."""
        fields = {field: getattr(self, field) for field in _EVENT_FIELDS}
        return {field: value for field, value in fields.items() if value not in (None, False)}

    def _replaced(self, equations) -> NeuronModel:
        """Copy of this model over other equations; subclasses carry their own fields along."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        Equations.__init__(copy, list(equations.values()))
        return copy

    def __add__(self, other):
        if isinstance(other, NeuronModel):
            for field in ("threshold", "reset"):
                mine, theirs = getattr(self, field), getattr(other, field)
                if mine is not None and theirs is not None:
                    raise ModelError(
                        f"Both '{self.name}' and '{other.name}' define a {field} ('{mine}', '{theirs}'); "
                        "add the plain equations of one of them with `.model`."
                    )
        total = Equations.__add__(self, other)
        if total is NotImplemented:
            return total
        base = self
        if isinstance(other, NeuronModel) and self.threshold is None and other.threshold is not None:
            base = other  # the spiking part keeps its events, on whichever side of the + it stands
        return base._replaced(total)

    def __radd__(self, other):
        other = Equations(other) if isinstance(other, str) else other
        if isinstance(other, Equations):
            return self._replaced(other + self.model)
        return NotImplemented


def lif(tau_m, V_th=1.0, *, refractory=False, unit="1") -> NeuronModel:
    r"""Leaky integrate-and-fire neuron with reset to zero.

    .. math:: \tau_m \dot v = -v; \qquad v > V_{th}: v \leftarrow 0

    Input arrives as jumps of ``v`` (delta synapses).

    Parameters
    ----------
    tau_m : Quantity, second
        Membrane time constant; or the name of a variable as text, declared by the user.
    V_th : float or Quantity or str
        Threshold in the unit of ``v``, or the name of a variable.
    refractory : Quantity or str, optional
        Absolute refractory period.
    unit : str
        Unit of ``v``.

    Returns
    -------
    NeuronModel
    """
    from .text import text_of

    model = f"dv/dt = -v/{text_of(tau_m, 'tau_m', 'second')} : {unit}"
    return NeuronModel(
        model,
        threshold=f"v > {text_of(V_th, 'V_th')}",
        reset="v = 0" if unit == "1" else f"v = 0*{unit}",
        refractory=refractory,
        method="exact",
        name="lif",
        reference="Lapicque 1907; delta synapses, reset to zero",
    )
