"""`TrainingEvent`: what a training run reports while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["preparing", "steps", "evaluation", "saved", "warning", "finished"]


@dataclass(frozen=True)
class TrainingEvent:
    """One event, in order of time.

    `kind`: ``preparing`` while the data is made (`step` of `of` are then parts of it), ``steps`` for steps done,
    ``evaluation`` when a checkpoint was evaluated, ``saved`` when a state is on disk, ``warning``, ``finished``.
    `step` of `of`: training steps done and the most there will be. `losses`: the latest of each loss, by name.
    `evaluation`: the latest scores, means over the clips; None before the first evaluation. `best`: the step of the
    checkpoint that would be chosen now. `seconds_left`: estimated wall time until `of`, None where it is not known yet.
    `sentence`: for people; of a ``warning`` its text, of ``finished`` why it ended.
    """

    kind: Kind
    step: int
    of: int
    losses: Mapping[str, float] = field(default_factory=dict)
    evaluation: Mapping[str, float] | None = None
    best: int | None = None
    seconds_left: float | None = None
    sentence: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON; `TrainingEvent(**data)` gives it back."""
        return asdict(self)


Notify = Callable[[TrainingEvent], None]
