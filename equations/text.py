"""Writing numbers with units into equation text, without losing a digit."""

from __future__ import annotations

import numpy as np
from brian2 import Quantity, ms, second
from brian2.units.fundamentalunits import DIMENSIONLESS, get_dimensions, have_same_dimensions

from .errors import ModelError


def text_of(value, name: str, unit: str | None = None) -> str:
    """Return `value` as text that Brian 2 reads back to the same floating-point number.

    Parameters
    ----------
    value : float or Quantity or str
        A string is taken as the name of a variable and returned unchanged.
    name : str
        What the value is called in an error message.
    unit : {'second', None}
        Required unit; ``None`` admits any.

    Raises
    ------
    ModelError
        If the unit is wrong or the value is not finite.
    """
    if isinstance(value, str):
        return value
    number = float(np.asarray(value))
    if not np.isfinite(number):
        raise ModelError(f"{name} = {value} is not a finite number.")
    if unit == "second":
        if not have_same_dimensions(value, second):
            raise ModelError(f"{name} = {value!r} must be a time; write for example {name}=10*ms.")
        in_ms = f"{number / float(ms):.12g}"
        if float(in_ms) * float(ms) == number:
            return f"({in_ms}*ms)"
        return f"({number!r}*second)"
    if get_dimensions(value) is DIMENSIONLESS:
        return repr(number)
    best = Quantity(value)
    return f"({number!r}*{best.get_best_unit()!r}/{float(best.get_best_unit())!r})"


def positive_times(tau, K: int, ratio: float = 1.0, name: str = "tau") -> np.ndarray:
    """Return K time constants in seconds from one value, a geometric rule or one value per bucket.

    Parameters
    ----------
    tau : Quantity, second
        Scalar or shape (K,).
    K : int
        Number of buckets.
    ratio : float
        Factor from one bucket to the next; only for a scalar `tau`.

    Returns
    -------
    (K,) array of float
        Seconds.

    Raises
    ------
    ModelError
        If K < 1, a value is not positive or has the wrong unit or shape.
    """
    if isinstance(K, bool) or int(K) != K or K < 1:
        raise ModelError(f"K = {K} buckets: a gamma memory needs a whole number K >= 1.")
    if not have_same_dimensions(tau, second):
        raise ModelError(f"{name} = {tau!r} must be a time; write for example {name}=30*ms.")
    values = np.asarray(tau, dtype=float)
    if values.ndim == 0:
        if not np.isfinite(ratio) or ratio <= 0:
            raise ModelError(f"ratio = {ratio} between time constants must be positive.")
        values = float(values) * float(ratio) ** np.arange(K)
    if values.shape != (K,):
        raise ModelError(f"{name} has shape {values.shape}; give one value or {K}, one per bucket.")
    if not (np.isfinite(values).all() and (values > 0).all()):
        first = int(np.flatnonzero(~(values > 0))[0]) if (~(values > 0)).any() else 0
        raise ModelError(f"{name}[{first}] = {values[first]:g} s: a time constant must be positive.")
    return values
