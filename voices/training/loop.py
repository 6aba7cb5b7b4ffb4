"""`train`: steps, evaluations and saved states, until no gain is likely.

What happens at a step depends on the step's number, the saved state and the data alone, never on the clock: so a run
that was killed and went on ends with the same bytes as one that wasn't. (On a CPU, with as many threads; a GPU adds in
an order that changes from run to run.) The clock only decides when states are saved between evaluations.

    step of every K:  save the state ─► evaluate ─► which checkpoints to keep ─► finished?
    any step:         losses not finite ─► back to the state of the last evaluation, half the learning rate
                      out of memory     ─► back to it as well, half the batch
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any, Protocol

from understudy.errors import Cancelled, UnderstudyError
from understudy.voices.training.events import Kind, Notify, TrainingEvent
from understudy.voices.training.ranks import Ranks
from understudy.voices.training.run_folder import CHOSEN, EVALUATIONS, LOSSES, Run, RunFolder
from understudy.wording import counted

RETRIES = 3  # roll-backs in a row before a run is given up
LINES = 20  # lines of losses between two evaluations


class Work(Protocol):
    """What is trained; `work.RvcWork` is the real one."""

    def batches(self, epoch: int, size: int) -> Sequence[Any]:
        """The epoch's batches of `size` clips over all processes, this process's share of each."""
        ...

    def step(self, batch: Any, step: int, epoch: int, rate: float) -> Mapping[str, float]:
        """Do one step with the draws of number `step`, at `rate` times the epoch's learning rate; its losses."""
        ...

    def state(self) -> Any:
        """All that the next step depends on, as nested dicts of tensors and plain values."""
        ...

    def restore(self, state: Any | None) -> None:
        """Take on a `state`; None: that of the beginning."""
        ...

    def write(self, path: Path, step: int) -> None:
        """Write the checkpoint to sing with."""
        ...

    def evaluate(self, step: int, samples: Path, cancelled: Event) -> Mapping[str, Any]:
        """The scores of what is trained so far as plain data, its sounds written into `samples`; the same for the same
        weights. Raises `Cancelled`."""
        ...


@dataclass(frozen=True)
class Scoring:
    """How evaluations (as data, oldest first, never empty) are judged. `choose`: the best of them as data with its
    ``step``. `finished`: why no gain is likely any more, or None. `means`: an evaluation's scores by name."""

    choose: Callable[[Sequence[Mapping[str, Any]]], Mapping[str, Any]]
    finished: Callable[[Sequence[Mapping[str, Any]]], str | None]
    means: Callable[[Mapping[str, Any]], Mapping[str, float]]


@dataclass
class Position:
    """Where a run is: `step` steps are done; `place` batches of `batch_size` clips of `epoch`, too. `rate`: factor of
    the learning rate; `retries`: roll-backs since the last evaluation."""

    batch_size: int
    step: int = 0
    epoch: int = 0
    place: int = 0
    rate: float = 1.0
    retries: int = 0


@dataclass(frozen=True)
class Outcome:
    """`step`: of the chosen checkpoint, a file in the run's folder. `steps`: done in all. `why`: why it ended."""

    step: int
    steps: int
    why: str


def train(
    folder: RunFolder,
    work: Work,
    scoring: Scoring,
    notify: Notify,
    cancelled: Event,
    enough: Event | None = None,
    ranks: Ranks | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Begin or go on with the run in `folder` until its end, and choose a checkpoint. `enough`: setting this event ends
    it at once with the best checkpoint so far.

    Raises `UnderstudyError`: ``training-diverged`` after `RETRIES` roll-backs in a row, ``out-of-memory`` when not even
    one clip fits, ``gpu-lost``, ``disk-full``; `Cancelled`. Whatever is raised, the same call goes on from the last
    saved state.
    """
    run = folder.run()
    if run is None:
        raise ValueError(f"{folder.path} holds no run")
    return _Loop(folder, run, work, scoring, notify, cancelled, enough or Event(), ranks or Ranks(), clock).run_on()


class _Loop:
    def __init__(
        self,
        folder: RunFolder,
        run: Run,
        work: Work,
        scoring: Scoring,
        notify: Notify,
        cancelled: Event,
        enough: Event,
        ranks: Ranks,
        clock: Callable[[], float],
    ) -> None:
        self.folder, self.run, self.work, self.scoring = folder, run, work, scoring
        self.notify, self.cancelled, self.enough = notify, cancelled, enough
        self.ranks, self.clock = ranks, clock
        self.every, self.most = run.evaluate_every, run.settings.most_steps
        self.at = Position(run.batch_size)
        self.evaluations: list[dict[str, Any]] = []
        self.losses: Mapping[str, float] = {}
        self.epoch: tuple[tuple[int, int], Sequence[Any]] | None = None  # the batches of (epoch, size)
        self.clipped = 0  # steps since the last evaluation whose gradients were clipped

    def run_on(self) -> Outcome:
        self.resume(None)
        self.began, self.saved, self.from_step = self.clock(), self.clock(), self.at.step
        while True:
            losses: Mapping[str, float] | None = None
            try:
                self.evaluate()
                why = self.why_ended()
                if why is not None:
                    return self.end(why)
                losses = self.step()
            except (RuntimeError, MemoryError) as error:
                self.refuse_other_than_memory(error)
            if losses is None:  # only here is what the failed step held in memory free again
                self.shrink()
                continue
            flags = [not _finite(losses), self.cancelled.is_set(), self.enough.is_set(), self.save_is_due()]
            broken, stop, enough, due = self.ranks.any(flags)
            if broken:
                self.roll_back(losses)
                continue
            self.losses = losses
            self.at.step += 1
            self.at.place += 1
            self.report()
            if enough:
                self.most = self.at.step
            if stop or enough or due or self.evaluation_is_due():
                self.save()
            if stop:
                raise Cancelled

    def evaluation_is_due(self) -> bool:
        return self.at.step > 0 and (self.at.step % self.every == 0 or self.at.step >= self.most)

    # -- steps

    def step(self) -> Mapping[str, float]:
        batches = self.batches()
        if self.at.place >= len(batches):
            self.at.epoch, self.at.place = self.at.epoch + 1, 0
            batches = self.batches()
        at = self.at
        return self.work.step(batches[at.place], at.step, at.epoch, at.rate)

    def batches(self) -> Sequence[Any]:
        key = (self.at.epoch, self.at.batch_size)
        if self.epoch is None or self.epoch[0] != key:
            self.epoch = key, self.work.batches(*key)
        return self.epoch[1]

    def report(self) -> None:
        """The losses into their file every so many steps, and an event every step."""
        if self.ranks.first and self.at.step % max(1, self.every // LINES) == 0:
            self.folder.append(LOSSES, {"step": self.at.step, "epoch": self.at.epoch, **self.losses})
        self.clipped += bool(self.losses.get("clipped"))
        if self.clipped and self.at.step % self.every == 0:
            which = f"{self.clipped} of the last {counted(self.every, 'step')}"
            self.tell("warning", f"The gradients of {which} were unusually large and were scaled down.")
            self.clipped = 0
        self.tell("steps")

    # -- states

    def save(self) -> None:
        self.at.retries = 0 if self.at.step % self.every == 0 else self.at.retries
        if self.ranks.first:
            self.write_state()
            self.tell("saved", f"Step {self.at.step} is saved.")
        self.saved = self.clock()
        self.ranks.wait()

    def write_state(self) -> None:
        state = {"position": asdict(self.at), "work": self.work.state()}
        self.folder.save_state(self.at.step, state, keep=lambda step: step % self.every == 0)

    def save_is_due(self) -> bool:
        return self.ranks.first and self.clock() - self.saved > 60 * self.run.settings.save_minutes

    def resume(self, most: int | None) -> None:
        """Take on the newest good state, at most that of step `most`, or the beginning, and drop what is newer."""
        found = self.folder.load_state(most)
        if found is None:
            self.at = Position(self.run.batch_size)
            self.work.restore(None)
        else:
            self.at = Position(**found[1]["position"])
            if self.run.batch_size < self.at.batch_size:  # made smaller since, because memory ran out
                self.at.place = self.at.place * self.at.batch_size // self.run.batch_size
                self.at.batch_size = self.run.batch_size
            self.work.restore(found[1]["work"])
        if self.ranks.first:
            self.folder.rewind(self.at.step)
        self.ranks.wait()
        self.evaluations = self.folder.lines(EVALUATIONS)
        self.best = self.chosen()
        self.epoch = None

    def roll_back(self, losses: Mapping[str, float]) -> None:
        """Go back to the state of the last evaluation with half the learning rate."""
        broken, step = ", ".join(name for name, value in losses.items() if not math.isfinite(value)), self.at.step
        self.resume(step // self.every * self.every)
        self.at.retries += 1
        if self.at.retries > RETRIES:
            raise self.diverged(step)
        self.at.rate /= 2
        self.changed(
            f"The losses of step {step + 1} are not finite ({broken or 'in another process'}): going on from step "
            f"{self.at.step} with {self.at.rate:g} times the learning rate."
        )

    def refuse_other_than_memory(self, error: BaseException) -> None:
        """Raise what the user should know of an error of a step, unless memory ran out and a smaller batch may help."""
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        if not _out_of_memory(error):
            if "CUDA" in text or "NCCL" in text or type(error).__name__ == "AcceleratorError":
                raise self.lost(text) from error
            raise error
        if self.ranks.world > 1 or self.at.batch_size == 1:
            raise self.too_large(text) from error

    def shrink(self) -> None:
        """Go back to the state of the last evaluation with half the batch."""
        step = self.at.step
        self.resume(step // self.every * self.every)
        self.at.batch_size, self.at.place = self.at.batch_size // 2, self.at.place * 2
        self.changed(f"Memory ran out in step {step + 1}: going on with batches of {self.at.batch_size}.")

    def changed(self, sentence: str) -> None:
        """Save that the position was changed, so that it is after a kill as well."""
        if self.ranks.first:
            self.write_state()
        self.ranks.wait()
        self.from_step, self.began = self.at.step, self.clock()
        self.tell("warning", sentence)

    # -- evaluation

    def evaluate(self) -> None:
        """Where an evaluation is due and not done: evaluate this step, and keep its checkpoint among the best."""
        step = self.at.step
        if not self.evaluation_is_due():
            return
        if self.ranks.first:
            ended = self.enough.is_set() and bool(self.evaluations)
            if not ended and all(entry["step"] != step for entry in self.evaluations):
                with self.folder.placing(self.folder.checkpoint(step)) as part:
                    self.work.write(part, step)
                entry = {"step": step, **self.work.evaluate(step, self.folder.samples(step), self.cancelled)}
                self.folder.append(EVALUATIONS, entry)
                self.evaluations.append(entry)
            self.keep_best()
            self.tell("evaluation")
        self.ranks.wait()

    def keep_best(self) -> None:
        """Remove checkpoints but the best `settings.keep`, as the choice ranks them, and the last one."""
        kept = set(self.folder.kept())
        candidates, stay = [entry for entry in self.evaluations if entry["step"] in kept], {self.at.step}
        while candidates and len(stay) < self.run.settings.keep + 1:
            best = self.scoring.choose(candidates)["step"]
            candidates = [entry for entry in candidates if entry["step"] != best]
            stay.add(best)
        for step in kept - stay:
            self.folder.drop(step)
        self.best = self.chosen()

    def chosen(self) -> Mapping[str, Any] | None:
        """The choice among the checkpoints on disk."""
        kept = self.folder.kept()
        candidates = [entry for entry in self.evaluations if entry["step"] in kept]
        return self.scoring.choose(candidates) if candidates else None

    def why_ended(self) -> str | None:
        """Why training ends here, None where it goes on. All processes come to the same answer."""
        if self.at.step >= self.most:
            early = self.most < self.run.settings.most_steps
            return "It was ended early." if early else f"It reached the {counted(self.most, 'step')} that it was given."
        evaluated = bool(self.ranks.first and self.evaluations and self.evaluations[-1]["step"] == self.at.step)
        why = self.scoring.finished(self.evaluations) if evaluated else None
        (ended,) = self.ranks.any([why is not None])
        return (why or "No gain is likely any more.") if ended else None

    def end(self, why: str) -> Outcome:
        chosen = self.best or {"step": self.at.step}
        outcome = Outcome(chosen["step"], self.at.step, why)
        if self.ranks.first:
            self.folder.write_json(CHOSEN, {**chosen, "steps": self.at.step, "ended": why})
            self.tell("finished", why)
        self.ranks.wait()
        return outcome

    # -- telling

    def tell(self, kind: Kind, sentence: str = "") -> None:
        if not self.ranks.first:
            return
        done, left = self.at.step - self.from_step, self.most - self.at.step
        self.notify(
            TrainingEvent(
                kind,
                self.at.step,
                self.most,
                self.losses,
                self.scoring.means(self.evaluations[-1]) if self.evaluations else None,
                self.best["step"] if self.best else None,
                (self.clock() - self.began) / done * left if done >= 3 else None,
                sentence,
            )
        )

    def diverged(self, step: int) -> UnderstudyError:
        best = f" The best checkpoint so far is {self.folder.checkpoint(self.best['step'])}." if self.best else ""
        return UnderstudyError(
            "training-diverged",
            f"The losses are not finite after step {step}, also after {RETRIES} attempts with lower learning rates."
            f"{best}",
            "Check the recordings with 'understudy voices check', or train with another --base or none.",
        )

    def too_large(self, text: str) -> UnderstudyError:
        size = self.at.batch_size
        return UnderstudyError(
            "out-of-memory",
            f"A step with {size} {'clip' if size == 1 else 'clips'} doesn't fit into memory ({text}).",
            "Close other programs that use the GPU"
            + (f", or train with --batch-size {size // 2}." if size > 1 else "."),
        )

    def lost(self, text: str) -> UnderstudyError:
        states = self.folder.states()
        return UnderstudyError(
            "gpu-lost",
            f"The GPU failed in step {self.at.step + 1} ({text}). "
            + (f"Step {states[0]} is saved." if states else "Nothing was saved yet."),
            "Run the same command again: it goes on from there. If it fails again, restart the machine or use "
            "--device cpu.",
        )


def _finite(losses: Mapping[str, float]) -> bool:
    return all(math.isfinite(value) for value in losses.values())


def _out_of_memory(error: BaseException) -> bool:
    text = str(error)
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return known or "out of memory" in text or "can't allocate memory" in text
