"""MDX-Net (Kim et al. 2021, "KUIELab-MDX-Net: A Two-Stream Neural Network for Music Demixing"), as ONNX files: a U-Net
that takes the complex spectrogram of a window and gives that of one stem."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from audio.errors import UnderstudyError
from audio.models.installed import Weights
from audio.onnx_file import Graph
from audio.onnx_file import load as read_graph
from audio.precision import Precision
from pipeline.separation.layout import leading
from pipeline.separation.network import Network
from pipeline.separation.parameters import parameters
from pipeline.separation.stems import canonical_stems, purpose_of

if TYPE_CHECKING:
    from torch import Tensor

RATE = 44100
HOP = 1024
"""Frames between spectra, of all networks of the family."""
SILENT_BINS = 3
"""The lowest bins, which the networks never saw in training."""
OVERLAP = 0.25
LARGEST = 512 << 20
"""Bytes; the published ones have 28 to 67 million."""
_GUESSES = {2048: 6144, 2560: 5120, 3072: 6144}
"""The n_fft of most published networks with that many bins."""
_CREDIBLE_GAIN = (0.9, 1.2)
_OPERATORS = {
    "Add", "BatchNormalization", "Cast", "Concat", "Constant", "Conv", "ConvTranspose", "Div", "Flatten", "Gather",
    "Gemm", "Identity", "InstanceNormalization", "LeakyRelu", "MatMul", "Mul", "Pad", "ReduceMean", "Relu", "Reshape",
    "Shape", "Sigmoid", "Slice", "Softmax", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze",
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """`bins` of a spectrum of `n_fft` frames, `spectra` per window; `gain`: what the result lacks."""

    n_fft: int
    bins: int
    spectra: int
    gain: float

    @property
    def window(self) -> int:
        return HOP * (self.spectra - 1)

    @property
    def trim(self) -> int:
        """Frames at either end of a window that see less of it than the others."""
        return self.n_fft // 2


def stems(weights: Weights) -> tuple[str, ...]:
    """The one stem that the network in the file gives, in the design's words. Raises what `parameters` raises."""
    known = parameters(weights.path) or {}
    purpose = "karaoke" if known.get("karaoke") else purpose_of(weights.path.stem)
    return canonical_stems([_primary(weights, known)], purpose)


def load(weights: Weights, device: str, precision: Precision) -> Network:
    """The network in the ONNX file, ready to run.

    What the file doesn't tell (n_fft, gain, stem) comes from `parameters`, or is guessed, and said. Raises
    `UnderstudyError` ``model-invalid`` for a file that holds no such network.
    """
    import torch

    shape, cautions = _shape(weights, _read(weights))
    run = _session(weights, device)
    window = torch.hann_window(shape.n_fft, device=device)
    return Network(
        stems=stems(weights),
        rate=RATE,
        window=shape.window,
        step=int((1 - OVERLAP) * shape.window),
        fade=torch.hann_window(shape.window, periodic=False).clamp(min=1e-7),
        separate=lambda windows: separate(windows, shape, window, run),
        device=device,
        layout=leading(shape.trim),
        cautions=cautions,
        size=weights.path.stat().st_size,
        working=shape.bins * shape.spectra * 4 * 4 * 64,
    )


def separate(windows: Tensor, shape: Shape, window: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """``[batch, 2, frames]`` -> ``[batch, 1, 2, frames]``: the spectrogram of the window, with the real and imaginary
    parts of both channels as four channels, through the network and back."""
    import torch

    batch, channels, frames = windows.shape
    spectra = torch.stft(windows.reshape(-1, frames), shape.n_fft, HOP, window=window, return_complex=True)
    kept = torch.view_as_real(spectra[:, : shape.bins])  # [batch * 2, bins, spectra, 2]
    parts = kept.permute(0, 3, 1, 2).reshape(batch, 2 * channels, shape.bins, -1)
    parts[:, :, :SILENT_BINS] = 0
    found = run(parts).reshape(batch * channels, 2, shape.bins, -1)
    full = torch.nn.functional.pad(found, (0, 0, 0, shape.n_fft // 2 + 1 - shape.bins))
    spectra = torch.complex(full[:, 0], full[:, 1])
    sound = torch.istft(spectra, shape.n_fft, HOP, window=window, length=frames)
    return (shape.gain * sound).reshape(batch, 1, channels, frames)


def _primary(weights: Weights, known: Mapping[str, Any]) -> str:
    """What the network gives: as told, else as its file's name tells."""
    told = known.get("primary_stem")
    if isinstance(told, str):
        return told
    name = weights.path.stem.lower()
    named = ("reverb", "vocals", "drums", "bass", "other", "inst", "crowd", "kara")
    found = next((word for word in named if word in name), "vocals")
    return {"inst": "instrumental", "kara": "instrumental"}.get(found, found)


def _read(weights: Weights) -> Graph:
    try:
        graph = read_graph(weights.path, LARGEST)
    except UnderstudyError as error:
        if error.code == "model-damaged":
            raise UnderstudyError("model-invalid", error.message, error.hint) from error
        raise
    unknown = sorted({node.operator for node in graph.nodes} - _OPERATORS)
    if unknown:
        raise _invalid(weights, f"no such network has the operators {', '.join(unknown)[:200]}")
    return graph


def _shape(weights: Weights, graph: Graph) -> tuple[Shape, tuple[str, ...]]:
    """What the network takes and gives, with the sentences that its user must hear."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise _invalid(weights, f"it has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs instead of one")
    told = next(iter(graph.inputs.values()))
    if len(told) != 4 or told[1] != 4 or told[2] is None or told[3] is None or not (told[2] >= 16 and told[3] >= 16):
        raise _invalid(weights, f"it takes {_text(told)} instead of 4 channels of spectra of a known size")
    bins, spectra = told[2], told[3]
    known = parameters(weights.path)
    cautions = []
    if known is None:
        n_fft = _guessed(weights, bins)
        gain = 1.0
        cautions.append(
            f"Nothing is known of the model {weights.path.name}; it is taken for one with spectra of {n_fft} frames, "
            f"at a gain of 1, that gives the {stems(weights)[0]}. If that sounds wrong, put what its maker says into "
            f"{weights.path.with_suffix('.yaml').name} beside it: n_fft, compensate, primary_stem."
        )
    else:
        n_fft, gain = known.get("n_fft", _guessed(weights, bins)), known.get("compensate", 1.0)
        for name, there in (("dim_f", bins), ("dim_t", spectra)):
            if known.get(name, there) != there:
                raise _invalid(weights, f"it takes {name} {there}, but what is known of it says {known[name]!r}")
    if type(n_fft) is not int or n_fft % 2 or not 2 * (bins - 1) <= n_fft <= min(1 << 16, HOP * (spectra - 1) // 2):
        raise _invalid(weights, f"spectra of {n_fft!r} frames don't go with {bins} bins and {spectra} spectra")
    if type(gain) not in (int, float) or not _CREDIBLE_GAIN[0] <= gain <= _CREDIBLE_GAIN[1]:
        cautions.append(f"The gain {gain!r} that is told of the model {weights.path.name} can't be right; 1 is taken.")
        gain = 1.0
    return Shape(n_fft, bins, spectra, float(gain)), tuple(cautions)


def _guessed(weights: Weights, bins: int) -> int:
    name = weights.path.stem.lower()
    if "bass" in name:
        return 16384
    return _GUESSES.get(bins, 2 * bins)


def _session(weights: Weights, device: str) -> Callable[[Tensor], Tensor]:
    """The network as a function of ``[batch, 4, bins, spectra]``."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    available = onnxruntime.get_available_providers()
    on_gpu = device.startswith("cuda") and "CUDAExecutionProvider" in available
    gpu: list[Any] = [("CUDAExecutionProvider", {"device_id": torch.device(device).index or 0})] if on_gpu else []
    try:
        session = onnxruntime.InferenceSession(
            weights.path.read_bytes(), options, providers=[*gpu, "CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime has no common base of its errors
        raise _invalid(weights, "onnxruntime can't read it") from error
    name = session.get_inputs()[0].name

    def run(spectra: Tensor) -> Tensor:
        found = session.run(None, {name: spectra.cpu().numpy()})[0]
        if found.shape != tuple(spectra.shape) or found.dtype != np.float32:
            raise _invalid(weights, f"it gives {_text(found.shape)} of {found.dtype} for {_text(tuple(spectra.shape))}")
        return torch.from_numpy(found).to(spectra.device)

    return run


def _text(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"


def _invalid(weights: Weights, reason: str) -> UnderstudyError:
    return UnderstudyError(
        "model-invalid",
        f"{weights.path} is no MDX-Net: {reason}.",
        "Check that it is the right file, or get it again from where it was first published.",
    )
