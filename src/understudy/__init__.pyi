"""The public names, for type checkers and for `lazy_loader`."""

from .audio.audiosegment import from_audiosegment as from_audiosegment
from .audio.audiosegment import to_audiosegment as to_audiosegment
from .audio.samples import Audio as Audio
from .errors import Cancelled as Cancelled
from .errors import UnderstudyError as UnderstudyError
from .library import AddedVoice as AddedVoice
from .library import VoiceLibrary as VoiceLibrary
from .pipeline.executor import StageRun as StageRun
from .pipeline.presets import presets as presets
from .pipeline.report.grade import rank as rank
from .pipeline.report.verdict import Weakness as Weakness
from .pipeline.report.words import Action as Action
from .pipeline.separation.advice import Remark as Remark
from .pipeline.separation.chain import StepReport as StepReport
from .pipeline.separation.custom import register_separator as register_separator
from .pipeline.separation.quality import Quality as Quality
from .pipeline.settings import load_settings as load_settings
from .pipeline.stages.cast import VoicePart as VoicePart
from .results import ConversionResult as ConversionResult
from .results import CoverResult as CoverResult
from .results import EvaluationResult as EvaluationResult
from .results import Loudness as Loudness
from .results import SeparationResult as SeparationResult
from .results import StageWarning as StageWarning
from .results import Verdict as Verdict
from .session import Progress as Progress
from .session import ProgressEvent as ProgressEvent
from .session import Session as Session
from .session import Settings as Settings
from .session import SettingsLike as SettingsLike
from .session import VoiceLike as VoiceLike
from .session import convert as convert
from .session import cover as cover
from .session import evaluate as evaluate
from .session import separate as separate
from .sounds import AudioRef as AudioRef
from .sounds import Sound as Sound
from .training import TrainingPlan as TrainingPlan
from .training import TrainingResult as TrainingResult
from .voices.recordings import Finding as Finding
from .voices.training.events import TrainingEvent as TrainingEvent
from .voices.training.settings import TrainingSettings as TrainingSettings
from .voices.voice import Voice as Voice

__all__: list[str]
__version__: str
