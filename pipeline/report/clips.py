"""Sound for the page's player: Opus in Ogg (RFC 6716, RFC 7845), small enough to embed."""

from __future__ import annotations

import io

import numpy as np

from understudy.audio.downmix import fold
from understudy.audio.samples import AudioSource
from understudy.context import Context
from understudy.pipeline.report.bands import clean

_RATE = 48000  # Opus knows no 44.1 kHz
_SECONDS = 10.0
_EFFORT = "0"  # of 0..10: two thirds of the time of 3; what it costs in quality, a few kbit/s more give back
STEREO_RATE, MONO_RATE = 64000, 40000  # bit/s


def encode_clip(source: AudioSource, context: Context, *, start: float, stop: float, mono: bool) -> bytes:
    """Seconds `start`..`stop` of `source` as an Ogg Opus file, read in blocks. Same samples, same bytes."""
    import av
    import soxr

    if mono:
        source = fold(context.part(0, 0), source)
    channels = min(2, source.channels)
    layout = "mono" if channels == 1 else "stereo"
    first, last = round(start * source.rate), min(source.frames, round(stop * source.rate))
    resampler = soxr.ResampleStream(source.rate, _RATE, channels, dtype="float32", quality="MQ")
    buffer = io.BytesIO()
    # bitexact: Ogg's stream number is otherwise drawn at random
    with av.open(buffer, "w", format="ogg", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(
            "libopus", rate=_RATE, layout=layout, options={"application": "audio", "compression_level": _EFFORT}
        )
        stream.bit_rate = MONO_RATE if channels == 1 else STEREO_RATE
        position = 0
        for begin in range(first, max(last, first + 1), round(_SECONDS * source.rate)):
            end = min(last, begin + round(_SECONDS * source.rate))
            block = clean(source.read(begin, end)).samples
            # the decoder in the browser clips: a cover above its ceiling sounds as in any player
            ready = resampler.resample_chunk(np.ascontiguousarray(block[:2].T), last=end >= last)
            if len(ready):
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(ready).reshape(1, -1), format="flt", layout=layout
                )
                frame.sample_rate, frame.pts = _RATE, position
                position += len(ready)
                container.mux(stream.encode(frame))
            context.progress((end - first) / max(1, last - first))
        container.mux(stream.encode(None))
    return buffer.getvalue()
