"""`VoiceLibrary`: the cloned voices in a folder, for Python programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Literal

from understudy import environment
from understudy.context import scratch_context
from understudy.sounds import Sound, as_files
from understudy.voices import archive, library
from understudy.voices.importing import import_voice
from understudy.voices.library import BrokenVoice
from understudy.voices.recordings import Finding
from understudy.voices.voice import Consent, Voice

if TYPE_CHECKING:
    from understudy.jobs import Runner
    from understudy.training import TrainingJob, TrainingPlan, TrainingResult
    from understudy.voices.training.events import TrainingEvent
    from understudy.voices.training.settings import TrainingSettings

BaseModel = tuple[str | os.PathLike[str], str | os.PathLike[str]] | Literal["none"] | None
"""What a training begins with: files of generator and discriminators, nothing, or RVC's own."""

Fraction = Callable[[float], None]
"""Called with how much is done, 0..1."""


@dataclass(frozen=True)
class AddedVoice:
    """A `voice` that was added to the library, and what was found in its recordings or model: `findings`."""

    voice: Voice
    findings: tuple[Finding, ...]


class VoiceLibrary:
    """A folder of cloned voices. Safe to use from several threads and processes at once.

    `folder`: where the voices are; None: the one that the command line uses (``UNDERSTUDY_VOICES``, or the platform's
    data folder). It need not exist yet.

    >>> voices = us.VoiceLibrary()
    >>> voices.add("nova", ["nova singing.wav"], consent="self")
    >>> [voice.name for voice in voices.list()]
    ['nova']
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self._folder = None if folder is None else Path(folder)

    @property
    def folder(self) -> Path:
        return self._folder or environment.voices_folder()

    def __repr__(self) -> str:
        return f"VoiceLibrary({str(self.folder)!r})"

    def add(
        self,
        name: str,
        recordings: Sequence[Sound],
        *,
        consent: Consent,
        replace: bool = False,
        progress: Fraction | None = None,
        cancel: Event | None = None,
    ) -> AddedVoice:
        """Make a voice from recordings of one person speaking or singing alone; 15 to 40 seconds together are enough.

        - `name`: up to 64 letters, digits and common signs.
        - `recordings`: 1 to 999 files or arrays (see `Sound`).
        - `consent`: ``"self"`` if it is your own voice, ``"granted"`` if its owner has agreed.
        - `replace`: whether a voice of that name is replaced.
        - `progress`: called with 0..1. `cancel`: setting this event stops the work.

        Raises `UnderstudyError`: ``consent-missing``, ``voice-exists``, ``voice-name-invalid``, ``file-not-found``,
        ``voice-not-usable`` when the recordings hold less than 5 seconds of voice together; `Cancelled`.
        """
        library.refuse_without_consent(consent)
        with scratch_context(progress, cancel) as context:
            sounds = {f"recording {number}": sound for number, sound in enumerate(recordings, start=1)}
            files = list(as_files(sounds, context.part(0, 0)).values())
            voice, findings = library.add(self.folder, name, files, consent, context, replace=replace)
        return AddedVoice(voice, tuple(findings))

    def import_(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        *,
        consent: Consent | None = None,
        index: str | os.PathLike[str] | None = None,
        model: str | None = None,
        speaker: int | None = None,
        replace: bool = False,
        progress: Fraction | None = None,
        cancel: Event | None = None,
    ) -> AddedVoice:
        """Add an RVC voice, or a voice that `export` wrote. Nothing in the file is run.

        - `path`: a ``.pth`` or ``.safetensors`` file, or a zip or folder that holds one.
        - `name`: None: after the file.
        - `consent`: as in `add`; required, except for a voice that `export` wrote.
        - `index`: the model's ``.index``, a file or a name inside the zip or folder.
        - `model`: which model, where there are several. `speaker`: which of the model's speakers sings, from 0.
        - `replace`, `progress`, `cancel`: as in `add`.

        Raises `UnderstudyError`: ``consent-missing``, ``voice-exists``, and a code for each way in which a file can be
        broken or unsafe; `Cancelled`.
        """
        with scratch_context(progress, cancel) as context:
            voice, findings = import_voice(
                self.folder,
                Path(path),
                context,
                name,
                consent=consent,
                index=None if index is None else Path(index),
                model=model,
                speaker=speaker,
                replace=replace,
            )
        return AddedVoice(voice, tuple(findings))

    def blend(self, first: str, second: str, name: str, *, ratio: float = 0.5, replace: bool = False) -> AddedVoice:
        """Make a voice between two from their RVC models, which must be of one kind, best from the same base model.

        `ratio`: 0 to 1, how much of the `first`. It has no index. Its consent is ``"granted"`` if either's is.
        Raises `UnderstudyError`: ``engine-missing``, ``models-differ``, ``ratio-invalid``, ``voice-exists``, and as
        `get` does.
        """
        from understudy.voices.rvc.blend import blend

        voice, findings = blend(self.folder, first, second, ratio, name, replace=replace)
        return AddedVoice(voice, tuple(findings))

    def sing_with(self, name: str, engine: str) -> Voice:
        """Make `engine` (``"instant"``, ``"zero-shot"`` or ``"rvc"``) the one that a voice sings with by default.

        Raises `UnderstudyError`: ``engine-missing``, and as `get` does.
        """
        return library.sing_with(self.folder, name, engine)

    def train(
        self,
        name: str,
        recordings: Sequence[Sound] = (),
        *,
        consent: Consent | None = None,
        settings: TrainingSettings | Mapping[str, Any] | None = None,
        base: BaseModel = None,
        separate: bool = False,
        restart: bool = False,
        cache: str | os.PathLike[str] | None = None,
        device: str | None = None,
        progress: Callable[[TrainingEvent], None] | None = None,
        cancel: Event | None = None,
        enough: Event | None = None,
    ) -> TrainingResult:
        """Train an RVC model for a voice from its recordings, or fine-tune the installed singing model on them with
        ``settings={"engine": "zero-shot"}``; the same call goes on where an earlier one ended.

        - `recordings`: further ones, which are kept with the voice for training alone; they need `consent`, as in
          `add`. Unfit ones are left out.
        - `settings`: a `TrainingSettings`, or its fields.
        - `base`: files of generator and discriminators (``G_*.pth``, ``D_*.pth``) to begin with, or ``"none"``; None:
          RVC's own, which must be installed.
        - `separate`: whether recordings with music are separated first. `restart`: begin anew.
        - `cache`, `device`: as of a `Session`. All GPUs are used unless a device is named.
        - `progress`: called with each event. `cancel`: setting this event stops it, with all that was made kept;
          `enough`: ends it with the best checkpoint so far.

        Raises `UnderstudyError`: among others ``voice-unknown``, ``voice-without-recordings``, ``consent-missing``,
        ``model-missing``, ``training-running``, ``too-little-data``, ``training-diverged``, ``disk-full``; `Cancelled`.
        """
        from understudy.training import train_voice

        if recordings:
            with scratch_context(cancel=cancel) as context:
                sounds = {f"recording {number}": sound for number, sound in enumerate(recordings, start=1)}
                files = list(as_files(sounds, context).values())
                library.add_training_recordings(self.folder, name, files, consent, context, separate=separate)
        runner, job = self._training(name, settings, base, separate, restart, cache, device, cancel)
        return train_voice(job, runner, progress or (lambda event: None), enough)

    def plan_training(
        self,
        name: str,
        *,
        settings: TrainingSettings | Mapping[str, Any] | None = None,
        base: BaseModel = None,
        separate: bool = False,
        restart: bool = False,
        cache: str | os.PathLike[str] | None = None,
        device: str | None = None,
    ) -> TrainingPlan:
        """What `train` with these arguments would use and take, and which models are missing. A step is measured, which
        takes some seconds."""
        from understudy.pipeline.executor import LocalExecutor
        from understudy.training import plan

        runner, job = self._training(name, settings, base, separate, restart, cache, device, None)
        assert isinstance(runner.executor, LocalExecutor)
        return plan(job, runner.executor.store.root, runner.executor.device)

    def _training(
        self,
        name: str,
        settings: TrainingSettings | Mapping[str, Any] | None,
        base: BaseModel,
        separate: bool,
        restart: bool,
        cache: str | os.PathLike[str] | None,
        device: str | None,
        cancel: Event | None,
    ) -> tuple[Runner, TrainingJob]:
        from understudy.jobs import Runner
        from understudy.pipeline.executor import LocalExecutor
        from understudy.pipeline.store import Store
        from understudy.training import TrainingJob, gpus_for
        from understudy.voices.training.settings import TrainingSettings

        chosen = settings if isinstance(settings, TrainingSettings) else TrainingSettings(**(settings or {}))
        files = base if base is None or base == "none" else (Path(base[0]), Path(base[1]))
        job = TrainingJob(self.folder, name, chosen, separate, files, restart, gpus_for(device))
        store = Store(environment.cache_folder() if cache is None else Path(cache))
        executor = LocalExecutor(store, environment.choose_device(device))
        return Runner(executor, lambda event: None, cancel or Event()), job

    def get(self, name: str, engine: str | None = None) -> Voice:
        """The voice of that name, sung by `engine` (``"instant"``, ``"zero-shot"`` or ``"rvc"``; None: its default);
        the files that this uses are compared with their hashes.

        Raises `UnderstudyError`: ``voice-unknown`` with the names that are similar, ``engine-missing``, and codes for
        missing or changed files.
        """
        return library.load(self.folder, name, engine)

    def list(self) -> list[Voice | BrokenVoice]:
        """All voices by name. A folder that can't be read as a voice is listed as a `BrokenVoice` with its error."""
        return library.list_voices(self.folder)

    def rename(self, name: str, new: str) -> Voice:
        """Give a voice another name; what was made with it stays in the cache.

        Raises `UnderstudyError`: ``voice-unknown``, ``voice-exists``, ``voice-name-invalid``.
        """
        return library.rename(self.folder, name, new)

    def remove(self, name: str) -> None:
        """Delete a voice and its files. Raises `UnderstudyError` ``voice-unknown``."""
        library.remove(self.folder, name)

    def revoke(self, name: str, reason: str = "", *, cache: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
        """Withdraw the consent for a voice for good, and for all voices that share a recording or the model with it or
        were blended from it. Returns their names.

        Their recordings and models are deleted, and from `cache` (None: the one that the command line uses) everything
        that was made with them, covers and trainings included. Covers that are being made end at their next stage.
        Files outside the cache stay. Raises `UnderstudyError` ``voice-unknown``.
        """
        from understudy.pipeline.shared_store import SharedStore, StoreAddress
        from understudy.pipeline.store import Store
        from understudy.voices.training.run_folder import remove_runs

        ended = library.revoke(self.folder, name, reason)
        folder = environment.cache_folder() if cache is None else Path(cache)
        address = environment.shared_store()
        store = SharedStore(StoreAddress(address), folder) if address else Store(folder)
        store.remove_voices({voice.manifest.identity for voice in ended})
        for voice in ended:
            remove_runs(folder / "training", voice.manifest.recordings_hash)
        return tuple(voice.name for voice in ended)

    def describe(self, name: str) -> Voice:
        """The voice of that name to read about it, also where its consent no longer permits to use it. Raises
        `UnderstudyError` ``voice-unknown``, and codes for a broken manifest."""
        return library.describe(self.folder, name)

    def export(self, name: str, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write a voice into one zip, for another library. Raises `UnderstudyError`: ``voice-unknown``,
        ``file-exists``, ``output-not-writable``, ``disk-full``."""
        with scratch_context() as context:
            return archive.export(self.get(name), Path(path), context, replace=overwrite)

    def check(self, name: str) -> tuple[Finding, ...]:
        """What is wrong with a voice's recordings or model; nothing if it is good. Raises as `get` does."""
        with scratch_context() as context:
            reports, together = library.check(self.folder, name, context)
        return (*(finding for report in reports for finding in report.findings), *together)
