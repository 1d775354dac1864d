"""What a recipe or a run's ``config.toml`` may hold: one class per section, checked once, one line per error."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Annotated, Any, Literal, Self, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, create_model

from ..errors import TrainingError
from ..loop import TrainingOptions

Probability = Annotated[float, Field(ge=0, lt=1)]
ForwardGroup = Annotated[int, Field(ge=1)] | Literal["all"]
Scheduler = Literal["random", "momentum", "fifo", "lifo", "layered", "mixed", "timed"]
Untimed = Literal["random", "momentum", "fifo", "lifo", "layered", "mixed"]
Loss = Literal["cross_entropy", "squared_error"]
Rule = Literal["filter", "online", "direct", "detached"]
Optimiser = Literal["adam", "sgd"]


class Section(BaseModel):
    """Table of a configuration file; an unknown entry is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def given(self, *without: str) -> dict[str, Any]:
        """Entries that were given, but for some."""
        return self.model_dump(exclude_unset=True, exclude_none=True, exclude=set(without))

    @classmethod
    def read(cls, values: dict, source: str = "", within: str = "") -> Self:
        """Check a configuration or a section of it.

        Parameters
        ----------
        values : dict
            As read from TOML, with what the command line changed.
        source, within : str
            File and section that an error message names.

        Raises
        ------
        TrainingError
            Names file, section and entry, what was found and what is possible, on one line.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            where = f"{source}: " * bool(source) + f"{within}." * bool(within)
            raise TrainingError(where + cls._explained(error.errors())) from None

    @classmethod
    def _explained(cls, errors: list[dict]) -> str:
        """First entry that is wrong, with all that it might have been."""
        section, at = cls, []
        for part in errors[0]["loc"]:
            at.append(part)
            if not (isinstance(section, type) and issubclass(section, Section) and part in section.model_fields):
                break
            inner = section.model_fields[part].annotation
            if not (isinstance(inner, type) and issubclass(inner, Section)):
                break
            section = inner
        where, kind = ".".join(map(str, at)), errors[0]["type"]
        if kind == "extra_forbidden":
            return f"{where} is unknown; known are {', '.join(sorted(section.model_fields))}."
        if kind == "missing":
            return f"{where} is missing."
        same = [e["msg"] for e in errors if e["loc"][: len(at)] == tuple(at)]
        wanted = " or ".join(dict.fromkeys(m.removeprefix("Input should be ") for m in same))
        return f"{where} = {errors[0]['input']!r} must be {wanted}."


def section_of(kind: type, /, **narrower) -> type[Section]:
    """Section with the fields and defaults of a dataclass; `narrower` replaces annotations of choices."""
    hints = get_type_hints(kind)
    entries = {
        f.name: (narrower.get(f.name, hints[f.name]), ... if f.default is MISSING else f.default) for f in fields(kind)
    }
    return create_model(kind.__name__, __base__=Section, **entries)


class CochleaTable(Section):
    """``[data.cochlea]``: see `Cochlea`, which also knows the defaults."""

    n_channels: int | None = None
    f_min_hz: PositiveFloat | None = None
    f_max_hz: PositiveFloat | None = None
    spikes: Literal["hair-cell", "sigma-delta"] | None = None
    cutoff_hz: PositiveFloat | None = None
    compression: float | None = None
    step_ms: PositiveFloat | None = None
    tau_ms: PositiveFloat | None = None
    thresholds: list[float] | None = None
    adaptation: float | None = None
    tau_adaptation_ms: PositiveFloat | None = None
    floor: float | None = None
    trim: float | None = None
    version: int | None = None


class Data(Section):
    """``[data]``: what is learned, and on which time grid."""

    name: str = "digits"
    dt_ms: PositiveFloat = 10.0
    duration_ms: PositiveFloat | None = None
    validation: str | None = None
    held_out_speaker: str | None = None
    copies: Annotated[int, Field(ge=0)] = 0
    cochlea: CochleaTable = CochleaTable()


Training = section_of(
    TrainingOptions, optimiser=Optimiser, loss=Loss | None, rule=Rule | Literal["unlayered"] | None,
    schedule=Literal["cosine", "constant"], theta_schedule=Literal["linear", "cosine"],
)  # fmt: skip


class Origin(Section):
    """``[run]``: what the command line added."""

    model: Literal["gamma", "async"] = "gamma"
    seed: int = 0
    limit: int | None = None
    data_root: str | None = None


class Order(Section):
    """Entries of ``[network]`` that say in which order spikes are delivered."""

    scheduler: Scheduler | None = None
    forward_group: ForwardGroup | None = None
    noise: float | None = None
    noise_decay: float | None = None
    noise_step: PositiveInt | None = None


class Configuration(Section):
    """A whole file; `network` and the rest of the sections belong to the model."""

    data: Data = Data()
    run: Origin = Origin()
    training: Training = Training()

    def options(self) -> TrainingOptions:
        """Options of the training loop."""
        return TrainingOptions(**self.training.given())
