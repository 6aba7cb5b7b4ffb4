"""Understudy: covers of finished songs, sung by a cloned voice.

>>> import understudy as us
>>> us.VoiceLibrary().add("nova", ["nova singing.wav"], consent="self")
>>> us.cover("song.mp3", voice="nova").path
PosixPath('covers/song (nova).flac')

`cover`, `separate`, `convert` and `evaluate` are the methods of a `Session` with the folders of the command line; make
a `Session` of your own for other folders, devices or threads. Nothing is printed; errors are `UnderstudyError`.

Importing this package sets BLAS to one thread in the process, unless ``OPENBLAS_NUM_THREADS`` is set.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# Stages run their windows in threads of their own, beside which BLAS's threads only spin: one of them is 15 % cheaper
# (a minute of song: 24.3 instead of 28.3 CPU seconds). NumPy reads the variable when it is imported; where it was
# imported before, its threads are set here: the last bits of a matrix product depend on their number, and the same song
# must give the same bytes. A number that the user has set stays.
if "OPENBLAS_NUM_THREADS" not in os.environ:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    if "numpy" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(limits=1, user_api="blas")

# Beside other busy programs, torch's threads lose their time waiting for each other in a loop: with a shorter loop
# HTDemucs took 13.9 instead of 18.6 s beside two busy processes, and as long as before alone. torch reads this when it
# is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

if TYPE_CHECKING:
    from understudy.audio.audiosegment import from_audiosegment as from_audiosegment
    from understudy.audio.audiosegment import to_audiosegment as to_audiosegment
    from understudy.audio.samples import Audio as Audio
    from understudy.errors import Cancelled as Cancelled
    from understudy.errors import UnderstudyError as UnderstudyError
    from understudy.library import AddedVoice as AddedVoice
    from understudy.library import VoiceLibrary as VoiceLibrary
    from understudy.pipeline.executor import StageRun as StageRun
    from understudy.pipeline.presets import presets as presets
    from understudy.pipeline.separation.advice import Remark as Remark
    from understudy.pipeline.separation.chain import StepReport as StepReport
    from understudy.pipeline.separation.custom import register_separator as register_separator
    from understudy.pipeline.separation.quality import Quality as Quality
    from understudy.pipeline.settings import CoverSettings as Settings
    from understudy.pipeline.settings import load_settings as load_settings
    from understudy.pipeline.stages.cast import VoicePart as VoicePart
    from understudy.results import ConversionResult as ConversionResult
    from understudy.results import CoverResult as CoverResult
    from understudy.results import EvaluationResult as EvaluationResult
    from understudy.results import Loudness as Loudness
    from understudy.results import SeparationResult as SeparationResult
    from understudy.results import StageWarning as StageWarning
    from understudy.results import Verdict as Verdict
    from understudy.session import Progress as Progress
    from understudy.session import ProgressEvent as ProgressEvent
    from understudy.session import Session as Session
    from understudy.session import SettingsLike as SettingsLike
    from understudy.session import VoiceLike as VoiceLike
    from understudy.session import convert as convert
    from understudy.session import cover as cover
    from understudy.session import evaluate as evaluate
    from understudy.session import separate as separate
    from understudy.sounds import AudioRef as AudioRef
    from understudy.sounds import Sound as Sound
    from understudy.voices.recordings import Finding as Finding
    from understudy.voices.voice import Voice as Voice

# Where each public name is: it is imported when it is first used, so that ``import understudy`` takes no time.
_HOMES = {
    "audio.audiosegment": ("from_audiosegment", "to_audiosegment"),
    "audio.samples": ("Audio",),
    "errors": ("Cancelled", "UnderstudyError"),
    "library": ("AddedVoice", "VoiceLibrary"),
    "pipeline.executor": ("StageRun",),
    "pipeline.presets": ("presets",),
    "pipeline.separation.advice": ("Remark",),
    "pipeline.separation.chain": ("StepReport",),
    "pipeline.separation.custom": ("register_separator",),
    "pipeline.separation.quality": ("Quality",),
    "pipeline.stages.cast": ("VoicePart",),
    "pipeline.settings": ("Settings", "load_settings"),
    "results": (
        "ConversionResult",
        "CoverResult",
        "EvaluationResult",
        "Loudness",
        "SeparationResult",
        "StageWarning",
        "Verdict",
    ),
    "session": (
        "Progress",
        "ProgressEvent",
        "Session",
        "SettingsLike",
        "VoiceLike",
        "convert",
        "cover",
        "evaluate",
        "separate",
    ),
    "sounds": ("AudioRef", "Sound"),
    "voices.recordings": ("Finding",),
    "voices.voice": ("Voice",),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AddedVoice",
    "Audio",
    "AudioRef",
    "Cancelled",
    "ConversionResult",
    "CoverResult",
    "EvaluationResult",
    "Finding",
    "Loudness",
    "Progress",
    "ProgressEvent",
    "Quality",
    "Remark",
    "SeparationResult",
    "Session",
    "Settings",
    "SettingsLike",
    "Sound",
    "StageRun",
    "StageWarning",
    "StepReport",
    "UnderstudyError",
    "Verdict",
    "Voice",
    "VoiceLibrary",
    "VoiceLike",
    "VoicePart",
    "__version__",
    "convert",
    "cover",
    "evaluate",
    "from_audiosegment",
    "load_settings",
    "presets",
    "register_separator",
    "separate",
    "to_audiosegment",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'understudy' has no attribute {name!r}")
    value = getattr(import_module(f"understudy.{_MODULES[name]}"), "CoverSettings" if name == "Settings" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
