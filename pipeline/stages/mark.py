"""Stage `mark`: the inaudible watermark of what a voice sings.

Each stem of a cover gets the same mark before the stems are mixed. The mark is linear, so they still sum to the cover,
and gains and the limiter come after it: they neither repeat it nor raise the true peak again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from pydantic import Field

from understudy.audio.stored import AudioFile, write_blocks
from understudy.audio.watermark.embedding import watermarked
from understudy.audio.watermark.layout import PUBLIC_KEY
from understudy.audio.watermark.payload import Kind, Payload
from understudy.context import Context
from understudy.pipeline.separation.settings import FrozenModel


class ProvenanceSettings(FrozenModel):
    """How a cover says that it was made by AI, beside its tags."""

    watermark: bool = Field(True, description="an inaudible watermark in cover and stems, which survives codecs")
    sign: bool = Field(True, description="a signed C2PA manifest in every file that can hold one")


def mark(context: Context, sound: AudioFile, kind: Kind, id: int) -> AudioFile:
    """`sound` with the public watermark of Understudy. `id`: of the work, see `work_id`."""
    blocks = watermarked(sound, Payload(kind, 0, id), PUBLIC_KEY, context)
    return write_blocks(context.folder / "marked.npy", sound.rate, sound.channels, blocks)


def work_id(hashes: Iterable[str]) -> int:
    """20 bits for what is made from songs and voices with these content hashes: the same for every mix of it."""
    digest = hashlib.sha256("\n".join(sorted(hashes)).encode()).digest()
    return int.from_bytes(digest[:3], "big") >> 4
