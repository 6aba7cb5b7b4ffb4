"""Settings of a separation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from warnings import warn

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from understudy.errors import RenamedSetting
from understudy.models.precision import Precision

_NAMES = 2000  # letters; paths are long


def _none(value: Any) -> Any:
    """``off`` (which YAML reads as false) and ``none`` switch off what a preset names."""
    return None if value is False or value in ("off", "none", "") else value


_Models = Annotated[Annotated[str, Field(max_length=_NAMES)] | None, BeforeValidator(_none)]


class FrozenModel(BaseModel):
    """Frozen, and a name that it doesn't know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class InferenceSettings(FrozenModel):
    """How a network is run over the song; without effect on the embedded separator."""

    overlap: float | None = Field(
        None, ge=0, le=0.95, description="share of each window that the next one sees, too; none: the family's own"
    )
    shifts: int = Field(1, ge=1, le=20, description="times the song is separated, each a little shifted; the mean")
    polarity: bool = Field(False, description="separate the song upside down, too, and take the mean")
    precision: Literal["auto"] | Precision = Field("auto", description="dtype of the networks")
    batch: int | None = Field(None, ge=1, le=256, description="windows at once; none: what fits into memory")


class Band(FrozenModel):
    """Frequencies from `low` up to `high` Hz in which a model counts `weight`."""

    low: float = Field(0.0, ge=0)
    high: float = Field(1e6, gt=0)
    weight: float = Field(1.0, ge=0, allow_inf_nan=False)


class MemberWeight(FrozenModel):
    """How much a model counts in an ensemble: `weight`, times that of each of its `bands` there."""

    weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    bands: tuple[Band, ...] = ()


class EnsembleSettings(FrozenModel):
    """How the stems of several models become one; `weights` by model, 1 for those not named."""

    combine: Literal["average", "median", "min", "max"] = "average"
    domain: Literal["waveform", "spectrogram"] = "waveform"
    weights: Mapping[str, MemberWeight] = Field(default_factory=dict)
    leave_out: bool = Field(False, description="go on without a model that fails, with a warning")


class SeparationSettings(FrozenModel):
    """`model`: the separator's name, several joined with '+' for an ensemble; ``embedded`` needs no weights. The steps
    of the chain, `lead`, `dereverb` and `denoise`, each name models in the same way or are ``off``, and so does
    `instruments`. `restore` names one. `ensemble`, `inference` and `consistency` hold for all of them."""

    model: str = Field(
        "embedded", max_length=_NAMES, description="which separator; 'embedded' needs no weights; A+B: an ensemble"
    )
    ensemble: EnsembleSettings = EnsembleSettings()
    inference: InferenceSettings = InferenceSettings()
    consistency: Literal["residual", "model", "wiener"] = Field(
        "residual",
        description="residual: the instrumental is the song minus the vocals; model: the model's own stems, "
        "which may not sum to the song; wiener: the model's own, with what is missing distributed among them",
    )
    restore: _Models = Field(None, pattern="^[^+]*$", description="model that restores a lossy song, before all others")
    lead: _Models = Field(None, description="model that splits lead and backing vocals; none: no such step")
    dereverb: _Models = Field(None, description="model that takes the reverb off the lead")
    denoise: _Models = Field(None, description="model that takes the noise off the lead")
    instruments: _Models = Field(None, description="model that takes the instrumental apart into drums, bass, ...")

    @property
    def requested(self) -> tuple[str, ...]:
        """The settings that name models and aren't off."""
        fields = (self.restore, self.model, self.lead, self.dereverb, self.denoise, self.instruments)
        return tuple(field for field in fields if field is not None)

    @model_validator(mode="before")
    @classmethod
    def _current_names(cls, values: Any) -> Any:
        return with_current_names(values)


def with_current_names(values: Any) -> Any:
    """Separation settings with ``band``, which this release still accepts, under its new name ``instruments``."""
    if not isinstance(values, Mapping) or "band" not in values:
        return values
    values = dict(values)
    old = values.pop("band")
    if old is not None:
        warn("The setting separation.band is now called separation.instruments.", RenamedSetting, stacklevel=2)
    values.setdefault("instruments", old)
    return values
