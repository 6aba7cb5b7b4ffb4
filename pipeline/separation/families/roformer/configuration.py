"""The configuration of a Roformer checkpoint, with the defaults of the published code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from understudy.pipeline.separation.families.checked_config import CheckedConfig, configured_stems, section
from understudy.pipeline.separation.families.roformer.bands import Bands, mel_bands, split_bands

_BANDS = (2,) * 24 + (4,) * 12 + (12,) * 8 + (24,) * 8 + (48,) * 8 + (128, 129)  # of BS-Roformer, in bins

_ALIASES = {
    "n_fft": "stft_n_fft", "hop_length": "stft_hop_length", "win_length": "stft_win_length", "n_heads": "heads",
    "num_heads": "heads", "head_dim": "dim_head", "expansion_factor": "mlp_expansion_factor",
    "mlp_ratio": "mlp_expansion_factor", "freq_bands": "freqs_per_bands", "frequency_bands": "freqs_per_bands",
    "mel_bands": "num_bands", "n_mels": "num_bands", "normalized": "stft_normalized",
}  # fmt: skip


_KNOWN = frozenset({
    "dim", "depth", "stereo", "num_stems", "linear_transformer_depth", "time_transformer_depth",
    "freq_transformer_depth", "num_bands", "freqs_per_bands", "heads", "dim_head", "sample_rate", "stft_n_fft",
    "stft_hop_length", "stft_win_length", "stft_normalized", "mask_estimator_depth", "mlp_expansion_factor",
    "skip_connection",
})  # fmt: skip
_WITHOUT_EFFECT = frozenset({  # after training, or for the same network computed in another way
    "attn_dropout", "ff_dropout", "flash_attn", "sage_attention", "dim_freqs_in", "stft_window_fn",
    "use_torch_checkpoint", "match_input_audio_length", "multi_stft_resolution_loss_weight",
    "multi_stft_resolutions_window_sizes",
    "multi_stft_hop_size", "multi_stft_normalized", "multi_stft_window_fn", "type", "model_type", "architecture",
})  # fmt: skip


@dataclass(frozen=True)
class RoformerConfiguration:
    """The shape of a network. `kind`: ``mel`` or ``bs``, by how its `bands` lie. `dim`, `heads`, `head_dim`: of the
    transformers. `depth`: of layers, each with transformers of `linear`, `time` and `frequency` blocks. `mask_layers`,
    `mask_width`: linear layers of a mask's estimator, and the width of those between. `skip`: each layer gets the sum
    of all results before it. `n_fft`, `hop`, `span`, `scaled`: of the transform; `span` is the length of its Hann
    window. `window`: frames of sound that the network was trained on."""

    kind: Literal["mel", "bs"]
    stems: tuple[str, ...]
    rate: int
    window: int
    channels: int
    dim: int
    depth: int
    linear: int
    time: int
    frequency: int
    heads: int
    head_dim: int
    bands: Bands
    mask_layers: int
    mask_width: int
    skip: bool
    n_fft: int
    hop: int
    span: int
    scaled: bool


def roformer_configuration(configuration: Mapping[str, Any]) -> RoformerConfiguration:
    """Raises `ValueError` for values that no such network has."""
    model = CheckedConfig(section(configuration, "model") or configuration, _ALIASES)
    audio, inference = (CheckedConfig(section(configuration, name)) for name in ("audio", "inference"))
    stems = configured_stems(section(configuration, "training"))
    if section(configuration, "model"):
        model.refuse_others(_KNOWN | _WITHOUT_EFFECT)
    mel = "num_bands" in model
    if mel and "freqs_per_bands" in model:
        raise ValueError("it has both mel bands (num_bands) and bands of its own (freqs_per_bands)")
    n_fft = model.number("stft_n_fft", 64, 1 << 16, 2048)
    dim = model.number("dim", 8, 8192)
    depth = model.number("mask_estimator_depth", 1, 16, 1 if mel else 2)
    hop = model.number("stft_hop_length", 1, n_fft, 512)
    rate = model.number("sample_rate", 8000, 192_000, audio.number("sample_rate", 8000, 192_000, 44_100))
    if model.number("num_stems", 1, 32, len(stems)) != len(stems):
        raise ValueError(f"it has {model.raw('num_stems')} stems (num_stems), but names {len(stems)}")
    if mel:
        bands = mel_bands(model.number("num_bands", 2, 512), n_fft, rate)
    else:
        bands = split_bands(_bins(model.raw("freqs_per_bands"), n_fft))
    # the window that it was trained on; where that isn't said, the frames that it is run at
    frames = inference.number("dim_t", 2, 1 << 16, audio.number("dim_t", 2, 1 << 16, 801))
    window = audio.number("chunk_size", 1, 1 << 24, hop * (frames - 1))
    return RoformerConfiguration(
        kind="mel" if mel else "bs",
        stems=stems,
        rate=rate,
        window=max(window // hop, -(-n_fft // hop)) * hop,
        channels=2 if model.flag("stereo", False) else 1,
        dim=dim,
        depth=model.number("depth", 1, 64),
        linear=model.number("linear_transformer_depth", 0, 16, 0),
        time=model.number("time_transformer_depth", 0, 16, 2),
        frequency=model.number("freq_transformer_depth", 0, 16, 2),
        heads=model.number("heads", 1, 128, 8),
        head_dim=2 * (model.number("dim_head", 2, 1024, 64) // 2),
        bands=bands,
        mask_layers=depth + 1 if mel else depth,
        mask_width=dim * model.number("mlp_expansion_factor", 1, 32, 4),
        skip=model.flag("skip_connection", False),
        n_fft=n_fft,
        hop=hop,
        span=model.number("stft_win_length", 1, n_fft, n_fft),
        scaled=model.flag("stft_normalized", False),
    )


def _bins(value: Any, n_fft: int) -> tuple[int, ...]:
    """The bins of each band."""
    if value is None:
        value = _BANDS
    if isinstance(value, str):
        value = [int(word) for word in value.strip("()[] ").split(",") if word.strip().isdecimal()]
    bands = tuple(value) if isinstance(value, list | tuple) else ()
    if not 2 <= len(bands) <= 512 or any(type(bins) is not int or bins < 1 for bins in bands):
        raise ValueError("freqs_per_bands is no list of numbers")
    if sum(bands) != n_fft // 2 + 1:
        raise ValueError(f"its bands (freqs_per_bands) have {sum(bands)} bins together, its spectra {n_fft // 2 + 1}")
    return bands
