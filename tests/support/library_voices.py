"""Voices in a library made at once, of recordings that needn't be sound and of small random models."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from tests.support.rvc_files import Version, random_weights, small
from understudy.voices import library
from understudy.voices.rvc.checkpoint import Checkpoint
from understudy.voices.voice import Manifest, PitchRange, Recording, Trained, Voice, content_hash

TRAINED = Trained(steps=2400, similarity=0.61, base="rvc-base-48k", date=datetime(2026, 11, 30, 12, tzinfo=UTC))


def recorded_voice(root: Path, name: str = "nova", takes: int = 2) -> Voice:
    """An instant voice of so many files with a few bytes each."""
    with library.building(root) as folder:
        (folder / "recordings").mkdir()
        listed = []
        for number in range(1, takes + 1):
            data = f"{name} {number}".encode() * 100
            digest = hashlib.sha256(data).hexdigest()
            file = f"{number:03d}-take-{digest[:8]}.flac"
            (folder / "recordings" / file).write_bytes(data)
            listed.append(Recording(file=file, source=f"take {number}.wav", duration=8.5, sha256=digest))
        recordings = tuple(listed)
        reach = PitchRange(low=150, median=220.5, high=440)
        manifest = Manifest(
            name=name,
            engine="instant",
            sample_rate=44100,
            pitch_range=reach,
            recordings=recordings,
            consent="self",
            created=datetime(2026, 11, 1, tzinfo=UTC),
            content_hash=content_hash("instant", 44100, reach, recordings),
        )
        return library.settle(root, folder, manifest, replace=False)


def small_model(seed: int = 0, version: Version = "v2", speakers: int = 1) -> Checkpoint:
    """A model of random weights."""
    architecture = small(version, speakers=speakers)
    return Checkpoint(architecture, random_weights(architecture, seed), {"info": f"{seed} steps"})


def without_consent(voice: Voice) -> Manifest:
    """The manifest without its entry in the consent log, which each library has its own of."""
    return voice.manifest.model_copy(update={"consent_record": None})
