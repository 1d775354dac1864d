"""What the ``config.toml`` of a fit may hold."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..configuration.schema import Positive, Section, Seed, Text, section_of
from ..errors import TrainingError
from .options import FitOptions

Some = Annotated[int, Field(ge=0, le=10**4)]
COUNTS = ("starts", "iterations", "repeats", "kept", "searches", "generations", "population", "steps")
Options = section_of(FitOptions, **dict.fromkeys(COUNTS, Some))


class FitOrigin(Section):
    """``[run]``: the neuron, by its name or as ``MODEL.py:OBJECT``, and the seed of starts and search."""

    model: Literal["fit"]
    neuron: Text
    seed: Seed


class FitData(Section):
    """``[data]``: the recording, and where the part ends that is fitted, seconds."""

    name: Text
    until_s: Positive | None = None


class FitConfiguration(Section):
    """A whole file."""

    run: FitOrigin
    data: FitData
    fit: Options = Options()

    def options(self, source) -> FitOptions:
        """Options of the fit; an error names the file."""
        try:
            return FitOptions(**self.fit.model_dump())
        except TrainingError as error:
            raise TrainingError(f"{source}: fit.{error}") from None
