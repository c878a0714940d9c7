"""Measurements with their patterns, reference frames, and the picture of the body."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from physedge_runtime.errors import SourceError, UsageError
from physedge_runtime.frame import Frame, VoltageSpec
from physedge_runtime.results import Reconstruction, StageTimes, Trust, TrustState
from physedge_runtime.sinks.tank import draw_tank, electrode_centres, physical_image
from physedge_runtime.sources.base import Measuring, Source, SourceEnded
from physedge_runtime.sources.table import open_source
from physedge_runtime.sources.voltages import REFERENCE_FRAMES
from physedge_runtime.voltage_protocol import find_protocol

ADJACENT = find_protocol("adjacent", 8)
SPEC = VoltageSpec(count=ADJACENT.count, electrodes=8, protocol="adjacent", reference=True)


def declared(text: str, spec: VoltageSpec = SPEC) -> Source:
    source = open_source(text)
    assert isinstance(source, Measuring)
    source.open()
    source.declare(spec)
    return source


def frames_of(source: Source) -> list[Frame]:
    frames = []
    try:
        while True:
            frame = source.read()
            if frame is not None:
                frames.append(frame)
    except SourceEnded:
        return frames


def write_mat(path: Path, transfer: np.ndarray, *, electrodes: int = 8, injections: int = 8) -> np.ndarray:
    """A measurement as archives hold it, all voltages of an injection in a column; gives the adjacent frame."""
    scipy_io = pytest.importorskip("scipy.io")
    protocol = find_protocol("adjacent", electrodes)
    currents, patterns = 2.0 * protocol.currents[:, :injections], protocol.voltages
    voltages = patterns.T @ transfer @ currents
    scipy_io.savemat(path, {"CurrentPattern": currents, "MeasPattern": patterns, "Uel": voltages})
    return protocol.frame_from_potentials(transfer @ protocol.currents)


def test_a_measurement_with_its_patterns_and_its_reference(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rest = write_mat(tmp_path / "rest.mat", generator.normal(size=(8, 8)))
    now = write_mat(tmp_path / "now.mat", generator.normal(size=(8, 8)))
    (frame,) = frames_of(declared(f"{tmp_path}/now.mat?reference={tmp_path}/rest.mat"))
    assert frame.pixels.shape == (2, ADJACENT.count)
    np.testing.assert_allclose(frame.pixels, [rest, now], rtol=1e-6)


def test_a_folder_of_measurements_is_a_film(tmp_path: Path) -> None:
    folder = tmp_path / "film"
    folder.mkdir()
    generator = np.random.default_rng(1)
    rest = write_mat(tmp_path / "rest.mat", generator.normal(size=(8, 8)))
    wanted = [write_mat(folder / f"{k}.mat", generator.normal(size=(8, 8))) for k in range(3)]
    frames = frames_of(declared(f"voltages:{folder}?reference={tmp_path}/rest.mat"))
    np.testing.assert_allclose([frame.pixels[1] for frame in frames], wanted, rtol=1e-6)
    np.testing.assert_allclose([frame.pixels[0] for frame in frames], [rest] * 3, rtol=1e-6)


def test_the_first_frames_are_the_reference(tmp_path: Path) -> None:
    voltages = np.random.default_rng(2).normal(size=(REFERENCE_FRAMES + 2, ADJACENT.count)).astype(np.float32)
    np.save(tmp_path / "v.npy", voltages)
    frames = frames_of(declared(f"voltages:{tmp_path}/v.npy?reference=first"))
    assert len(frames) == 2
    np.testing.assert_allclose(frames[0].pixels[0], voltages[:REFERENCE_FRAMES].mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(frames[1].pixels[1], voltages[-1])


def test_live_voltages_take_their_reference_from_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "rest.npy", np.full(ADJACENT.count, 2.0, np.float32))
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = ",".join(["1.0"] * ADJACENT.count) + "\n"

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(line.encode())
                connection.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        source = declared(f"voltages:tcp://127.0.0.1:{server.getsockname()[1]}?reference={tmp_path}/rest.npy")
        while (frame := source.read()) is None:
            pass
        source.close()
        thread.join()
    np.testing.assert_array_equal(frame.pixels, [[2.0] * ADJACENT.count, [1.0] * ADJACENT.count])


def test_a_missing_reference_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.zeros((1, ADJACENT.count), np.float32))
    with pytest.raises(UsageError, match=r"without a reference frame.*\?reference=FILE") as caught:
        declared(f"voltages:{tmp_path}/v.npy")
    assert caught.value.identifier == "PE-SRC-018"


def test_patterns_of_another_device_are_refused(tmp_path: Path) -> None:
    write_mat(tmp_path / "few.mat", np.eye(8), injections=7)
    write_mat(tmp_path / "other.mat", np.eye(16), electrodes=16, injections=16)
    with pytest.raises(UsageError, match="lack 1 of the patterns") as caught:
        declared(f"{tmp_path}/few.mat?reference={tmp_path}/few.mat")
    assert caught.value.identifier == "PE-FRAME-003"
    with pytest.raises(UsageError, match="16 electrodes"):
        declared(f"{tmp_path}/other.mat?reference={tmp_path}/other.mat")


def test_a_reference_of_another_length(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.zeros((1, 7), np.float32))
    np.save(tmp_path / "rest.npy", np.zeros((1, ADJACENT.count), np.float32))
    source = declared(f"voltages:{tmp_path}/v.npy?reference={tmp_path}/rest.npy")
    with pytest.raises(UsageError, match="7 voltages in a frame and 40 in its reference"):
        source.read()


@pytest.mark.parametrize("content", [b"MATLAB 5.0 MAT-file", b""])
def test_a_damaged_measurement(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("scipy")
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(SourceError, match="PE-SRC-015"):
        open_source(f"{tmp_path}/a.mat").open()


def test_electrodes_stand_where_the_device_numbers_them() -> None:
    turning_left = electrode_centres(SPEC)
    turning_right = electrode_centres(VoltageSpec(count=40, electrodes=8, protocol="adjacent", clockwise=True))
    np.testing.assert_allclose(turning_left[0], [0, 0.14], atol=1e-12)
    np.testing.assert_allclose(turning_left[2], [-0.14, 0], atol=1e-12)
    np.testing.assert_allclose(turning_right[2], [0.14, 0], atol=1e-12)


def test_the_picture_shows_the_change_where_it_is() -> None:
    cv2 = pytest.importorskip("cv2")
    image = np.zeros((64, 64), np.float32)
    image[28:36, 4:12] = 1.0  # left in canonical coordinates
    result = Reconstruction(frame_id=0, captured_ns=0, age_ms=0, stages=StageTimes(), image=image, unit="1")
    clockwise = VoltageSpec(count=40, electrodes=8, protocol="adjacent", clockwise=True)
    assert physical_image(image, clockwise)[30, 56] == 1.0
    for spec, column in ((SPEC, 95), (clockwise, 361)):
        drawn = draw_tank(cv2, result, spec)
        blue, _, red = drawn[216, column].astype(int)
        assert red > blue + 50
        assert drawn[216, 228].min() > 230
    assert draw_tank(cv2, None, SPEC)[216, 228].max() < 40


def test_the_picture_crosses_the_suspect_electrode_out() -> None:
    cv2 = pytest.importorskip("cv2")
    image = np.zeros((64, 64), np.float32)
    clean = Reconstruction(frame_id=0, captured_ns=0, age_ms=0, stages=StageTimes(), image=image, unit="1")
    trust = Trust(state=TrustState.DOUBTFUL, reason="electrode 3: ...", places={"electrode": 3})
    marked = draw_tank(cv2, replace(clean, trust=trust), SPEC)
    changed = np.argwhere((marked != draw_tank(cv2, clean, SPEC)).any(axis=2))
    # Electrode 3 of 8, counter-clockwise from the top, stands at the left.
    assert changed.size
    assert changed[:, 1].max() < 60
    assert abs(changed[:, 0].mean() - 216) < 6
    blue, _, red = (marked[216, :60].astype(int)).T
    assert (red > blue + 150).any()
