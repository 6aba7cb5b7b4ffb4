"""`TrainingSettings`: what a training run can be told."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainingSettings(BaseModel):
    """Settings of a training run. Defaults are those of RVC WebUI where it has them.

    Two runs with equal settings, recordings and base model on one CPU give the same bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Literal["full", "tiny"] = Field(
        "full", description="full: RVC's network; tiny: a network for tests, not for singing"
    )
    version: Literal["v1", "v2"] = Field("v2", description="version of RVC's networks")
    sample_rate: Literal[32000, 40000, 48000] = Field(48000, description="Hz; of a tiny network always 16000")
    f0: bool = Field(True, description="whether the model is guided by pitch; singing needs it")
    embedder: str = Field(
        "contentvec", max_length=64, description="content features: contentvec, another installed one, or cepstral"
    )
    batch_size: int | None = Field(None, ge=1, le=256, description="clips per step; None: as many as memory allows")
    learning_rate: float = Field(1e-4, gt=0, le=0.1)
    decay: float = Field(0.999875, gt=0, le=1, description="factor of the learning rate per epoch")
    averaging: float = Field(
        0.999,
        ge=0,
        lt=1,
        description="share that the running average of weights, which is evaluated and published, keeps per step; "
        "0: the weights as they are, as in RVC WebUI",
    )
    most_steps: int = Field(200_000, ge=1, description="steps after which training ends in any case")
    evaluate_every: int | None = Field(
        None, ge=1, description="steps between evaluations; None: as many as take some minutes on this machine"
    )
    save_minutes: float = Field(5.0, gt=0, description="minutes between saved states")
    keep: int = Field(5, ge=1, le=50, description="checkpoints kept beside the last one")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="autocast dtype on a GPU; a CPU trains in float32"
    )
    seed: int = Field(1234, ge=0, lt=1 << 31)
