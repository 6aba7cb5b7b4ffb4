"""The sizes of the models that RVC's trainers make: all else is theirs to fix, and differs in no published model."""

from __future__ import annotations

from understudy.voices.rvc.architecture import Architecture

# version and sample rate: (upsample rates, upsample kernels); 24 kHz is Applio's
UPSAMPLING: dict[tuple[str, int], tuple[tuple[int, ...], tuple[int, ...]]] = {
    ("v1", 32000): ((10, 4, 2, 2, 2), (16, 16, 4, 4, 4)),
    ("v2", 32000): ((10, 8, 2, 2), (20, 16, 4, 4)),
    ("v1", 40000): ((10, 10, 2, 2), (16, 16, 4, 4)),
    ("v2", 40000): ((10, 10, 2, 2), (16, 16, 4, 4)),
    ("v1", 48000): ((10, 6, 2, 2, 2), (16, 16, 4, 4, 4)),
    ("v2", 48000): ((12, 10, 2, 2), (24, 20, 4, 4)),
    ("v1", 24000): ((10, 6, 2, 2), (20, 12, 4, 4)),
    ("v2", 24000): ((10, 6, 2, 2), (20, 12, 4, 4)),
}


def published(version: str, sample_rate: int, f0: bool = True, speakers: int = 109) -> Architecture:
    """The architecture of that kind of model; raises `KeyError` for one that nobody publishes."""
    rates, kernels = UPSAMPLING[version, sample_rate]
    return Architecture("v1" if version == "v1" else "v2", f0, sample_rate, rates, kernels, speakers)


def spectrum_bins(sample_rate: int) -> int:
    """Bins of the spectrogram that such a model was trained on."""
    return 1025 if sample_rate > 32000 else 513
