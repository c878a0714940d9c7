"""OpenVINO's representation as one entry: it comes back as packed, and what should not stand in it is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from physedge_runtime.engines import EngineRequest, open_engine
from physedge_runtime.errors import IntegrityError
from physedge_runtime.graph_check import check_graph, graph_parts
from physedge_runtime.ir import MARK, check_ir, is_ir, pack_ir, unpack_ir

WEIGHTS = np.array([2.0], np.float32).tobytes()
PORT = '<port id="{}" precision="{}"><dim>1</dim><dim>4</dim></port>'
XML = f"""<?xml version="1.0"?>
<net name="double" version="11">
  <layers>
    <layer id="0" name="frame" type="Parameter" version="opset1">
      <data shape="1,4" element_type="f32"/>
      <rt_info><attribute name="anything" version="0" value="x"/></rt_info>
      <output>{PORT.format(0, "FP32").replace("<dim>", "<dim> ")}</output>
    </layer>
    <layer id="1" name="two" type="Const" version="opset1">
      <data element_type="f32" shape="1" offset="0" size="4"/>
      <output><port id="0" precision="FP32"><dim>1</dim></port></output>
    </layer>
    <layer id="2" name="twice" type="Multiply" version="opset1">
      <data auto_broadcast="numpy"/>
      <input>{PORT.format(0, "FP32")}<port id="1" precision="FP32"><dim>1</dim></port></input>
      <output>{PORT.format(2, "FP32").replace("<port", '<port names="probability"')}</output>
    </layer>
    <layer id="3" name="out" type="Result" version="opset1">
      <input>{PORT.format(0, "FP32")}</input>
    </layer>
  </layers>
  <edges>
    <edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>
    <edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
    <edge from-layer="2" from-port="2" to-layer="3" to-port="0"/>
  </edges>
</net>
"""


def packed(old: str = "", new: str = "", weights: bytes = WEIGHTS) -> bytes:
    assert old in XML
    return pack_ir(XML.replace(old, new, 1).encode(), weights)


def test_what_is_packed_comes_back_and_passes() -> None:
    graph = packed()
    assert is_ir(graph)
    assert unpack_ir(graph) == (XML.encode(), WEIGHTS)
    check_graph(graph, origin="double.ovir")
    operators, constants = graph_parts(graph)
    assert operators == {"Const": 1, "Multiply": 1, "Parameter": 1, "Result": 1}
    assert set(constants) == {"two"}


def test_openvino_answers_with_it() -> None:
    request = EngineRequest(
        graph=packed(), graph_sha256="0" * 64, input_shape=(1, 4), outputs={"probability": (1, 4)}, threads=1
    )
    with open_engine("openvino", request) as engine:
        answer = engine.infer(np.arange(4, dtype=np.float32)[np.newaxis])
    np.testing.assert_array_equal(answer["probability"], [[0, 2, 4, 6]])


@pytest.mark.parametrize(
    ("graph", "identifier"),
    [
        (packed("</layers>", ""), "PE-BUNDLE-030"),
        (packed()[:10], "PE-BUNDLE-030"),
        (MARK + struct.pack("<Q", 2**40) + b"<net/>", "PE-BUNDLE-030"),
        (pack_ir(b'<net name="empty" version="11"></net>', b""), "PE-BUNDLE-030"),
        (packed('type="Multiply"', 'type="ReadValue"'), "PE-BUNDLE-032"),
        (packed('type="Multiply"', 'type="TensorIterator"'), "PE-BUNDLE-032"),
        (packed('version="opset1"', 'version="extension"'), "PE-BUNDLE-033"),
        (packed('size="4"', 'size="8"'), "PE-BUNDLE-034"),
        (packed('offset="0"', 'offset="1"'), "PE-BUNDLE-034"),
        (packed('offset="0"', 'offset="-4"'), "PE-BUNDLE-034"),
        (packed('shape="1" offset', 'shape="99999999999" offset'), "PE-BUNDLE-034"),
        (packed('element_type="f32" shape="1"', 'element_type="string" shape="1"'), "PE-BUNDLE-034"),
        (packed("<dim>4</dim>", "<dim>268435457</dim>"), "PE-BUNDLE-034"),
        (packed("<dim>4</dim>", "<dim>-1</dim>"), "PE-BUNDLE-034"),
        (packed("<edges>", "<statistics></statistics><edges>"), "PE-BUNDLE-035"),
        (packed("<net ", '<!DOCTYPE net [<!ENTITY a "b">]><net '), "PE-BUNDLE-035"),
        (packed("<net ", "<?run this?><net "), "PE-BUNDLE-035"),
    ],
)
def test_what_should_not_stand_in_it_is_refused(graph: bytes, identifier: str) -> None:
    with pytest.raises(IntegrityError, match=identifier):
        check_ir(graph, origin="evil.ovir")


def test_any_byte_of_the_frame_around_it_may_be_wrong_without_another_error() -> None:
    graph = packed()
    for position in range(len(MARK), len(graph), 7):
        changed = bytearray(graph)
        changed[position] ^= 0x21
        try:
            check_ir(bytes(changed), origin="mutated")
        except IntegrityError as error:
            assert error.identifier.startswith("PE-BUNDLE-03")
