"""What every engine of libphysedge owes: Python's answers, its refusals, a waiting that ends, one thread at a time."""

from __future__ import annotations

import ctypes as c
from collections.abc import Callable
from pathlib import Path

import exhibits
import numpy as np
import pytest
from native_build import ENGINES
from native_contract import *  # noqa: F403 - its tests, for every engine
from native_library import VOLTAGES, Native, OpenNet, Region, frame
from tiny_network import SIDE_PX, tiny_graph
from tiny_voltages import voltage_bundle

from physedge_runtime import load
from physedge_runtime.errors import IntegrityError, PhysedgeError, UsageError
from physedge_runtime.frame import FrameSpec
from physedge_runtime.resize import to_frame
from physedge_runtime.results import Reconstruction, Segmentation
from physedge_runtime.sinks.measure import regions


def test_the_library_names_its_engines(native: Native) -> None:
    assert native.engines == tuple(name for name in ENGINES if name in native.engines)
    assert native.engines[-1] == "fake"


@pytest.mark.requirement("REQ-NATIVE-SAME-ANSWERS")
@pytest.mark.parametrize("threads", [1, 2])
def test_answers_and_masks_are_those_of_python(
    real_engine: str, threads: int, write_tiny: Callable[..., Path], native: Native
) -> None:
    generator, path = np.random.default_rng(6), write_tiny()
    with (
        load(path).open(engine=real_engine, threads=threads) as python,
        native.open(path, engine=real_engine.encode(), threads=threads) as tiny_net,
    ):
        for size in ((40, 50), (480, 640), (32, 32), (7, 300)):
            pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
            expected, ours = python.infer(pixels), tiny_net.infer(frame(pixels, frame_id=9))
            assert isinstance(expected, Segmentation)
            assert ours.mask is not None
            np.testing.assert_array_equal(ours.mask, expected.mask)
            np.testing.assert_array_equal(ours.outputs["probability"], expected.probability)
            assert (ours.raw.frame_id, ours.raw.finite, ours.raw.trust) == (9, 1, 0)
            check_region(native, tiny_net, expected)
            check_labels(native, tiny_net, expected.mask, size)
        assert tiny_net.info.engine.decode() == python.engine
        assert tiny_net.info.golden_frames == 1
        assert tiny_net.info.golden_max_error < 1e-6


def check_region(native: Native, net: OpenNet, expected: Segmentation) -> None:
    region = Region()
    native.check(lambda e: native.library.physedge_net_region(net.handle, c.byref(net.result), 1, c.byref(region), e))
    wanted = regions(expected, None)["lesion"]
    assert region.area_fraction == pytest.approx(wanted.area_fraction)
    assert wanted.centroid_px is not None
    assert (region.centroid_x_px, region.centroid_y_px) == pytest.approx(wanted.centroid_px)
    assert (region.left_px, region.top_px, region.right_px, region.bottom_px) == wanted.box_px


def check_labels(native: Native, net: OpenNet, mask: np.ndarray, size: tuple[int, int]) -> None:
    labels = np.full(size, 9, np.uint8)
    native.check(
        lambda e: native.library.physedge_net_to_frame(
            net.handle, mask.ctypes.data, size[1], size[0], labels.ctypes.data, 0, e
        )
    )
    np.testing.assert_array_equal(labels, to_frame(mask, FrameSpec(height=SIDE_PX, width=SIDE_PX), size))


@pytest.mark.parametrize("reference", [False, True])
def test_voltages_become_an_image(engine: str, reference: bool, tmp_path: Path, native: Native) -> None:
    path = voltage_bundle(tmp_path / "eit.physedge", reference=reference)
    volts = np.random.default_rng(7).normal(size=(2, 12) if reference else 12).astype(np.float32)
    with load(path).open(engine=engine) as python, native.open(path, engine=engine.encode()) as net:
        assert (net.info.voltages, net.info.voltage_frames) == (12, 2 if reference else 1)
        ours, expected = net.infer(frame(volts, VOLTAGES)), python.infer(volts)
        assert isinstance(expected, Reconstruction)
        np.testing.assert_allclose(ours.outputs["image"], expected.image, atol=1e-6)
        if engine != "fake":
            np.testing.assert_allclose(ours.outputs["spread"], -ours.outputs["image"], atol=1e-6)
            np.testing.assert_allclose(ours.outputs["image"], volts.flat[0] + 0.5, atol=1e-6)
        with pytest.raises(UsageError, match="PE-FRAME-002"):
            net.infer(frame(np.zeros(5, np.float32), VOLTAGES))
        volts[:] = np.nan
        raw = net.infer(frame(volts, VOLTAGES)).raw
        assert (raw.finite, raw.trust, raw.trust_reason) == (0, 2, b"image is not finite")


def test_the_fake_answers_as_pythons_fake(write_tiny: Callable[..., Path], native: Native) -> None:
    path = write_tiny()
    pixels = np.random.default_rng(8).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    with load(path).open(engine="fake") as python, native.open(path, engine=b"fake") as net:
        expected = python.infer(pixels)
        assert isinstance(expected, Segmentation)
        np.testing.assert_allclose(net.infer(frame(pixels)).outputs["probability"], expected.probability, atol=1e-6)


def test_an_unknown_engine_and_precision_are_refused(write_tiny: Callable[..., Path], native: Native) -> None:
    with pytest.raises(UsageError, match="PE-ENGINE-001"):
        native.open(write_tiny(), engine=b"abacus")
    with pytest.raises(UsageError, match="PE-ENGINE-003"):
        native.open(write_tiny(), engine=b"fake", precision=b"int8")


def test_a_graph_that_the_engine_refuses_is_told(real_engine: str, tmp_path: Path, native: Native) -> None:
    path = exhibits.with_graph(tmp_path / "x.physedge", exhibits.operator("Hardmax"))
    try:
        native.open(path, engine=real_engine.encode()).close()
    except PhysedgeError as error:
        assert error.identifier in ("PE-ENGINE-002", "PE-BUNDLE-020", "PE-BUNDLE-021")
    broken = exhibits.graph(lambda model: model.graph.node[2].input.__setitem__(1, "nowhere"))
    with pytest.raises(IntegrityError, match="PE-BUNDLE-037"):
        native.open(exhibits.with_graph(tmp_path / "y.physedge", broken), engine=real_engine.encode())


def graph_with(change: Callable[[object], object]) -> bytes:
    """The tiny graph with a change to its model."""
    from onnx import ModelProto

    model = ModelProto.FromString(tiny_graph())
    change(model)
    data: bytes = model.SerializeToString()
    return data


@pytest.mark.parametrize("fault", ["another size", "another name", "another number of inputs", "another type"])
def test_a_graph_that_cannot_answer_is_refused(fault: str, real_engine: str, tmp_path: Path, native: Native) -> None:
    from onnx import TensorProto, helper

    def rename(model: object) -> None:
        model.graph.output[0].name = model.graph.node[-1].output[0] = "answer"  # type: ignore[attr-defined]

    def add_an_input(model: object) -> None:
        graph = model.graph  # type: ignore[attr-defined]
        graph.input.append(helper.make_tensor_value_info("gain", TensorProto.FLOAT, [1]))
        graph.node.append(helper.make_node("Mul", ["probability", "gain"], ["gained"]))
        graph.output.append(helper.make_tensor_value_info("gained", TensorProto.FLOAT, [1, 1, SIDE_PX, SIDE_PX]))

    def answer_in_bytes(model: object) -> None:
        graph = model.graph  # type: ignore[attr-defined]
        graph.node[-1].output[0] = "real"
        graph.node.append(helper.make_node("Cast", ["real"], ["probability"], to=TensorProto.UINT8))
        graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8

    graphs = {
        "another size": lambda: tiny_graph(side_px=16),
        "another name": lambda: graph_with(rename),
        "another number of inputs": lambda: graph_with(add_an_input),
        "another type": lambda: graph_with(answer_in_bytes),
    }
    path = exhibits.with_graph(tmp_path / "x.physedge", graphs[fault]())
    with pytest.raises(IntegrityError, match="PE-BUNDLE-038"):
        native.open(path, engine=real_engine.encode())
