"""A raw frame through the C++ library: the resize gives Python's bytes, the answers are Python's, nothing hangs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from native_build import SANITIZERS, SOURCE
from native_library import BGR, GREY, NV12, RGB, VOLTAGES, Native, OpenNet, frame
from tiny_network import SIDE_PX, tiny_contents

from physedge_runtime import Frame, load
from physedge_runtime.bundle import write_bundle
from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Colour, Crop, Fit, FrameSpec
from physedge_runtime.input_statistics import PICTURE_STATISTICS
from physedge_runtime.manifest import InputReference, Output, TrustRecord
from physedge_runtime.resize import prepare
from physedge_runtime.spec import SignalSpec, Task
from physedge_runtime.stream.look import look_at

COLOURS = {RGB: Colour.RGB, BGR: Colour.BGR, GREY: Colour.GREY}


def bundle_for(path: Path, spec: FrameSpec) -> Path:
    """A bundle of a given frame form; its graph is never run."""
    manifest, contents = tiny_contents()
    outputs = (Output(name="probability", shape=(1, spec.height, spec.width)),)
    contents["golden/0.probability"] = bytes(4 * spec.height * spec.width)
    model = manifest.spec.model_copy(update={"frame": spec})
    write_bundle(path, manifest.model_copy(update={"spec": model, "outputs": outputs}), contents)
    return path


SPECS = [
    FrameSpec(height=64, width=48),
    FrameSpec(height=192, width=192, colour=Colour.BGR),
    FrameSpec(height=31, width=200, colour=Colour.GREY),
    FrameSpec(height=64, width=64, fit=Fit.LETTERBOX),
    FrameSpec(height=96, width=50, fit=Fit.LETTERBOX, crop=Crop(left=0.1, top=0.25, width=0.77, height=0.5)),
    FrameSpec(height=40, width=40, crop=Crop(left=1 / 3, top=0.0, width=0.123, height=1.0)),
    FrameSpec(height=8, width=300, fit=Fit.LETTERBOX, colour=Colour.GREY),
]
SIZES = [
    (480, 640),
    (288, 384),
    (97, 61),
    (31, 300),
    (1, 1),
    (64, 48),
    (192, 192),
    (720, 33),
    (2, 700),
    (700, 2),
    (1080, 1920),
]


@pytest.mark.requirement("REQ-NATIVE-RESIZE")
@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.height}x{s.width}-{s.fit}-{s.colour}")
def test_the_resize_gives_the_bytes_of_python(spec: FrameSpec, tmp_path: Path, native: Native) -> None:
    generator = np.random.default_rng(0)
    with native.open(bundle_for(tmp_path / "x.physedge", spec), engine=b"fake") as net:
        for height, width in SIZES:
            for kind, colour in COLOURS.items():
                shape = (height, width) if kind == GREY else (height, width, 3)
                pixels = generator.integers(0, 256, shape, dtype=np.uint8)
                expected = prepare(Frame(pixels=pixels, colour=colour), spec)
                np.testing.assert_array_equal(net.prepare(frame(pixels, kind)), expected, f"{height}x{width} {colour}")


@pytest.mark.requirement("REQ-NATIVE-RESIZE")
def test_the_filter_is_pythons_for_every_size_of_a_side(tmp_path: Path, native: Native) -> None:
    """Where one weight differed by one, a step of full height would show it in some column."""
    generator = np.random.default_rng(1)
    spec = FrameSpec(height=8, width=224)
    with native.open(bundle_for(tmp_path / "x.physedge", spec), engine=b"fake", largest_width_px=4100) as net:
        for width in [*range(1, 1300, 3), *range(1300, 4100, 97)]:
            pixels = generator.choice(np.array([0, 255], np.uint8), (8, width))
            np.testing.assert_array_equal(
                net.prepare(frame(pixels, GREY)),
                prepare(Frame(pixels=pixels, colour=Colour.GREY), spec),
                f"width {width}",
            )


@pytest.mark.requirement("REQ-NATIVE-RESIZE")
def test_the_wide_loops_and_the_plain_ones_give_the_same_bytes(native_build: Path, tmp_path: Path) -> None:
    """Python's bytes are compared with whichever the processor has; the plain loops run on 64-bit ARM, too."""
    objects = native_build / "CMakeFiles/physedge_objects.dir/src"
    parts = [objects / f"{name}.cpp.o" for name in ("resize", "resize_avx2", "pixels", "refusal")]
    flags = ["-std=c++17", "-O1", f"-I{SOURCE / 'include'}", f"-I{SOURCE / 'src'}"]
    flags += [f"-fsanitize={SANITIZERS}"] if SANITIZERS else []
    made, source = tmp_path / "two_resizes", Path(__file__).parent / "two_resizes.cpp"
    built = subprocess.run(["g++", *flags, source, *parts, "-o", made, "-lz"], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([made, "600"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout in ("600\n", "no AVX2\n")


def test_rows_with_gaps_are_read_as_rows_without(tmp_path: Path, native: Native) -> None:
    wide = np.random.default_rng(2).integers(0, 256, (100, 160, 3), dtype=np.uint8)
    part = wide[:, :121]
    with native.open(bundle_for(tmp_path / "x.physedge", SPECS[0]), engine=b"fake") as net:
        np.testing.assert_array_equal(net.prepare(frame(part)), prepare(Frame(pixels=part), SPECS[0]))


def nv12_to_rgb(planes: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 with luma 16 to 235 and chroma 16 to 240, in float64."""
    height = planes.shape[0] * 2 // 3
    luma = planes[:height].astype(np.float64)
    chroma = planes[height:].reshape(height // 2, -1, 2).astype(np.float64).repeat(2, axis=0).repeat(2, axis=1)
    y, cb, cr = (luma - 16) / 219, (chroma[:, :, 0] - 128) / 224, (chroma[:, :, 1] - 128) / 224
    red, blue = y + 1.402 * cr, y + 1.772 * cb
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    return np.clip(np.round(255 * np.stack([red, green, blue], axis=2)), 0, 255)


def test_nv12_is_the_standards_colour_within_one_level(tmp_path: Path, native: Native) -> None:
    planes = np.random.default_rng(3).integers(0, 256, (96, 64), dtype=np.uint8)
    spec = FrameSpec(height=64, width=64)
    with native.open(bundle_for(tmp_path / "x.physedge", spec), engine=b"fake") as net:
        ours = net.prepare(frame(planes, NV12)).astype(int)
    assert np.abs(ours - nv12_to_rgb(planes)).max() <= 1


def nv12_by_whole_numbers(planes: np.ndarray) -> np.ndarray:
    """The formula in `pixels.hpp`, for the whole picture at once."""
    height = planes.shape[0] * 2 // 3
    chroma = planes[height:].reshape(height // 2, -1, 2).astype(int).repeat(2, axis=0).repeat(2, axis=1) - 128
    luma, blue, red = 298 * (planes[:height].astype(int) - 16) + 128, chroma[:, :, 0], chroma[:, :, 1]
    parts = (luma + 409 * red, luma - 100 * blue - 208 * red, luma + 516 * blue)
    return np.clip(np.stack(parts, axis=2) >> 8, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.height}x{s.width}-{s.fit}-{s.colour}")
def test_nv12_is_resized_as_the_same_picture_in_rgb(spec: FrameSpec, tmp_path: Path, native: Native) -> None:
    """Rows are converted into a ring as they are needed; here the same rows come converted before."""
    generator = np.random.default_rng(4)
    with native.open(bundle_for(tmp_path / "x.physedge", spec), engine=b"fake") as net:
        for height, width in ((480, 640), (1080, 1920), (2, 700), (700, 2), (96, 64)):
            planes = generator.integers(0, 256, (height * 3 // 2, width), dtype=np.uint8)
            rgb = nv12_by_whole_numbers(planes)
            np.testing.assert_array_equal(
                net.prepare(frame(planes, NV12)), net.prepare(frame(rgb)), f"{height}x{width}"
            )


def test_a_first_look_sees_what_pythons_sees(native: Native) -> None:
    generator = np.random.default_rng(5)
    for shape in ((48, 64, 3), (50, 61, 3), (33, 17), (1, 1)):
        for level in (256, 18, 252):
            pixels = generator.integers(min(level, 251) - 10, level, shape).astype(np.uint8)
            kind = GREY if len(shape) == 2 else BGR
            ours, expected = native.look(frame(pixels, kind)), look_at(Frame(pixels=pixels, colour=COLOURS[kind]))
            assert (ours.checksum, ours.dark_share, ours.bright_share) == (
                expected.checksum,
                expected.dark_share,
                expected.bright_share,
            )
            assert ours.format.decode() == expected.format
    for volts in (np.array([0.0, 1.0, np.nan, np.inf, 0.0], np.float32), np.zeros((2, 5), np.float32)):
        ours, expected = native.look(frame(volts, VOLTAGES)), look_at(Frame(pixels=volts))
        assert (ours.checksum, ours.dark_share, ours.bright_share, ours.format.decode()) == (
            expected.checksum,
            expected.dark_share,
            expected.bright_share,
            expected.format,
        )


# Answers.


@pytest.fixture
def tiny_net(write_tiny: Callable[..., Path], native: Native) -> object:
    with native.open(write_tiny(), engine=b"openvino", threads=1) as net:
        yield net


def test_stage_times_add_up_to_the_age(native: Native, tiny_net: OpenNet) -> None:
    pixels = np.zeros((480, 640, 3), np.uint8)
    raw = tiny_net.infer(frame(pixels, captured_ns=native.library.physedge_now_ns())).raw
    stages = raw.queue_ms + raw.preprocess_ms + raw.inference_ms + raw.postprocess_ms
    assert raw.age_ms == pytest.approx(stages, abs=1e-3)


def test_a_classifier_names_the_most_probable_class(tmp_path: Path, native: Native) -> None:
    manifest, contents = tiny_contents()
    contents = {**contents, "golden/0.probability": bytes(12)}
    spec = manifest.spec.model_copy(update={"task": Task.CLASSIFICATION, "classes": ("a", "b", "c")})
    changes = {"spec": spec, "outputs": (Output(name="probability", shape=(3,)),)}
    write_bundle(tmp_path / "x.physedge", manifest.model_copy(update=changes), contents)
    with native.open(tmp_path / "x.physedge", engine=b"fake") as net:
        answer = net.infer(frame(np.full((10, 10, 3), 51, np.uint8)))
        assert answer.raw.label == 0
        assert [net.info.class_names[i] for i in range(net.info.classes)] == [b"a", b"b", b"c"]
        np.testing.assert_allclose(answer.outputs["probability"], 0.2, atol=1e-6)


def graph_with_signals(channels: int) -> bytes:
    """Mean brightness as `trust_edge`, that of each channel as `trust_each`, zeros as the answer."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["frame"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["level"]),
        helper.make_node("ReduceMean", ["level", "sides"], ["trust_each"], keepdims=0),
        helper.make_node("ReduceMean", ["trust_each", "last"], ["trust_edge"], keepdims=1),
        helper.make_node("ReduceMin", ["level", "last_of_four"], ["least"], keepdims=1),
        helper.make_node("Transpose", ["least"], ["probability"], perm=[0, 3, 1, 2]),
    ]
    constants = {"scale": np.float32(1 / 255), "sides": np.array([1, 2]), "last": np.array([1])}
    constants["last_of_four"] = np.array([3])
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "signals",
        [value("frame", TensorProto.UINT8, [1, SIDE_PX, SIDE_PX, channels])],
        [
            value("probability", TensorProto.FLOAT, [1, 1, SIDE_PX, SIDE_PX]),
            value("trust_edge", TensorProto.FLOAT, [1, 1]),
            value("trust_each", TensorProto.FLOAT, [1, channels]),
        ],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


@pytest.mark.requirement("REQ-NATIVE-TRUST")
@pytest.mark.parametrize("colour", [Colour.RGB, Colour.BGR, Colour.GREY])
def test_trust_is_judged_as_in_python(colour: Colour, tmp_path: Path, native: Native) -> None:
    """Frames of rising brightness, so that the signals cross their limits one after the other."""
    manifest, contents = tiny_contents()
    outputs = (
        manifest.outputs[0],
        Output(name="trust_edge", shape=(1,)),
        Output(name="trust_each", shape=(colour.channels,)),
    )
    usual = dict.fromkeys(PICTURE_STATISTICS, 0.4)
    record = TrustRecord(
        signals={
            "edge": SignalSpec(reason="the contour is elsewhere", doubtful_above=0.3, void_above=0.6),
            "each": SignalSpec(each="electrode", doubtful_above=0.5),
            "input": SignalSpec(doubtful_above=1.7),
        },
        input=InputReference(middle=usual, spread={**dict.fromkeys(usual, 0.35), "sharpness": 5.0}),
    )
    entries = {"probability": "golden/0.probability", "trust_edge": "golden/0.edge", "trust_each": "golden/0.each"}
    changes = {
        "spec": manifest.spec.model_copy(update={"frame": FrameSpec(height=SIDE_PX, width=SIDE_PX, colour=colour)}),
        "outputs": outputs,
        "trust": record,
        "golden": (manifest.golden[0].model_copy(update={"outputs": entries}),),
        "artefacts": (manifest.artefacts[0].model_copy(update={"golden_mean_bound": 9.0, "golden_max_bound": 9.0}),),
    }
    contents |= {"model.onnx": graph_with_signals(colour.channels), "golden/0.edge": bytes(4)}
    contents["golden/0.each"] = bytes(4 * colour.channels)
    path = tmp_path / "x.physedge"
    write_bundle(path, manifest.model_copy(update=changes), contents)
    generator, states = np.random.default_rng(9), set()
    with load(path).open(engine="openvino") as python, native.open(path, engine=b"openvino") as net:
        for level in range(0, 250, 12):
            pixels = generator.integers(level, level + 5 + level // 50, (40, 50, 3)).astype(np.uint8)
            pixels[:, :, 0] = pixels[:, :, 0] * 0.8
            expected, ours = python.infer(pixels).trust, net.infer(frame(pixels)).raw
            assert ("ok", "doubtful", "void")[ours.trust] == expected.state
            assert ours.trust_reason.decode() == expected.reason
            signals = {one.name.decode(): one.value for one in ours.signal[: ours.signals]}
            assert signals == pytest.approx(expected.signals, rel=1e-5, abs=1e-9)
            states.add(expected.state)
    assert len(states) == 3


# What must not happen.


def test_what_is_no_frame_is_refused(native: Native, tiny_net: OpenNet) -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    for change in (
        {"width_px": 0},
        {"pixels": None},
        {"stride_bytes": 20},
        {"format": 9},
        {"format": NV12, "height_px": 19},
    ):
        broken = frame(pixels)
        for name, value in change.items():
            setattr(broken, name, value)
        with pytest.raises(UsageError, match="PE-FRAME-001"):
            tiny_net.infer(broken)
    with pytest.raises(UsageError, match="PE-NATIVE-007"):
        tiny_net.infer(frame(np.zeros((20, 1921, 3), np.uint8)))
    with pytest.raises(UsageError, match="PE-NATIVE-001"):
        native.check(lambda e: native.library.physedge_net_infer(None, None, None, e))


def test_too_little_room_is_refused(tiny_net: OpenNet) -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    tiny_net.result.mask_bytes = 5
    with pytest.raises(UsageError, match="PE-NATIVE-001"):
        tiny_net.infer(frame(pixels))
    tiny_net.result.mask_bytes, tiny_net.result.output_floats[0] = SIDE_PX * SIDE_PX, 5
    with pytest.raises(UsageError, match="PE-NATIVE-001"):
        tiny_net.infer(frame(pixels))
