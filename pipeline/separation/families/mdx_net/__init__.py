"""MDX-Net (Kim et al. 2021, "KUIELab-MDX-Net: A Two-Stream Neural Network for Music Demixing"), as ONNX files: a U-Net
that takes the complex spectra of a window and gives those of one stem."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from understudy.errors import UnderstudyError
from understudy.models.installed import Weights
from understudy.models.onnx_file import Graph
from understudy.models.onnx_file import load as read_graph
from understudy.models.precision import Precision
from understudy.pipeline.separation.families.tensors import invalid
from understudy.pipeline.separation.layout import leading
from understudy.pipeline.separation.network import Network
from understudy.pipeline.separation.parameters import parameters
from understudy.pipeline.separation.stems import canonical_stems, purpose_of

if TYPE_CHECKING:
    from torch import Tensor

RATE = 44100
HOP = 1024
"""Frames between spectra, of all networks of the family."""
_GUESSES = {2048: 6144, 2560: 5120, 3072: 6144}
"""The n_fft of most published networks with that many bins."""
_CREDIBLE = (0.9, 1.2)
"""Range of gains that are plausible."""
_NAMED = ("reverb", "vocals", "drums", "bass", "other", "inst", "crowd", "kara")
"""Words in file names that name the stem."""
OVERLAP = 0.25
"""Share of a window that overlaps with the next one by default; as published."""
SILENT_BINS = 3
"""The lowest bins, which were zero in training."""
LARGEST = 512 << 20
"""Bytes; the published files have 28 to 67 million."""
_OPERATORS = {  # all but those that make values of any size out of a few numbers (Range, Tile, ...)
    "Abs", "Add", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Constant", "Conv",
    "ConvTranspose", "Cos", "DepthToSpace", "Div", "Dropout", "Einsum", "Elu", "Equal", "Erf", "Exp", "Flatten",
    "Floor", "GRU", "Gather", "Gelu", "Gemm", "GlobalAveragePool", "Greater", "GroupNormalization", "HardSigmoid",
    "HardSwish", "Identity", "InstanceNormalization", "LSTM", "LayerNormalization", "LeakyRelu", "Less", "Log",
    "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg", "PRelu", "Pad", "Pow", "Reciprocal", "ReduceMax", "ReduceMean",
    "ReduceSum", "Relu", "Reshape", "Resize", "Selu", "Shape", "Sigmoid", "Sin", "Slice", "Softmax", "Softplus",
    "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip

_Run = Callable[["Tensor"], "Tensor"]  # [batch, 4, bins, spectra] -> the same


@dataclass(frozen=True)
class Shape:
    """`bins` of each of `spectra` spectra per window, of `n_fft` frames each; `gain`: to multiply the result
    with."""

    n_fft: int
    bins: int
    spectra: int
    gain: float

    @property
    def window(self) -> int:
        return HOP * (self.spectra - 1)

    @property
    def trim(self) -> int:
        """Frames at either end of a window that fewer of its spectra cover."""
        return self.n_fft // 2


def stems(weights: Weights) -> tuple[str, ...]:
    """The one stem that the network in the file gives, in the design's words. Raises what `parameters` raises."""
    known = parameters(weights.path) or {}
    purpose = "karaoke" if known.get("karaoke") else purpose_of(weights.path.stem)
    return canonical_stems([_primary(weights, known)], purpose)


def load(weights: Weights, device: str, precision: Precision) -> Network:
    """The network in the ONNX file, ready to run.

    What is not in the file (n_fft, gain, stem) comes from `parameters`, or is guessed, with a caution. Spectra reach
    thousands, which is too much for 16 bits: on a GPU, matrix products use TF32 (10 bits of mantissa) unless
    `precision` is float32; on a CPU onnxruntime's float32 is the fastest there is. Raises `UnderstudyError`
    ``model-invalid`` for a file that holds no such network.
    """
    import torch

    graph = _graph(weights)
    shape, cautions = read_shape(weights, graph)
    run: _Run | None = None
    if device.startswith("cuda"):
        from understudy.pipeline.separation.families.mdx_net.program import UnknownOperator

        try:
            run = program_for_gpu(graph, device, precision)
        except UnknownOperator as error:
            cautions = (*cautions, f"The model {weights.path.name} can't use the GPU (it needs {error}); it is slow.")
    if run is None:
        run = session_of(weights)
    checked = _checked(weights, run)
    hann = torch.hann_window(shape.n_fft, device=device)
    return Network(
        stems=stems(weights),
        rate=RATE,
        window=shape.window,
        step=int((1 - OVERLAP) * shape.window),
        fade=torch.hann_window(shape.window, periodic=False).clamp(min=1e-7),
        separate=lambda windows: separate(windows, shape, hann, checked),
        device=device,
        layout=leading(shape.trim),
        cautions=cautions,
        size=weights.path.stat().st_size,
        working=shape.bins * shape.spectra * 4 * 256,
    )


def read_shape(weights: Weights, graph: Graph) -> tuple[Shape, tuple[str, ...]]:
    """The sizes of the network in the file, and cautions for its user as sentences. Raises ``model-invalid``."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise invalid(
            weights.path,
            f"it has inputs and outputs ({len(graph.inputs)}, {len(graph.outputs)}) instead of one of each",
        )
    taken = next(iter(graph.inputs.values()))
    sizes = [size or 0 for size in taken]
    if len(sizes) != 4 or sizes[1] != 4 or not (16 <= sizes[2] <= 1 << 15 and 16 <= sizes[3] <= 1 << 12):
        raise invalid(weights.path, f"it takes {described(taken)} instead of 4 channels of spectra of a known size")
    bins, spectra = sizes[2:]
    known = parameters(weights.path)
    for name, there in (("dim_f", bins), ("dim_t", spectra)):
        if known is not None and known.get(name, there) != there:
            raise invalid(weights.path, f"it takes {name} {there}, but its known parameters say {known[name]!r}")
    facts = known or {}
    n_fft, gain = facts.get("n_fft", _guessed(weights, bins)), facts.get("compensate", 1.0)
    least, most = max(2 * HOP, 2 * (bins - 1)), min(1 << 16, HOP * (spectra - 1) // 2)
    if type(n_fft) is not int or n_fft % 2 or not least <= n_fft <= most:
        raise invalid(weights.path, f"spectra of {n_fft!r} frames don't go with {bins} bins and {spectra} spectra")
    cautions = []
    if "n_fft" not in facts:
        cautions.append(
            f"Nothing is known of the model {weights.path.name}; it is run as one with spectra of {n_fft} frames "
            f"that gives the stem {stems(weights)[0]}. If that sounds wrong, put what its publisher says "
            f"(n_fft, compensate, primary_stem) into {weights.path.with_suffix('.yaml').name} beside it."
        )
    if type(gain) not in (int, float) or not _CREDIBLE[0] <= gain <= _CREDIBLE[1]:
        cautions.append(f"The gain {gain!r} given for the model {weights.path.name} can't be right; 1 is used.")
        gain = 1.0
    return Shape(n_fft, bins, spectra, float(gain)), tuple(cautions)


def described(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"


def _primary(weights: Weights, known: Mapping[str, Any]) -> str:
    facts = known.get("primary_stem")
    if isinstance(facts, str):
        return facts
    name = weights.path.stem.lower()
    found = next((word for word in _NAMED if word in name), "vocals")
    return "instrumental" if found in ("inst", "kara") else found


def _guessed(weights: Weights, bins: int) -> int:
    return 16384 if "bass" in weights.path.stem.lower() else _GUESSES.get(bins, max(2 * HOP, 2 * bins))


def separate(windows: Tensor, shape: Shape, hann: Tensor, run: _Run) -> Tensor:
    """``[batch, 2, frames]`` -> ``[batch, 1, 2, frames]``: the spectra of the window, with the real and imaginary parts
    of both channels as four channels, through the network and back."""
    import torch

    batch, channels, frames = windows.shape
    spectra = torch.stft(windows.reshape(-1, frames), shape.n_fft, HOP, window=hann, return_complex=True)
    kept = torch.view_as_real(spectra[:, : shape.bins])  # [batch * 2, bins, spectra, 2]
    parts = kept.permute(0, 3, 1, 2).reshape(batch, 2 * channels, shape.bins, -1)
    parts[:, :, :SILENT_BINS] = 0
    found = run(parts).reshape(batch * channels, 2, shape.bins, -1)
    full = torch.nn.functional.pad(found, (0, 0, 0, shape.n_fft // 2 + 1 - shape.bins))
    spectra = torch.complex(full[:, 0], full[:, 1])
    sound = torch.istft(spectra, shape.n_fft, HOP, window=hann, length=frames)
    return (shape.gain * sound).reshape(batch, 1, channels, frames)


def _graph(weights: Weights) -> Graph:
    try:
        graph = read_graph(weights.path, LARGEST)
    except UnderstudyError as error:
        if error.code == "model-damaged":
            raise UnderstudyError("model-invalid", error.message, error.hint) from error
        raise
    unknown = sorted({node.operator for node in graph.nodes} - _OPERATORS)
    if unknown:
        raise invalid(weights.path, f"no such network has the operators {', '.join(unknown)[:200]}")
    return graph


def program_for_gpu(graph: Graph, device: str, precision: Precision) -> _Run:
    import torch

    from understudy.pipeline.separation.families.mdx_net.program import program

    network = program(graph, device)

    def run(spectra: Tensor) -> Tensor:
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=precision != "float32"):
            return network(spectra)

    return run


def session_of(weights: Weights) -> _Run:
    """The network on the CPU, by onnxruntime."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.enable_mem_pattern = (
        False  # with it, the second window takes twice the memory of the first, and is no faster
    )
    options.log_severity_level = 4  # errors are raised, too
    try:
        session = onnxruntime.InferenceSession(weights.path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no base of their own
        raise invalid(weights.path, "onnxruntime can't read it") from error
    name = session.get_inputs()[0].name

    def run(spectra: Tensor) -> Tensor:
        try:
            found = session.run(None, {name: spectra.cpu().numpy()})[0]
        except Exception as error:
            raise RuntimeError(str(error)) from error
        return torch.from_numpy(np.asarray(found)).to(spectra.device)

    return run


def _checked(weights: Weights, network: _Run) -> _Run:
    """`network` with a check that its result has its input's shape, which only shows when it runs."""

    def run(spectra: Tensor) -> Tensor:
        found = network(spectra)
        if found.shape != spectra.shape or found.dtype != spectra.dtype:
            raise invalid(
                weights.path, f"it gives {described(tuple(found.shape))} for {described(tuple(spectra.shape))}"
            )
        return found

    return run
