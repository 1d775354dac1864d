"""What a recipe or a run's ``config.toml`` may hold: one class per section, checked once, one line per error."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Annotated, Any, Literal, Self, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from ..errors import TrainingError
from ..loop import TrainingOptions

# Bounds: what lies outside would overflow, take all memory or compute for days; each model narrows them where it must.
Count = Annotated[int, Field(ge=1, le=10**6)]
NaturalNumber = Annotated[int, Field(ge=0, le=10**6)]
Width = Annotated[int, Field(ge=1, le=2**16)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[float, Field(gt=0, le=1e9)]
NotNegative = Annotated[float, Field(ge=0, le=1e9)]
Part = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Step = Annotated[float, Field(ge=1e-3, le=1e4)]
Duration = Annotated[float, Field(gt=0, le=1e8)]
Hidden = Annotated[list[Width], Field(min_length=1, max_length=32)]
Layer = Annotated[str, Field(pattern="^[0-9A-Za-z_:<,]{1,80}$")]  # as `parse_layer` reads it
Layers = Annotated[list[Width | Layer], Field(min_length=1, max_length=64)]
Text = Annotated[str, Field(min_length=1, max_length=4096)]
ForwardGroup = Annotated[int, Field(ge=1, le=10**9)] | Literal["all"]
Scheduler = Literal["random", "momentum", "fifo", "lifo", "layered", "mixed", "timed"]
Untimed = Literal["random", "momentum", "fifo", "lifo", "layered", "mixed"]
Loss = Literal["cross_entropy", "squared_error"]
Rule = Literal["filter", "online", "direct", "detached"]
Optimiser = Literal["adam", "sgd"]


class Section(BaseModel):
    """Table of a configuration file; an unknown entry is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

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
            raise TrainingError(where + " ".join(cls._explained(error.errors()).split())) from None

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
        return f"{where} = {errors[0]['input']!r:.80} must be {wanted}."


def section_of(kind: type, /, **narrower) -> type[Section]:
    """Section with the fields and defaults of a dataclass; `narrower` replaces annotations of choices."""
    hints = get_type_hints(kind)
    entries = {
        f.name: (narrower.get(f.name, hints[f.name]), ... if f.default is MISSING else f.default) for f in fields(kind)
    }
    return create_model(kind.__name__, __base__=Section, **entries)


class CochleaTable(Section):
    """``[data.cochlea]``: see `Cochlea`, which also knows the defaults."""

    n_channels: Annotated[int, Field(ge=1, le=4096)] | None = None
    f_min_hz: Positive | None = None
    f_max_hz: Positive | None = None
    spikes: Literal["hair-cell", "sigma-delta"] | None = None
    cutoff_hz: Positive | None = None
    compression: Annotated[float, Field(gt=0, le=1)] | None = None
    step_ms: Annotated[float, Field(ge=0.1, le=100)] | None = None
    tau_ms: Positive | None = None
    thresholds: Annotated[list[Positive], Field(min_length=1, max_length=16)] | None = None
    adaptation: Fraction | None = None
    tau_adaptation_ms: Positive | None = None
    floor: Positive | None = None
    trim: Part | None = None
    version: Literal[1] | None = None


class Data(Section):
    """``[data]``: what is learned, and on which time grid."""

    name: Text = "digits"
    dt_ms: Step = 10.0
    duration_ms: Duration | None = None
    validation: Text | None = None
    held_out_speaker: Text | None = None
    zero_time: bool = False
    copies: Annotated[int, Field(ge=0, le=1000)] = 0
    cochlea: CochleaTable = CochleaTable()


Training = section_of(
    TrainingOptions, epochs=Count, batch_size=Count, optimiser=Optimiser, learning_rate=Positive,
    schedule=Literal["cosine", "constant"], warmup=NaturalNumber,
    loss=Loss | None, rule=Rule | Literal["unlayered", "exact"] | None,
    window_ms=NotNegative, activity=NotNegative, theta_start=Positive, theta_ramp=Fraction,
    theta_schedule=Literal["linear", "cosine"], shift=NaturalNumber, drop=Part, rotate=NotNegative, zoom=NotNegative,
    channel_shift=NaturalNumber, channel_mask=NaturalNumber, fibres=Count, time_stretch=NotNegative,
    time_shift=NaturalNumber, level=Part, weight_decay=NotNegative, average=Part, seed=Seed,
)  # fmt: skip


class Origin(Section):
    """``[run]``: what the command line added."""

    model: Literal["gamma", "async", "exact"] = "gamma"
    seed: Seed = 0
    limit: Annotated[int, Field(ge=1)] | None = None
    data_root: Text | None = None


class Order(Section):
    """Entries of ``[network]`` that say in which order spikes are delivered."""

    scheduler: Scheduler | None = None
    forward_group: ForwardGroup | None = None
    noise: NotNegative | None = None
    noise_decay: Positive | None = None
    noise_step: Count | None = None


class Configuration(Section):
    """A whole file; `network` and the rest of the sections belong to the model."""

    data: Data = Data()
    run: Origin = Origin()
    training: Training = Training()

    def options(self) -> TrainingOptions:
        """Options of the training loop."""
        return TrainingOptions(**self.training.given())
