"""The state of a run as G_ and D_ files, with which RVC WebUI or Applio goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.disk import explained
from understudy.errors import UnderstudyError
from understudy.voices.consent.levels import require
from understudy.voices.training.run_folder import RunFolder
from understudy.voices.voice import Voice

if TYPE_CHECKING:
    from understudy.voices.rvc.training.networks import Tool


def runs_of(voice: Voice, trainings: Path) -> Iterator[RunFolder]:
    """The runs below the folder `trainings` that train the voice with these recordings and have a saved state, the one
    that was trained last first."""
    found = []
    for path in trainings.glob("*/run.json"):
        folder = RunFolder(path.parent)
        try:
            run = folder.run()
        except UnderstudyError:  # it can't be read: it is no run to go on with
            continue
        states = [*path.parent.glob("state-*.pt")]
        if run is not None and run.recordings_hash == voice.manifest.recordings_hash and states:
            found.append((max(state.stat().st_mtime_ns for state in states), str(path), folder))
    yield from (folder for _, _, folder in sorted(found, reverse=True))


def export_training(
    voice: Voice, trainings: Path, target: Path, *, tool: Tool = "rvc", replace_files: bool = False
) -> list[Path]:
    """Write the newest state of the voice's training into the folder `target`, as the files ``G_<step>.pth`` and
    ``D_<step>.pth``, with the optimisers in the order of `tool`. Returns them.

    `trainings`: the folder of the runs. Raises `UnderstudyError`: ``training-missing`` for a voice that was not trained
    here, ``training-unreadable``, ``file-exists`` unless `replace_files`, ``disk-full``, ``output-not-writable``.
    """
    from understudy.voices.rvc.training.pretrained import write_pair
    from understudy.voices.rvc.training.step import new_state
    from understudy.voices.rvc.training.work import architecture_of

    require(voice.manifest, "export")
    folder = next(runs_of(voice, trainings), None)
    run, found = (None, None) if folder is None else (folder.run(), folder.load_state())
    if run is None or found is None:
        raise UnderstudyError(
            "training-missing",
            f"There is no training of the voice {voice.name!r} on this machine.",
            f"Train it first: understudy voices train {voice.name!r}. Only a training that was run here has "
            "discriminators and optimisers; --format rvc writes the model alone.",
        )
    step, stored = found
    files = [target / f"{letter}_{step}.pth" for letter in "GD"]
    for file in files:
        if file.exists() and not replace_files:
            raise UnderstudyError(
                "file-exists", f"{file} exists already.", "Choose another folder, or say --overwrite to replace it."
            )
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explained(target, error) from error
    speakers = len(stored["work"]["generator"]["emb_g.weight"])
    state = new_state(replace(architecture_of(run.settings), speakers=speakers), run.settings)
    state.load(stored["work"])
    write_pair(state, files[0], files[1], max(1, int(stored["position"]["epoch"])), run.settings.learning_rate, tool)
    return files
