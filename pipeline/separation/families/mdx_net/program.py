"""An ONNX network as torch operations, for GPUs. onnxruntime's GPU package can't be installed beside its CPU package,
which Understudy requires; torch is there anyway. Only the operators of published MDX-Nets are known, as ONNX defines
them.

The graph becomes a list of steps in its own order. Batch normalisations are folded into the convolution before them,
and each value is dropped after its last use: the encoder's results are large, and a GPU's memory is what limits the
batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy.models.onnx_file import Graph, Node

_Function = Callable[..., Tensor]


class UnknownOperator(Exception):
    """The network has an operator, or a form of one, that is not known here."""


@dataclass(frozen=True)
class _Step:
    """``output = function(*inputs)``, values by name; those in `last` are not used by any later step."""

    function: _Function
    inputs: tuple[str, ...]
    output: str
    last: frozenset[str]


def program(graph: Graph, device: str) -> Callable[[Tensor], Tensor]:
    """The network, which has one input and one output, as a function of float32 tensors on `device`.

    Raises `UnknownOperator`.
    """
    weights = _weights(graph, device)
    nodes, weights = _folded([node for node in graph.nodes if node.operator != "Constant"], weights, graph)
    (given,), (wanted,) = graph.inputs, graph.outputs
    steps = []
    needed = {wanted}
    for node in reversed(nodes):  # from the end: a value that no later step needed is used here for the last time
        function, inputs = _function(node, weights)
        last = frozenset(inputs) - needed
        needed |= last
        steps.append(_Step(function, inputs, node.outputs[0], last))
    steps.reverse()
    # every input of a step must be the graph's input or some step's result
    made = {given, *(step.output for step in steps)}
    if wanted not in made or any(name not in made for step in steps for name in step.inputs):
        raise UnknownOperator("values that nothing makes")

    def run(values: Tensor) -> Tensor:
        held = {given: values}
        for step in steps:
            found = step.function(*(held[name] for name in step.inputs))
            for name in step.last:
                del held[name]
            held[step.output] = found
        return held[wanted]

    return run


def _weights(graph: Graph, device: str) -> dict[str, Tensor]:
    arrays = dict(graph.weights)
    for node in graph.nodes:
        if node.operator == "Constant":
            if not isinstance(node.attributes.get("value"), np.ndarray):
                raise UnknownOperator("Constant")
            arrays[node.outputs[0]] = node.attributes["value"]
    return {name: torch.from_numpy(np.array(values)).to(device) for name, values in arrays.items()}


def _folded(nodes: Sequence[Node], weights: Mapping[str, Tensor], graph: Graph) -> tuple[list[Node], dict[str, Tensor]]:
    """The nodes without batch normalisations whose input is a convolution used nowhere else, and the weights with them
    folded in."""
    uses = Counter(name for node in nodes for name in node.inputs)
    uses.update(list(graph.outputs))
    found = dict(weights)
    kept: dict[str, Node] = {}  # by output
    for node in nodes:
        before = kept.get(node.inputs[0]) if node.inputs else None
        if (
            node.operator == "BatchNormalization"
            and before is not None
            and before.operator in ("Conv", "ConvTranspose")
            and before.attributes.get("group", 1) == 1
            and uses[node.inputs[0]] == 1
        ):
            # scale * (kernel * x + bias) + shift: output channels are the first axis of a Conv, the second otherwise
            scale, shift = _scale_and_shift(node, found)
            kernel = found[before.inputs[1]]
            shape = (-1, 1, 1, 1) if before.operator == "Conv" else (1, -1, 1, 1)
            bias = found[before.inputs[2]] * scale if len(before.inputs) > 2 else 0
            names = (f"{node.outputs[0]}/kernel", f"{node.outputs[0]}/bias")
            found |= {names[0]: kernel * scale.reshape(shape), names[1]: bias + shift}
            del kept[node.inputs[0]]
            node = Node(before.operator, (before.inputs[0], *names), node.outputs, before.attributes)
        kept[node.outputs[0]] = node
    return list(kept.values()), found


def _scale_and_shift(node: Node, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    gain, offset, mean, variance = (weights[name] for name in _constants(node, weights, 4))
    scale = gain / (variance + node.attributes.get("epsilon", 1e-5)).sqrt()
    return scale, offset - mean * scale


def _constants(node: Node, weights: Mapping[str, Tensor], count: int) -> tuple[str, ...]:
    """The names of all inputs but the first, which must be weights."""
    names = tuple(name for name in node.inputs[1:] if name)
    if len(names) > count or any(name not in weights for name in names):
        raise UnknownOperator(f"{node.operator} of other inputs")
    return names


def _function(node: Node, weights: Mapping[str, Tensor]) -> tuple[_Function, tuple[str, ...]]:
    """The node as a function, and the names of its inputs that aren't weights."""
    attributes = dict(node.attributes)
    simple: Mapping[str, _Function] = {
        "Relu": torch.relu,
        "Sigmoid": torch.sigmoid,
        "Tanh": torch.tanh,
        "Identity": lambda values: values,
        "LeakyRelu": lambda values: torch.nn.functional.leaky_relu(values, attributes.get("alpha", 0.01)),
        "Transpose": lambda values: values.permute(attributes["perm"]),
    }
    pairs: Mapping[str, _Function] = {
        "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div, "MatMul": torch.matmul
    }  # fmt: skip
    if node.operator in simple and len(node.inputs) == 1 and (node.operator != "Transpose" or "perm" in attributes):
        return simple[node.operator], node.inputs
    if node.operator in pairs and len(node.inputs) == 2:
        return _with_constants(pairs[node.operator], node.inputs, weights)
    if node.operator in ("Conv", "ConvTranspose"):
        return _convolution(node, [weights[name] for name in _constants(node, weights, 2)], attributes), node.inputs[:1]
    if node.operator == "BatchNormalization":
        scale, shift = (values.reshape(1, -1, 1, 1) for values in _scale_and_shift(node, weights))
        return lambda values: torch.addcmul(shift, values, scale), node.inputs[:1]
    if node.operator == "InstanceNormalization":
        gain, offset = (weights[name] for name in _constants(node, weights, 2))
        epsilon = attributes.get("epsilon", 1e-5)
        return (
            lambda values: torch.nn.functional.instance_norm(values, weight=gain, bias=offset, eps=epsilon),
            node.inputs[:1],
        )
    raise UnknownOperator(node.operator)


def _with_constants(
    function: _Function, inputs: tuple[str, ...], weights: Mapping[str, Tensor]
) -> tuple[_Function, tuple[str, ...]]:
    first, second = (weights.get(name) for name in inputs)
    if first is not None and second is not None:
        raise UnknownOperator("arithmetic of weights")
    if first is not None:
        return lambda values: function(first, values), inputs[1:]
    if second is not None:
        return lambda values: function(values, second), inputs[:1]
    return function, inputs


def _convolution(node: Node, weights: Sequence[Tensor], attributes: Mapping[str, Any]) -> _Function:
    pads = attributes.get("pads", (0, 0, 0, 0))
    if (
        attributes.get("auto_pad", "NOTSET") != "NOTSET"
        or tuple(pads[:2]) != tuple(pads[2:])
        or "output_shape" in attributes
    ):
        raise UnknownOperator(f"{node.operator} with that padding")
    if not weights or weights[0].ndim != 4:
        raise UnknownOperator(f"{node.operator} in that many dimensions")
    kernel, bias = weights[0], weights[1] if len(weights) > 1 else None
    stride, dilation, groups = (
        attributes.get(name, default) for name, default in (("strides", (1, 1)), ("dilations", (1, 1)), ("group", 1))
    )
    padding = tuple(pads[:2])
    if node.operator == "Conv":
        return lambda values: torch.nn.functional.conv2d(values, kernel, bias, stride, padding, dilation, groups)
    extra = attributes.get("output_padding", (0, 0))
    return lambda values: torch.nn.functional.conv_transpose2d(
        values, kernel, bias, stride, padding, extra, groups, dilation
    )
