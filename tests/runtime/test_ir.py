"""OpenVINO's representation as one entry: it comes back as packed, and what should not stand in it is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from physedge_runtime.engines import EngineRequest, open_engine
from physedge_runtime.errors import IntegrityError
from physedge_runtime.graph_check import check_graph, graph_parts
from physedge_runtime.ir import MARK, is_ir, pack_ir, packed, unpack_ir
from physedge_runtime.ir_spelling import spelled

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


OURS = spelled(XML.encode(), WEIGHTS)[0].decode()


def changed(old: str = "", new: str = "", weights: bytes = WEIGHTS) -> bytes:
    """The graph in our spelling, with one part for another."""
    assert old in OURS
    return packed(OURS.replace(old, new, 1).encode(), weights)


def told(graph: bytes) -> str:
    """The identifier of the refusal, or `taken`."""
    try:
        check_graph(graph, origin="x.ovir")
    except IntegrityError as error:
        return error.identifier
    return "taken"


def test_what_openvino_wrote_is_packed_in_our_spelling() -> None:
    assert told(packed(XML.encode(), WEIGHTS)) == "PE-BUNDLE-036"
    graph = pack_ir(XML.encode(), WEIGHTS)
    assert graph == changed()
    assert is_ir(graph)
    assert unpack_ir(graph) == (OURS.encode(), WEIGHTS)
    assert told(graph) == "taken"
    assert pack_ir(*unpack_ir(graph)) == graph
    operators, constants = graph_parts(graph)
    assert operators == {"Const": 1, "Multiply": 1, "Parameter": 1, "Result": 1}
    assert set(constants) == {"two"}


def test_constants_are_laid_one_behind_the_other() -> None:
    """Notes go, a name that is not ASCII loses that, bytes that nobody names are left out."""
    xml = XML.replace('offset="0"', 'offset="3"').replace('name="two"', 'name="zw\u00f6lf &lt;2&gt;"')
    graph = pack_ir(xml.encode(), b"abc" + WEIGHTS + b"def")
    assert unpack_ir(graph)[1] == WEIGHTS
    assert b"rt_info" not in graph
    assert b'name="zw_lf &lt;2&gt;"' in graph
    assert told(graph) == "taken"
    assert set(graph_parts(graph)[1]) == {"zw_lf <2>"}


def test_openvino_answers_with_it() -> None:
    request = EngineRequest(
        graph=changed(), graph_sha256="0" * 64, input_shape=(1, 4), outputs={"probability": (1, 4)}, threads=1
    )
    with open_engine("openvino", request) as engine:
        answer = engine.infer(np.arange(4, dtype=np.float32)[np.newaxis])
    np.testing.assert_array_equal(answer["probability"], [[0, 2, 4, 6]])


SPELLINGS: dict[str, tuple[bytes, str]] = {
    "a part left out": (changed("</layers>", ""), "PE-BUNDLE-036"),
    "cut short": (changed()[:10], "PE-BUNDLE-030"),
    "a length beyond its end": (MARK + struct.pack("<Q", 2**40) + b"<net/>", "PE-BUNDLE-030"),
    "no layer": (packed(b'<net name="x" version="11"><layers></layers><edges></edges></net>', b""), "PE-BUNDLE-030"),
    "a state": (changed('type="Multiply"', 'type="ReadValue"'), "PE-BUNDLE-032"),
    "a loop": (changed('type="Multiply"', 'type="TensorIterator"'), "PE-BUNDLE-032"),
    "an operator in small letters": (changed('type="Multiply"', 'type="multiply"'), "PE-BUNDLE-032"),
    "an extension": (changed('version="opset1"', 'version="extension"'), "PE-BUNDLE-033"),
    "a set in full-width digits": (changed('version="opset1"', 'version="opset\uff11"'), "PE-BUNDLE-036"),
    "a set with a zero before": (changed('version="opset1"', 'version="opset01"'), "PE-BUNDLE-033"),
    "a constant of another size": (changed('size="4"', 'size="8"'), "PE-BUNDLE-034"),
    "a constant behind a gap": (changed('offset="0"', 'offset="1"', b"x" + WEIGHTS), "PE-BUNDLE-036"),
    "a constant before the first": (changed('offset="0"', 'offset="-4"'), "PE-BUNDLE-036"),
    "a size with a sign": (changed('size="4"', 'size="+4"'), "PE-BUNDLE-036"),
    "a size with a space": (changed('size="4"', 'size=" 4"'), "PE-BUNDLE-036"),
    "a size with a no-break space": (changed('size="4"', 'size="4\u00a0"'), "PE-BUNDLE-036"),
    "a constant of another shape": (changed('shape="1" size', 'shape="99999999999" size'), "PE-BUNDLE-034"),
    "a constant of text": (changed('element_type="f32" offset', 'element_type="string" offset'), "PE-BUNDLE-034"),
    "a huge side": (changed("<dim>4</dim>", "<dim>268435457</dim>"), "PE-BUNDLE-034"),
    "a side of any size": (changed("<dim>4</dim>", "<dim>-1</dim>"), "PE-BUNDLE-034"),
    "a side with a remark in it": (changed("<dim>4</dim>", "<dim>4<!-- 9 --></dim>"), "PE-BUNDLE-036"),
    "a side as a section": (changed("<dim>4</dim>", "<dim><![CDATA[4]]></dim>"), "PE-BUNDLE-036"),
    "a side as an entity": (changed("<dim>4</dim>", "<dim>&#52;</dim>"), "PE-BUNDLE-036"),
    "a name with an entity": (changed('name="two"', 'name="&#116;wo"'), "PE-BUNDLE-036"),
    "more axes than any tensor": (changed("<dim>4</dim>", "<dim>4</dim>" + "<dim>1</dim>" * 10), "PE-BUNDLE-034"),
    "bytes behind the constants": (changed(weights=WEIGHTS + b"x"), "PE-BUNDLE-036"),
    "bytes behind the net": (changed("</net>", "</net>\n"), "PE-BUNDLE-036"),
    "a second net": (changed("</net>", "</net><net/>"), "PE-BUNDLE-036"),
    "a second list of layers": (changed("</layers>", "</layers><layers></layers>"), "PE-BUNDLE-036"),
    "a layer in a layer": (
        changed('<data auto_broadcast="numpy"/>', '<layer id="9" name="x" type="Add" version="opset1"></layer>'),
        "PE-BUNDLE-036",
    ),
    "a note": (changed("<edges>", "<rt_info></rt_info><edges>"), "PE-BUNDLE-036"),
    "a space": (changed("<layers>", "<layers> "), "PE-BUNDLE-036"),
    "another order": (changed('id="1" name="two"', 'name="two" id="1"'), "PE-BUNDLE-036"),
    "attributes in another order": (
        changed('element_type="f32" shape="1,4"', 'shape="1,4" element_type="f32"'),
        "PE-BUNDLE-036",
    ),
    "an attribute twice": (
        changed('auto_broadcast="numpy"', 'auto_broadcast="numpy" auto_broadcast="numpy"'),
        "PE-BUNDLE-036",
    ),
    "a document type": (changed("<net ", '<!DOCTYPE net [<!ENTITY a "b">]><net '), "PE-BUNDLE-036"),
    "an instruction": (changed("<net ", "<?run this?><net "), "PE-BUNDLE-036"),
    "another encoding": (packed(OURS.encode("utf-16"), WEIGHTS), "PE-BUNDLE-036"),
    "a mark of bytes": (packed(b"\xef\xbb\xbf" + OURS.encode(), WEIGHTS), "PE-BUNDLE-036"),
    "other quotes": (changed('name="double"', "name='double'"), "PE-BUNDLE-036"),
    "no edge to an input": (
        changed('<edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>', ""),
        "PE-BUNDLE-036",
    ),
    "an edge from behind": (changed('from-layer="1"', 'from-layer="2"'), "PE-BUNDLE-036"),
    "an edge from an input": (changed('from-layer="2" from-port="2"', 'from-layer="2" from-port="1"'), "PE-BUNDLE-036"),
    "an edge from nowhere": (changed('from-layer="2" from-port="2"', 'from-layer="2" from-port="3"'), "PE-BUNDLE-036"),
    "an edge to nowhere": (
        changed("</edges>", '<edge from-layer="2" from-port="2" to-layer="3" to-port="1"/></edges>'),
        "PE-BUNDLE-036",
    ),
    "an edge between two shapes": (changed('from-layer="1" from', 'from-layer="0" from'), "PE-BUNDLE-034"),
    "a long name": (changed('name="two"', f'name="{"x" * 5000}"'), "PE-BUNDLE-036"),
    "a number of 19 digits": (changed('version="11"', f'version="{"1" * 19}"'), "PE-BUNDLE-036"),
    "more layers than any network": (
        changed(
            "</layers>",
            "".join(f'<layer id="{index}" name="" type="Add" version="opset1"></layer>' for index in range(4, 20_002))
            + "</layers>",
        ),
        "PE-BUNDLE-034",
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_another_spelling_is_refused(name: str) -> None:
    graph, identifier = SPELLINGS[name]
    assert told(graph) == identifier


def test_any_byte_of_the_xml_that_is_another_is_refused_or_another_value() -> None:
    """No byte is skipped: what is taken with another byte reads as another net."""
    length = len(OURS)
    for position in range(length):
        for flip in (0x01, 0x20, 0x80):
            other = bytearray(OURS.encode())
            other[position] ^= flip
            graph = packed(bytes(other), WEIGHTS)
            identifier = told(graph)
            assert identifier == "taken" or identifier.startswith("PE-BUNDLE-03")
            if identifier == "taken":
                assert pack_ir(*unpack_ir(graph)) == graph
