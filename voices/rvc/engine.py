"""`RvcEngine`: conversion with trained RVC models of v1 and v2.

The performance is prepared at 16 kHz, cut into pieces where it is quietest, sung piece by piece, and brought back to
its own rate. On disk lie the whole sounds; in memory are one piece, and curves of 100 values a second.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from understudy.audio.crossfade import raised_cosine
from understudy.audio.effects.control import Curve, per_frame
from understudy.audio.resample import resample_blocks
from understudy.audio.samples import Audio, AudioSource, Samples, View, read_blocks
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.models import Weights, warm
from understudy.models.precision import Precision, default_precision
from understudy.voices.cuts import Piece, pieces, split
from understudy.voices.engine import ConversionSettings, Performance
from understudy.voices.envelope import gate, mixing_gain, second_rms, soft_gain
from understudy.voices.rvc.embedders import embedder_models, load_embedder
from understudy.voices.rvc.noise import Noise
from understudy.voices.rvc.pitch import frame_pitch
from understudy.voices.rvc.preprocess import preprocess
from understudy.voices.rvc.retrieval import open_retrieval
from understudy.voices.rvc.singing import CONTEXT, FADE, Conversion, LoadedVoice, sing
from understudy.voices.voice import Voice

LONGEST = 3000  # frames of a piece; on a CPU it takes 0.1 GB beside the networks
SHORTEST = 300  # frames to which pieces may shrink when memory is short
GPU_FRAME = 700_000  # bytes of GPU memory estimated for each frame of a piece


class RvcEngine:
    version: int = 2
    packages: tuple[str, ...] = ()

    def models(self, voice: Voice) -> tuple[str, ...]:
        """The content encoder that the voice's model was trained with."""
        assert voice.manifest.model is not None
        return embedder_models(voice.manifest.model.embedder)

    def prepare(self, context: Context, voice: Voice) -> Path:
        """Checks that the model's index is valid; nothing else has to be prepared for a trained model."""
        from understudy.voices.rvc.index import check_index

        model = voice.manifest.model
        assert model is not None
        path = context.folder / "prepared.json"
        known: dict[str, Any] = {"version": model.version, "sample_rate": model.sample_rate, "index": None}
        if voice.index_file is not None:
            known["index"] = {"vectors": check_index(voice.index_file).vectors}
        path.write_text(json.dumps(known), "utf-8")
        return path

    def study(
        self, context: Context, performance: Performance, prepared: Path, settings: ConversionSettings
    ) -> Path | None:
        """Nothing: each piece is sung on its own."""
        return None

    def convert(
        self,
        context: Context,
        performance: Performance,
        voice: Voice,
        prepared: Path,
        settings: ConversionSettings,
        models: Mapping[str, Weights],
        studied: Path | None = None,
    ) -> AudioFile:
        vocals = performance.vocals
        path = context.folder / "converted.npy"

        def load() -> LoadedVoice:
            return load_voice(voice, models, settings, context.device)

        sung = perform(context.part(0.0, 0.94), performance, load, settings, Noise(settings.seed))
        if sung is None:
            return write_blocks(path, vocals.rate, 1, [Audio.silence(1, vocals.frames, vocals.rate)])
        model = voice.manifest.model
        if model is not None and not model.f0 and performance.transpose:
            context.warn(
                f"The model of the voice {voice.name!r} has no pitch guidance (f0), so it cannot be transposed: it "
                "sings at the original's pitch."
            )
        blocks = resample_blocks(sung, vocals.rate, context.part(0.94, 1.0), vocals.frames)
        converted = write_blocks(path, vocals.rate, 1, blocks)
        sung.source.path.unlink()
        return converted


def load_voice(voice: Voice, models: Mapping[str, Weights], settings: ConversionSettings, device: str) -> LoadedVoice:
    """The voice with its networks on `device`; networks that are already loaded are reused.

    `models`: the files behind `RvcEngine.models(voice)`. Raises `UnderstudyError` ``precision-unsupported`` for float16
    on a CPU, and what loading raises."""
    from understudy.voices.rvc.synthesizer import load

    model = voice.manifest.model
    assert model is not None
    precision = default_precision(device) if settings.precision == "auto" else settings.precision
    if precision == "float16" and device.startswith("cpu"):
        raise UnderstudyError(
            "precision-unsupported",
            "A CPU doesn't compute in float16.",
            "Set conversion.precision to auto, float32 or bfloat16.",
        )
    checkpoint = warm(("rvc", model.sha256, device, precision), lambda: load(voice.model_file, device, precision))
    # On a CPU the encoder stays float32: it does a tenth of the decoder's work, so bfloat16 would gain little, and it
    # would cost 20 dB more of accuracy than in the decoder.
    encoder_precision: Precision = "float32" if device.startswith("cpu") else precision
    encoder = load_embedder(model.embedder, models, device, encoder_precision)
    retrieval = None
    index = model.index
    if index is not None and settings.index_rate > 0:
        path, dimension = voice.index_file, checkpoint.architecture.content_channels
        assert path is not None
        retrieval = warm(("index", index.sha256, dimension), lambda: open_retrieval(path, dimension))
    return LoadedVoice(checkpoint.synthesizer, encoder, retrieval, model.speaker, device)


def perform(
    context: Context,
    performance: Performance,
    load: Callable[[], LoadedVoice],
    settings: ConversionSettings,
    noise: Noise,
    rests: bool = True,
) -> Sung | None:
    """The performance sung by the voice, at the model's rate and as long to within a frame; None where the performance
    is silent (the voice is then not loaded at all).

    `load` gives the voice's networks. `rests`: whether silent and soft passages of the original are kept so (see
    `envelope`); without, the raw output of the networks, for comparisons.
    """
    prepared = preprocess(context.part(0.0, 0.05), performance.vocals)
    gain = gate(prepared.energy) if rests else np.ones(prepared.frames)
    if performance.part is not None:
        times = np.arange(len(gain)) / 100
        gain *= (times >= performance.part[0]) & (times < performance.part[1])
    try:
        if not gain.any():
            return None
        voice = load()
        pitch = frame_pitch(performance.pitch, prepared.last, CONTEXT, performance.transpose, settings.fill_unvoiced)
        conversion = Conversion(voice, prepared, pitch, settings, noise)
        sound = sing_song(context.part(0.05, 1.0), conversion, gain, longest_piece(voice.device))
        hop = voice.synthesizer.architecture.hop
        if rests:
            gain = gain * soft_gain(prepared.energy, _energy(sound, hop))
        return Sung(sound, gain, hop, _envelope(prepared.sound, sound, settings.rms_mix))
    finally:
        prepared.sound.path.unlink()


def longest_piece(device: str) -> int:
    """Most frames of a piece on `device`: `LONGEST`, fewer on a GPU with little free memory."""
    longest = LONGEST
    if not device.startswith("cpu"):
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        while longest > SHORTEST and longest * GPU_FRAME > free:
            longest = max(SHORTEST, longest // 2)
    return longest


def sing_song(context: Context, conversion: Conversion, gain: Curve, longest: int) -> AudioFile:
    """The whole song, sung in pieces of at most `longest` frames: mono at the model's rate, a whole number of frames,
    as ``sung.npy`` in `context.folder`.

    Where the gate's `gain` ``[frames]`` is 0 for long it is silent; neither the gate nor any envelope is applied yet.
    """
    architecture = conversion.voice.synthesizer.architecture
    energy = conversion.vocal.energy
    waiting = pieces(energy, gain, longest)
    total = sum(piece.frames for piece in waiting)

    def sounds(waiting: list[Piece]) -> Iterator[tuple[Piece, Samples]]:
        """The pieces with their sounds, in order. A piece for which the GPU's memory is too small is split."""
        done, limit = 0, longest
        while waiting:
            piece, *later = waiting
            part = context.part(done / total, (done + piece.frames) / total)
            try:
                sound = sing(conversion, piece, part.progress)
            except RuntimeError as error:
                if type(error).__name__ != "OutOfMemoryError" or piece.frames <= SHORTEST:
                    raise
                limit = max(SHORTEST, min(limit, piece.frames) // 2)
                context.warn(f"The GPU's memory is small: the voice sings in pieces of at most {limit / 100:.0f} s.")
            else:
                done += piece.frames
                waiting = later
                yield piece, sound
                continue
            free_memory(conversion.voice.device)  # outside the except block: the error still refers to the tensors
            waiting = [part for piece in waiting for part in split(piece, energy, limit)]

    blocks = _joined(sounds(waiting), architecture.hop, architecture.sample_rate, conversion.vocal.frames)
    return write_blocks(context.folder / "sung.npy", architecture.sample_rate, 1, blocks)


def free_memory(device: str) -> None:
    """Release the memory of `device` that torch's allocator has cached."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def _joined(sung: Iterator[tuple[Piece, Samples]], hop: int, rate: int, frames: int) -> Iterator[Audio]:
    """The pieces' sounds at their positions in a song of `frames` frames: silence or, where they meet, a cross-fade."""
    lap = 2 * FADE * hop
    fade_in = raised_cosine(lap).astype(np.float32)
    written = 0  # samples
    end = 0  # of the last piece, in samples
    tail = np.zeros(0, np.float32)  # the last piece's sound after what is written
    for piece, sound in sung:
        if piece.follows:
            sound[:lap] = sound[:lap] * fade_in + tail * (1 - fade_in)
        else:
            yield Audio(np.concatenate([tail[: end - written], _silence(piece.first * hop - end)])[None], rate)
            written, sound = piece.first * hop, sound[lap // 2 :]
        end = piece.last * hop
        settled = max(0, end - lap // 2 - written)  # the next piece may cross-fade with the rest
        yield Audio(sound[None, :settled], rate)
        written, tail = written + settled, sound[settled:]
    yield Audio(np.concatenate([tail[: end - written], _silence(frames * hop - end)])[None], rate)


def _silence(samples: int) -> Samples:
    return np.zeros(samples, np.float32)


@dataclass(frozen=True, eq=False)
class Sung(View):
    """The networks' output `source` (mono at the model's rate) times the gate's `gain`, one value per frame of `hop`
    samples, and times `envelope`, a function of start and stop that returns the gain of these samples."""

    source: AudioFile
    gain: Curve
    hop: int
    envelope: Callable[[int, int], Samples] | None

    def read(self, start: int = 0, stop: int | None = None) -> Audio:
        stop = self.frames if stop is None else stop
        samples = self.source.read(start, stop).samples * per_frame(self.gain, 0, start, stop - start, self.hop)
        if self.envelope is not None:
            samples *= self.envelope(start, stop)
        return Audio(samples, self.rate)


def _energy(sound: AudioSource, hop: int) -> Curve:
    """Mean square of each frame of `hop` samples of a mono sound that has a whole number of them."""
    blocks = (block.samples[0].reshape(-1, hop) for block in read_blocks(sound, 2000 * hop))
    return np.concatenate([np.square(block).mean(1, dtype=float) for block in blocks])


def _envelope(prepared: AudioSource, sung: AudioSource, mix: float) -> Callable[[int, int], Samples] | None:
    """The gain for the setting `rms_mix`; None at 1, where the sound keeps its own loudness."""
    if mix == 1:
        return None
    original, own = second_rms(prepared), second_rms(sung)
    return lambda start, stop: mixing_gain(original, own, mix, start, stop, sung.frames)
