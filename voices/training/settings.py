"""`TrainingSettings`: what a training run can be told."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

ZERO_SHOT = {"most_steps": 300, "batch_size": 2, "learning_rate": 1e-5}
"""The defaults of a fine-tuning of the zero-shot engine: seed-vc's learning rate, and the steps that it recommends."""


class TrainingSettings(BaseModel):
    """Settings of a training run. Defaults are those of RVC WebUI where it has them; of zero-shot `ZERO_SHOT`.

    Those marked "rvc only" mean nothing to the other engine. Two runs with equal settings, recordings and base model on
    one CPU give the same bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["rvc", "zero-shot"] = Field(
        "rvc", description="rvc: a model of its own; zero-shot: fine-tuning of the installed singing model"
    )
    size: Literal["full", "tiny"] = Field(
        "full", description="rvc only: full: RVC's network; tiny: a network for tests, not for singing"
    )
    version: Literal["v1", "v2"] = Field("v2", description="rvc only: version of the networks")
    sample_rate: Literal[32000, 40000, 48000] = Field(48000, description="rvc only: Hz; of a tiny network always 16000")
    f0: bool = Field(True, description="rvc only: whether the model is guided by pitch; singing needs it")
    embedder: str = Field(
        "contentvec",
        max_length=64,
        description="rvc only: content features: contentvec, another installed one, or cepstral",
    )
    batch_size: int | None = Field(None, ge=1, le=256, description="clips per step; None: as many as memory allows")
    learning_rate: float = Field(1e-4, gt=0, le=0.1)
    decay: float = Field(0.999875, gt=0, le=1, description="rvc only: factor of the learning rate per epoch")
    averaging: float = Field(
        0.999,
        ge=0,
        lt=1,
        description="rvc only: share that the running average of weights, which is evaluated and published, keeps per "
        "step; 0: the weights as they are, as in RVC WebUI",
    )
    most_steps: int = Field(200_000, ge=1, description="steps after which training ends in any case")
    evaluate_every: int | None = Field(
        None, ge=1, description="steps between evaluations; None: as many as take some minutes on this machine"
    )
    save_minutes: float = Field(5.0, gt=0, description="minutes between saved states")
    keep: int = Field(5, ge=1, le=50, description="checkpoints kept beside the last one")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="rvc only: autocast dtype on a GPU; a CPU trains in float32"
    )
    seed: int = Field(1234, ge=0, lt=1 << 31)

    @model_validator(mode="before")
    @classmethod
    def _of_the_engine(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("engine") != "zero-shot":
            return given
        return ZERO_SHOT | {name: value for name, value in given.items() if value is not None or name not in ZERO_SHOT}
