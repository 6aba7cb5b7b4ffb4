"""Speech from espeak-ng with the time of every phone: the source of both voices of the demo.

espeak-ng is a formant synthesiser. Its voices contain no recordings of people, so the demo clones nobody. It is needed
only to generate the demo files again (``apt-get install espeak-ng``).
"""

from __future__ import annotations

import ctypes
import ctypes.util
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VOWEL_LETTERS = frozenset("aeiouæɑɒɔəɛɜɪʊʌɐᵻɚyøœ")
VOICELESS = frozenset({"p", "t", "k", "f", "s", "θ", "ʃ", "h", "tʃ", "ʔ"})
ALWAYS_VOICED = frozenset({"m", "n", "ŋ", "l", "ɹ", "w", "j", "ɾ"})

_SYNCHRONOUS, _PHONEME_EVENTS_IPA, _UTF8, _PHONEMES = 2, 3, 1, 0x100
_RATE, _VOLUME, _PITCH, _RANGE, _GAP = 1, 2, 3, 4, 7
_EVENT_WORD, _EVENT_PHONEME = 1, 7


@dataclass(frozen=True)
class Phone:
    """`name` in IPA; `start` and `stop` in seconds; `word`: index of its word."""

    name: str
    start: float
    stop: float
    word: int

    @property
    def vowel(self) -> bool:
        return self.name[0] in VOWEL_LETTERS

    @property
    def diphthong(self) -> bool:
        return self.vowel and len([c for c in self.name if c in VOWEL_LETTERS]) > 1


@dataclass(frozen=True, eq=False)
class Speech:
    """`samples`: float64 ``[frames]`` within ±1 at `rate` Hz; `phones` in order, without pauses."""

    samples: NDArray[np.float64]
    rate: int
    phones: tuple[Phone, ...]


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


class Espeak:
    """The espeak-ng library, opened once per process. Raises `OSError` when it isn't installed."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng")
        if name is None:
            raise OSError("espeak-ng is not installed: on Debian and Ubuntu, apt-get install espeak-ng.")
        self._library = ctypes.CDLL(name)
        self._library.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        self.rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS_IPA))
        if self.rate <= 0:
            raise OSError("espeak-ng could not be started: its data files are missing.")

    def say(self, text: str, voice: str, *, speed: int = 120, pitch: int = 50, intonation: int = 0) -> Speech:
        """`text` in `voice` (``en-us+m3``). `speed` in words per minute, 80 and up; `pitch` and `intonation` 0..99."""
        blocks: list[NDArray[np.int16]] = []
        marks: list[tuple[int, str]] = []  # sample, phone name; a word begins with an empty name

        def receive(wave: object, count: int, events: ctypes.Array[_Event]) -> int:
            if wave and count:
                blocks.append(np.ctypeslib.as_array(wave, (count,)).copy())
            index = 0
            while events[index].type:
                event = events[index]
                if event.type == _EVENT_WORD:
                    marks.append((event.sample, ""))
                elif event.type == _EVENT_PHONEME:
                    marks.append((event.sample, event.id.string.decode("utf-8", "ignore")))
                index += 1
            return 0

        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
        callback = kind(receive)
        self._library.espeak_SetSynthCallback(callback)
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise OSError(f"espeak-ng has no voice {voice}.")
        for parameter, value in ((_RATE, speed), (_VOLUME, 80), (_PITCH, pitch), (_RANGE, intonation), (_GAP, 0)):
            self._library.espeak_SetParameter(parameter, value, 0)
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, len(data), 0, 1, 0, _UTF8 | _PHONEMES, None, None)
        samples = np.concatenate(blocks).astype(np.float64) / 32768
        return Speech(samples, self.rate, _closed(samples, self.rate, _phones(marks, len(samples), self.rate)))


def _phones(marks: list[tuple[int, str]], end: int, rate: int) -> tuple[Phone, ...]:
    """The phones between the marks. Marks of stress, length and pauses are dropped."""
    word, found = -1, []
    for index, (sample, raw) in enumerate(marks):
        if not raw:
            word += 1
            continue
        name = "".join(c for c in raw if c not in "ˈˌː_:|'̩ʲ ")
        following = [other for other, text in marks[index + 1 :] if text]
        stop = following[0] if following else end
        if name and stop > sample:
            found.append(Phone(name, sample / rate, stop / rate, max(word, 0)))
    return tuple(found)


def _closed(samples: NDArray[np.float64], rate: int, phones: tuple[Phone, ...]) -> tuple[Phone, ...]:
    """espeak-ng includes the silence before the burst of a stop in the preceding vowel: split it off as a phone
    ``ʔ``."""
    hop = rate // 200
    power = np.convolve(samples**2, np.ones(2 * hop) / (2 * hop), mode="same")[::hop]
    found = []
    for phone in phones:
        if phone.vowel:
            first, last = round(phone.start * rate / hop), round(phone.stop * rate / hop)
            span = power[first:last]
            loud = np.flatnonzero(span > 0.04 * span.max())
            end = (first + int(loud[-1]) + 1) * hop / rate
            if phone.stop - end > 0.02:
                found += [Phone(phone.name, phone.start, end, phone.word), Phone("ʔ", end, phone.stop, phone.word)]
                continue
        found.append(phone)
    return tuple(found)
