"""Small ONNX files, written byte by byte: protocol buffers need no library where only a few fields are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def whole(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def part(number: int, content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(name: str, values: np.ndarray) -> bytes:
    kind = {"float32": 1, "int64": 7}[str(values.dtype)]
    shape = b"".join(whole(1, size) for size in values.shape)
    return shape + whole(2, kind) + part(8, name) + part(9, values.tobytes())


def attribute(name: str, value: Any) -> bytes:
    if isinstance(value, float):
        return part(1, name) + varint(2 << 3 | 5) + np.float32(value).tobytes() + whole(20, 1)
    if isinstance(value, int):
        return part(1, name) + whole(3, value) + whole(20, 2)
    if isinstance(value, str):
        return part(1, name) + part(4, value) + whole(20, 3)
    return part(1, name) + b"".join(whole(8, each) for each in value) + whole(20, 7)


def node(operator: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attributes: Any) -> bytes:
    content = b"".join(part(1, name) for name in inputs) + b"".join(part(2, name) for name in outputs)
    content += part(3, outputs[0]) + part(4, operator)
    content += b"".join(part(5, attribute(name, value)) for name, value in attributes.items())
    return content + part(7, domain)


def value(name: str, shape: Sequence[Any]) -> bytes:
    sizes = b"".join(part(1, whole(1, size) if isinstance(size, int) else part(2, size)) for size in shape)
    return part(1, name) + part(2, part(1, whole(1, 1) + part(2, sizes)))


def model(
    nodes: Sequence[bytes],
    weights: Mapping[str, np.ndarray] | Sequence[bytes],
    inputs: Mapping[str, Sequence[Any]],
    outputs: Mapping[str, Sequence[Any]],
    extra: bytes = b"",
) -> bytes:
    tensors = [tensor(name, values) for name, values in weights.items()] if isinstance(weights, Mapping) else weights
    graph = b"".join(part(1, each) for each in nodes) + part(2, "graph") + b"".join(part(5, each) for each in tensors)
    graph += b"".join(part(11, value(name, shape)) for name, shape in inputs.items())
    graph += b"".join(part(12, value(name, shape)) for name, shape in outputs.items())
    return whole(1, 8) + part(2, "tests") + part(7, graph) + part(8, part(1, "") + whole(2, 13)) + extra


@dataclass
class MDXNet:
    """The U-Net of MDX-Net with random weights: `width` channels, one more `width` at each of `depth` levels."""

    bins: int
    spectra: int
    width: int = 4
    depth: int = 2
    layers: int = 1
    seed: int = 0
    nodes: list[bytes] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def write(self, path: Path) -> Path:
        self.random = np.random.default_rng(self.seed)
        at = self._normal(self._conv("input", 4, self.width, 1))
        at = self._add("Transpose", [at], perm=[0, 1, 3, 2])
        channels, bins, skips = self.width, self.bins, []
        for _ in range(self.depth):
            at = self._block(at, channels, bins)
            skips.append(at)
            at = self._normal(self._conv(at, channels, channels + self.width, 2, strides=[2, 2]))
            channels, bins = channels + self.width, bins // 2
        at = self._block(at, channels, bins)
        for skip in reversed(skips):
            kernel = self._random((channels, channels - self.width, 2, 2), channels)
            channels, bins = channels - self.width, bins * 2
            at = self._add("ConvTranspose", [at, kernel], kernel_shape=[2, 2], strides=[2, 2])
            at = self._add("Mul", [self._normal(at, channels), skip])
            at = self._block(at, channels, bins)
        at = self._add("Transpose", [at], perm=[0, 1, 3, 2])
        self._conv(at, channels, 4, 1, name="output")
        shape = ["batch_size", 4, self.bins, self.spectra]
        path.write_bytes(model(self.nodes, self.weights, {"input": shape}, {"output": shape}))
        return path

    def _block(self, at: str, channels: int, bins: int) -> str:
        for _ in range(self.layers):
            at = self._normal(self._conv(at, channels, channels, 3, pads=[1, 1, 1, 1]))
        dense = at
        for into, out in ((bins, max(1, bins // 8)), (max(1, bins // 8), bins)):
            dense = self._normal(self._add("MatMul", [dense, self._random((into, out), into)]), channels)
        return self._add("Add", [at, dense])

    def _conv(self, at: str, into: int, out: int, size: int, name: str | None = None, **attributes: Any) -> str:
        inputs = [at, self._random((out, into, size, size), into * size * size), self._random((out,), 100)]
        self.channels = out
        return self._add("Conv", inputs, name, kernel_shape=[size, size], **attributes)

    def _normal(self, at: str, channels: int | None = None) -> str:
        """Batch normalisation with statistics of its own, then a rectifier."""
        size = channels or self.channels
        names = [self._put(self.random.uniform(0.5, 1.5, size)) for _ in range(2)]
        names += [self._put(self.random.normal(0, 0.1, size)), self._put(self.random.uniform(0.5, 1.5, size))]
        self.channels = size
        return self._add("Relu", [self._add("BatchNormalization", [at, *names], epsilon=1e-5)])

    def _random(self, shape: tuple[int, ...], inputs: int) -> str:
        return self._put(self.random.normal(0, (2 / inputs) ** 0.5, shape))

    def _put(self, values: np.ndarray) -> str:
        name = f"weight{len(self.weights)}"
        self.weights[name] = values.astype(np.float32)
        return name

    def _add(self, operator: str, inputs: Sequence[str], name: str | None = None, **attributes: Any) -> str:
        name = name or f"value{len(self.nodes)}"
        self.nodes.append(node(operator, inputs, [name], **attributes))
        return name
