"""What a graph takes in and gives out is what its manifest declares, or neither reader hands it to an engine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import exhibits
import pytest
from native_library import Native
from tiny_network import SIDE_PX, tiny_graph
from tiny_voltages import voltage_bundle

from physedge_runtime.bundle import MANIFEST, Bundle, read_bundle, write_bundle
from physedge_runtime.errors import IntegrityError
from physedge_runtime.graph_interface import check_interface

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))
from test_ir import changed as changed_ir

_INT64, _DOUBLE = 7, 11


def input_of(kind: int) -> Callable[[Any], None]:
    return lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", kind)


def side_of(part: str, axis: int, size: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        getattr(model.graph, part)[0].type.tensor_type.shape.dim[axis].dim_value = size

    return change


def renamed(model: Any) -> None:
    model.graph.output[0].name = model.graph.node[3].output[0] = "mask"


def second_input(model: Any) -> None:
    model.graph.input.add().CopyFrom(model.graph.input[0])
    model.graph.input[1].name = "more"


def second_output(model: Any) -> None:
    model.graph.output.add().CopyFrom(model.graph.output[0])
    model.graph.output[1].name = "logits"


def no_input(model: Any) -> None:
    del model.graph.input[:]


GRAPHS: dict[str, Callable[[], bytes]] = {
    "an input of int64": lambda: exhibits.graph(input_of(_INT64)),
    "an input of float": lambda: exhibits.graph(input_of(1)),
    "a picture of another size": lambda: tiny_graph(side_px=16),
    "a batch of two": lambda: exhibits.graph(side_of("input", 0, 2)),
    "an answer of another size": lambda: exhibits.graph(side_of("output", 3, 31)),
    "an answer of another type": lambda: exhibits.graph(
        lambda model: setattr(model.graph.output[0].type.tensor_type, "elem_type", _DOUBLE)
    ),
    "an answer of another name": lambda: exhibits.graph(renamed),
    "two inputs": lambda: exhibits.graph(second_input),
    "no input": lambda: exhibits.graph(no_input),
    "an output that is not declared": lambda: exhibits.graph(second_output),
}


@pytest.mark.requirement("REQ-NATIVE-DISTRUST")
@pytest.mark.parametrize("name", GRAPHS)
def test_another_interface_is_refused_by_both_before_an_engine_sees_it(
    name: str, tmp_path: Path, native: Native, real_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from physedge_runtime import net

    def never(*_: object) -> object:
        raise AssertionError("an engine was asked")

    monkeypatch.setattr(net, "open_engine", never)
    path = exhibits.with_graph(tmp_path / "x.physedge", GRAPHS[name]())
    identifier = "PE-BUNDLE-037" if name == "no input" else "PE-BUNDLE-038"  # then a node lacks what feeds it
    with pytest.raises(IntegrityError, match=identifier) as python:
        read_bundle(path).open(engine=real_engine)
    with pytest.raises(IntegrityError, match=identifier) as ours:
        native.open(path, engine=real_engine.encode())
    assert (ours.value.found.partition(" has ")[2], ours.value.expected) == (
        python.value.found.partition(" has ")[2],
        python.value.expected,
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ('<data element_type="f32" shape="1,4"', '<data element_type="i64" shape="1,4"'),
        ('<data element_type="f32" shape="1,4"', '<data element_type="f32" shape="?,4"'),
        ('<data element_type="f32" shape="1,4"', '<data element_type="f32" shape="2,4"'),
        ('<data element_type="f32" shape="1,4"', '<data element_type="f32" shape=""'),
        ('<data element_type="f32" shape="1,4"', '<data element_type="f32"'),
        ('<data element_type="f32" shape="1,4"', '<data element_type="u8" shape="1,4"'),
    ],
)
def test_the_input_of_openvinos_form_is_held_alike(old: str, new: str, tmp_path: Path, native: Native) -> None:
    """What fits goes on to the golden frames, which are another network's."""
    path = voltage_bundle(tmp_path / "x.physedge", reference=False, count=4)
    bundle = read_bundle(path)
    write_bundle(path, bundle.manifest, {**entries_of(bundle), "model.onnx": changed_ir(old, new)})
    told = []
    for opened in (lambda: read_bundle(path).open(engine="openvino"), lambda: native.open(path, engine=b"openvino")):
        with pytest.raises(IntegrityError) as caught:
            opened()
        told.append(caught.value.identifier)
    assert told[0] == told[1]
    assert told[0].startswith("PE-BUNDLE-03") is bool(old)


def entries_of(bundle: Bundle) -> dict[str, bytes]:
    return {name: data for name, data in bundle.contents.items() if name != MANIFEST}


def test_a_graph_that_fits_passes(tmp_path: Path) -> None:
    bundle = read_bundle(exhibits.rebuilt(tmp_path / "x.physedge"))
    check_interface(tiny_graph(), bundle.manifest, origin="tiny")
    assert bundle.manifest.spec.input_shape == (SIDE_PX, SIDE_PX, 3)
