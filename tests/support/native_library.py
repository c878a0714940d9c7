"""libphysedge from Python: the structures of physedge.h, and the few calls that the tests make."""

from __future__ import annotations

import ctypes as c
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from physedge_runtime import errors
from physedge_runtime.errors import PhysedgeError

MOST_OUTPUTS, MOST_AXES = 16, 6
RGB, BGR, GREY, NV12, VOLTAGES = range(5)
STAGES = ("open", "preprocess", "engine", "done")
WATCHDOG = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_int)
RELEASE = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p)


class Error(c.Structure):
    _fields_ = [
        ("status", c.c_int),
        ("identifier", c.c_char * 16),
        ("found", c.c_char * 352),
        ("expected", c.c_char * 192),
        ("next_step", c.c_char * 192),
    ]


class BundleInfo(c.Structure):
    _fields_ = [
        *(
            (n, c.c_char_p)
            for n in ["name", "version", "task", "verdict", "target", "trust", "sha256", "manifest_sha256"]
        ),
        ("release", c.c_uint64),
    ]


class OpenOptions(c.Structure):
    _fields_ = [
        ("engine", c.c_char_p),
        ("precision", c.c_char_p),
        ("cache_folder", c.c_char_p),
        *((n, c.c_uint32) for n in ["threads", "largest_width_px", "largest_height_px", "hang_ms", "watchdog_ms"]),
        ("allow_rejected", c.c_int),
        ("only_as_exported", c.c_int),
        ("watchdog", WATCHDOG),
        ("watchdog_context", c.c_void_p),
    ]


class OutputInfo(c.Structure):
    _fields_ = [
        ("name", c.c_char_p),
        ("unit", c.c_char_p),
        ("rank", c.c_size_t),
        ("shape", c.c_size_t * MOST_AXES),
        ("floats", c.c_size_t),
    ]


class NetInfo(c.Structure):
    _fields_ = [
        ("task", c.c_int),
        *((n, c.c_char_p) for n in ["engine", "engine_name", "graph", "precision", "bundle_trust"]),
        *((n, c.c_uint32) for n in ["width_px", "height_px", "channels", "voltages", "voltage_frames"]),
        ("mask_bytes", c.c_size_t),
        ("outputs", c.c_size_t),
        ("output", OutputInfo * MOST_OUTPUTS),
        ("classes", c.c_size_t),
        ("class_names", c.POINTER(c.c_char_p)),
        ("arena_bytes", c.c_size_t),
        ("golden_frames", c.c_size_t),
        *((n, c.c_double) for n in ["golden_mean_error", "golden_max_error"]),
        ("computes_as_exported", c.c_int),
        *((n, c.c_double) for n in ["own_mean_error", "own_max_error", "load_ms", "golden_ms", "area_limit"]),
    ]


class Frame(c.Structure):
    _fields_ = [
        ("format", c.c_int),
        ("width_px", c.c_uint32),
        ("height_px", c.c_uint32),
        ("pixels", c.c_void_p),
        ("stride_bytes", c.c_size_t),
        ("chroma", c.c_void_p),
        ("chroma_stride_bytes", c.c_size_t),
        ("voltages", c.c_void_p),
        ("voltage_count", c.c_size_t),
        ("frame_id", c.c_uint64),
        ("captured_ns", c.c_int64),
    ]


class Signal(c.Structure):
    _fields_ = [("name", c.c_char_p), ("value", c.c_double)]


class Result(c.Structure):
    _fields_ = [
        ("mask", c.c_void_p),
        ("mask_bytes", c.c_size_t),
        ("output", c.c_void_p * MOST_OUTPUTS),
        ("output_floats", c.c_size_t * MOST_OUTPUTS),
        ("frame_id", c.c_uint64),
        ("captured_ns", c.c_int64),
        *((n, c.c_double) for n in ["age_ms", "queue_ms", "preprocess_ms", "inference_ms", "postprocess_ms"]),
        ("finite", c.c_int),
        ("trust", c.c_int),
        ("trust_reason", c.c_char * 512),
        ("signals", c.c_size_t),
        ("signal", Signal * (MOST_OUTPUTS + 1)),
        ("foreground_points", c.c_uint64),
        *((n, c.c_uint32) for n in ["label", "frame_width_px", "frame_height_px"]),
    ]


class Region(c.Structure):
    _fields_ = [
        ("area_fraction", c.c_double),
        ("is_empty", c.c_int),
        ("centroid_x_px", c.c_double),
        ("centroid_y_px", c.c_double),
        *((n, c.c_int32) for n in ["left_px", "top_px", "right_px", "bottom_px"]),
    ]


class Look(c.Structure):
    _fields_ = [
        ("checksum", c.c_uint32),
        ("dark_share", c.c_double),
        ("bright_share", c.c_double),
        ("format", c.c_char * 48),
    ]


class Trusted(c.c_void_p):
    """A handle of whom to believe."""


class Bundle(c.c_void_p):
    """A handle of a bundle."""


class Net(c.c_void_p):
    """A handle of a network."""


_KINDS = {
    kind.exit_status: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and kind.__base__ is PhysedgeError
}


def frame(pixels: np.ndarray, kind: int = RGB, *, frame_id: int = 0, captured_ns: int = 0) -> Frame:
    """A frame over an array, which it keeps alive; rows may have gaps."""
    made = Frame(format=kind, frame_id=frame_id, captured_ns=captured_ns)
    made.array = pixels  # the structure holds an address only
    if kind == VOLTAGES:
        made.voltages, made.voltage_count = pixels.ctypes.data, pixels.size
        made.height_px = 2 if pixels.ndim == 2 else 0
        return made
    rows = pixels.shape[0] * 2 // 3 if kind == NV12 else pixels.shape[0]
    made.width_px, made.height_px = pixels.shape[1], rows
    made.pixels, made.stride_bytes = pixels.ctypes.data, pixels.strides[0]
    return made


@dataclass
class Answer:
    """A result with the arrays that it was written to."""

    raw: Result
    mask: np.ndarray | None
    outputs: dict[str, np.ndarray]


class OpenNet:
    """A network that was opened; use as a context manager."""

    def __init__(self, native: Native, bundle: Bundle, **options: object) -> None:
        self.native = native
        wanted = native.library.physedge_open_defaults()
        for name, value in options.items():
            setattr(wanted, name, value)
        self.handle = Net()
        native.check(
            lambda error: native.library.physedge_net_open(bundle, c.byref(wanted), c.byref(self.handle), error)
        )
        self.info = NetInfo()
        native.library.physedge_net_describe(self.handle, c.byref(self.info))
        shapes = {one.name.decode(): tuple(one.shape[: one.rank]) for one in self.info.output[: self.info.outputs]}
        self.outputs = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        self.mask = np.zeros((self.info.height_px, self.info.width_px), np.uint8) if self.info.mask_bytes else None
        self.result = Result()
        for index, values in enumerate(self.outputs.values()):
            self.result.output[index], self.result.output_floats[index] = values.ctypes.data, values.size
        if self.mask is not None:
            self.result.mask, self.result.mask_bytes = self.mask.ctypes.data, self.mask.size

    def infer(self, given: Frame) -> Answer:
        self.native.check(
            lambda error: self.native.library.physedge_net_infer(
                self.handle, c.byref(given), c.byref(self.result), error
            )
        )
        return Answer(self.result, self.mask, self.outputs)

    def prepare(self, given: Frame) -> np.ndarray:
        grid = np.full((self.info.height_px, self.info.width_px, self.info.channels), 77, np.uint8)
        self.native.check(
            lambda error: self.native.library.physedge_net_prepare(
                self.handle, c.byref(given), grid.ctypes.data, grid.size, error
            )
        )
        return grid

    def close(self) -> None:
        self.native.library.physedge_net_free(self.handle)
        self.handle = Net()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Native:
    """The library, with its errors raised as the runtime's own."""

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        self.library = c.CDLL(str(path))
        for name in ("version", "engines"):
            getattr(self.library, f"physedge_{name}").restype = c.c_char_p
        self.engines: tuple[str, ...] = tuple(self.library.physedge_engines().decode().split())
        address, size = c.c_void_p, c.c_size_t
        self.library.physedge_net_prepare.argtypes = [address, address, address, size, address]
        self.library.physedge_net_to_frame.argtypes = [address, address, c.c_uint32, c.c_uint32, address, size, address]
        self.library.physedge_net_frame_mask.argtypes = [address, address, address, size, address]
        self.library.physedge_bundle_read_memory.argtypes = [c.c_char_p, size, c.c_char_p, address, address, address]
        self.library.physedge_open_defaults.restype = OpenOptions
        self.library.physedge_now_ns.restype = c.c_int64

    def check(self, call: Callable[[object], int]) -> None:
        error = Error()
        status = call(c.byref(error))
        if status == 0:
            return
        assert status == error.status
        texts = {name: getattr(error, name).decode() for name in ("found", "expected", "next_step")}
        raise _KINDS[status](error.identifier.decode(), **texts)

    def trust(self, *keys: Path, revoked: Path | None = None, device: Path | None = None, today: str = "") -> Trusted:
        handle = Trusted()
        self.check(lambda error: self.library.physedge_trust_create(c.byref(handle), error))
        for key in keys:
            self.check(lambda error, key=key: self.library.physedge_trust_add_key_file(handle, bytes(key), None, error))  # type: ignore[misc]
        if revoked is not None:
            self.check(lambda error: self.library.physedge_trust_add_revocations(handle, bytes(revoked), error))
        if device is not None:
            self.check(lambda error: self.library.physedge_trust_add_device(handle, bytes(device), error))
        if today:
            self.check(lambda error: self.library.physedge_trust_set_today(handle, today.encode(), error))
        return handle

    def read(self, path: Path, trust: Trusted | None = None) -> Bundle:
        handle = Bundle()
        self.check(lambda error: self.library.physedge_bundle_read(bytes(path), trust, c.byref(handle), error))
        return handle

    def read_memory(self, data: bytes, trust: Trusted | None = None) -> Bundle:
        handle = Bundle()
        self.check(
            lambda error: self.library.physedge_bundle_read_memory(
                data, len(data), b"memory", trust, c.byref(handle), error
            )
        )
        return handle

    def describe(self, bundle: Bundle) -> BundleInfo:
        info = BundleInfo()
        self.library.physedge_bundle_describe(bundle, c.byref(info))
        return info

    def free(self, bundle: Bundle) -> None:
        self.library.physedge_bundle_free(bundle)

    def open(self, path: Path, **options: object) -> OpenNet:
        bundle = self.read(path)
        try:
            return OpenNet(self, bundle, **options)
        finally:
            self.free(bundle)

    def look(self, given: Frame) -> Look:
        look = Look()
        self.check(lambda error: self.library.physedge_look_at(c.byref(given), c.byref(look), error))
        return look
