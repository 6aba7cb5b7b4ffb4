"""`LineWork`: the smallest thing that `understudy.voices.training.loop` can train, and how it is judged."""

from __future__ import annotations

import torch

from understudy.voices.training.loop import Scoring
from understudy.voices.training.run_folder import Run
from understudy.voices.training.settings import TrainingSettings

CLIPS = 12


class LineWork:
    """Fits a line to noisy points by Adam, with a random number per step. `broken(step, attempt)`: whether that step's
    loss is NaN; `error(step, size)`: an exception that it raises, or None."""

    def __init__(self, broken=lambda step, attempt: False, error=lambda step, size: None):
        self.broken, self.error = broken, error
        self.attempts, self.evaluated, self.steps = {}, [], 0
        self.restore(None)

    def batches(self, epoch, size):
        order = torch.randperm(CLIPS, generator=torch.Generator().manual_seed(epoch))
        return [part.tolist() for part in order.split(size)]

    def step(self, batch, step, epoch, rate):
        self.attempts[step] = self.attempts.get(step, 0) + 1
        self.steps += 1
        if error := self.error(step, len(batch)):
            raise error
        x = torch.tensor(batch, dtype=torch.float32) / CLIPS
        noise = torch.randn(len(batch), generator=torch.Generator().manual_seed(step))
        loss = ((x * self.weight[0] + self.weight[1] - (3 * x - 1 + 0.1 * noise)) ** 2).mean()
        self.adam.param_groups[0]["lr"] = 0.1 * 0.99**epoch * rate
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return {"mel": float("nan") if self.broken(step, self.attempts[step]) else loss.item()}

    def state(self):
        return {"weight": self.weight.detach(), "adam": self.adam.state_dict()}

    def restore(self, state):
        self.weight = torch.nn.Parameter(torch.zeros(2))
        self.adam = torch.optim.Adam([self.weight])
        if state is not None:
            self.weight.data.copy_(state["weight"])
            self.adam.load_state_dict(state["adam"])

    def write(self, path, step):
        path.write_bytes(self.weight.detach().numpy().tobytes())

    def evaluate(self, step, samples, cancelled):
        self.evaluated.append(step)
        samples.mkdir(parents=True, exist_ok=True)
        (samples / "held-0.flac").write_bytes(self.weight.detach().numpy().tobytes())
        return {"error": float((self.weight.detach() - torch.tensor([3.0, -1.0])).abs().sum())}


SCORING = Scoring(
    choose=lambda found: {"step": min(found, key=lambda entry: entry["error"])["step"], "reason": "the least error"},
    finished=lambda found: "It is good enough." if found[-1]["error"] < 0.05 else None,
    means=lambda entry: {"error": entry["error"]},
)


def line_run(most_steps=100, every=10, batch_size=4, **settings):
    return Run(
        voice="nova",
        recordings_hash="0" * 64,
        settings=TrainingSettings(most_steps=most_steps, **settings),
        evaluate_every=every,
        batch_size=batch_size,
    )
