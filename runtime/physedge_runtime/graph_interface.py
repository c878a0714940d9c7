"""What a graph takes in and gives out, held against what its manifest declares, before an engine sees it.

Engines differ in what they do with another type or size: one refuses, another converts, a third answers something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from physedge_runtime.errors import IntegrityError
from physedge_runtime.graph_wire import Values, read_model
from physedge_runtime.ir import is_ir, unpack_ir
from physedge_runtime.ir_spelling import read_net

if TYPE_CHECKING:
    from physedge_runtime.manifest import Manifest

Value = tuple[str, tuple[int, ...]]
"""Type and sides of a tensor with its batch axis."""

_TYPES = {1: "float32", 2: "uint8"}
_IR_TYPES = {"f32": "float32", "u8": "uint8"}


def check_interface(graph: bytes, manifest: Manifest, *, origin: str) -> None:
    """Refuse a graph that does not take in one declared frame, or does not give what the manifest says.

    Args:
        graph: The ONNX file, or an entry in OpenVINO's representation; `check_graph` has passed it.
        manifest: Of its bundle.
        origin: Its name, for errors.

    Raises:
        IntegrityError: Another input or other outputs (`PE-BUNDLE-038`).
    """
    element = "uint8" if manifest.spec.frame is not None else "float32"
    wanted = [(element, (1, *manifest.spec.input_shape))]
    if is_ir(graph):
        if (found := _ir_inputs(graph)) != wanted:
            raise _refused(origin, f"the input {_shown(found)}", _shown(wanted))
        return
    body = read_model(graph)["graph"]
    constants = {tensor.get("name", "") for tensor in body["initializer"]}
    inputs = [_value(value) for value in body["input"] if value.get("name", "") not in constants]
    if inputs != wanted:
        raise _refused(origin, f"the input {_shown(inputs)}", _shown(wanted))
    outputs = {value.get("name", ""): _value(value) for value in body["output"]}
    declared = {output.name: ("float32", (1, *output.shape)) for output in manifest.outputs}
    for name in sorted(outputs.keys() | declared.keys()):
        if outputs.get(name) != declared.get(name):
            found_one = [outputs[name]] if name in outputs else []
            expected = [declared[name]] if name in declared else []
            raise _refused(origin, f"the output {name!r} {_shown(found_one)}", _shown(expected))


def _value(value: Values) -> Value:
    kind = value["type"]["tensor_type"]
    sides = tuple(axis["dim_value"] for axis in kind["shape"]["dim"])
    return _TYPES.get(kind["elem_type"], f"type {kind['elem_type']}"), sides


def _ir_inputs(graph: bytes) -> list[Value]:
    layers = read_net(unpack_ir(graph)[0]).layers
    return [_ir_value(layer.data) for layer in layers if layer.kind == "Parameter"]


def _ir_value(data: dict[str, str]) -> Value:
    sides = data.get("shape", "").split(",")
    are_whole = all(side.isascii() and side.isdigit() and len(side) < 10 for side in sides)
    kind = data.get("element_type", "")
    return _IR_TYPES.get(kind, kind[:20]), tuple(map(int, sides)) if are_whole else ()


def _shown(values: list[Value]) -> str:
    return (
        ", ".join(f"{kind} {'x'.join(map(str, sides[:8])) or 'of no size'}" for kind, sides in values[:3]) or "nothing"
    )


def _refused(origin: str, found: str, expected: str) -> IntegrityError:
    return IntegrityError(
        "PE-BUNDLE-038",
        found=f"{origin} has {found}",
        expected=f"{expected}, as the manifest declares it",
        next_step="do not use it; its maker exports the network again",
    )
