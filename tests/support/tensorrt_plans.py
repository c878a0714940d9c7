"""Plans of the stand-in for TensorRT (tests/native/tensorrt_stand_in), and bundles whose engine is in the cache.

The stand-in looks answers up: a float for each value of the frame's first channel, or a line through the first voltage.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from native_library import Native, OpenNet

from physedge_runtime.bundle import Bundle, read_bundle
from physedge_runtime.engines.engine_cache import EngineCache, EngineKey
from physedge_runtime.net import engine_request

VERSION, BUILD = "10.3.0", "26"
TENSOR = np.dtype(
    [
        ("name", "S32"),
        *((name, "<i4") for name in ("is_input", "type", "rank", "takes_no_address")),
        ("sides", "<i8", (8,)),
        ("table", "<f4", (256,)),
        ("scale", "<f4"),
        ("offset", "<f4"),
    ]
)
FLOAT, HALF, UINT8 = 0, 1, 5


def tensor(name: str, shape: tuple[int, ...], kind: int = FLOAT, **values: Any) -> np.ndarray:
    """One tensor of a plan; an output where nothing else is said."""
    record = np.zeros(1, TENSOR)
    record["name"], record["type"], record["rank"] = name.encode(), kind, len(shape)
    record["sides"][0, : len(shape)] = shape
    for field, value in values.items():
        record[field] = value
    return record


def plan(*tensors: np.ndarray, version: int = 10300, carries_runtime: bool = False) -> bytes:
    """The plan's bytes, as a library of this version would have built it."""
    numbers = ("version", "tensors", "carries_runtime")
    head = np.zeros(1, [("magic", "S8"), *((name, "<i4") for name in numbers)])
    head["magic"], head["version"], head["tensors"] = b"STAND-IN", version, len(tensors)
    head["carries_runtime"] = carries_runtime
    return head.tobytes() + b"".join(one.tobytes() for one in tensors)


def tensors_of(bundle: Bundle) -> list[np.ndarray]:
    """What a true engine of the tiny bundles would have: the tiny network's sigmoid, or its voltages' lines."""
    spec, made = bundle.manifest.spec, []
    kind = UINT8 if spec.frame is not None else FLOAT
    made.append(tensor("frame" if spec.frame is not None else "voltages", (1, *spec.input_shape), kind, is_input=1))
    red = np.arange(256) / 255
    answers = {
        "probability": {"table": (1 / (1 + np.exp(-8 * (red - 0.5)))).astype(np.float32)},
        "image": {"scale": 1, "offset": 0.5},
        "spread": {"scale": -1, "offset": -0.5},
    }
    made.extend(tensor(output.name, (1, *output.shape), **answers[output.name]) for output in bundle.manifest.outputs)
    return made


def key_of(bundle: Bundle, **changes: str) -> EngineKey:
    """The key of the bundle's engine on the stand-in's GPU, by the Python runtime's own classes."""
    request = engine_request(bundle, bundle.manifest.artefacts[0])
    key = EngineKey(
        bundle_sha256=request.bundle_sha256,
        graph_sha256=request.graph_sha256,
        recipe_sha256=request.recipe_sha256,
        builder="tensorrt",
        version=VERSION,
        architecture="sm_87",
        device="Stand-in GPU",
        driver="12.6",
    )
    return replace(key, **changes)


class StandIn(Native):
    """libphysedge on the stand-in; `open` puts an engine into the cache first, where there is none.

    Attributes:
        cache: The folder that is handed to the library.
        store: The engines in it, as Python keeps them.
    """

    def __init__(self, path: Path, cache: Path) -> None:
        super().__init__(path)
        self.cache, self.store = cache, EngineCache(cache / "engines")

    def build(self, path: Path, *tensors: np.ndarray, built_by: int = 10300, **key: str) -> Path:
        """Keep an engine for a bundle: a true one, or of these tensors; `key` changes what it is kept under."""
        bundle = read_bundle(path)
        return self.store.store(key_of(bundle, **key), plan(*(tensors or tensors_of(bundle)), version=built_by))

    def open(self, path: Path, **options: object) -> OpenNet:
        if self.store.load(key_of(read_bundle(path))) is None:
            self.build(path)
        return self.open_as_it_is(path, **options)

    def open_as_it_is(self, path: Path, **options: object) -> OpenNet:
        """Open with whatever the cache has."""
        return super().open(path, **{"engine": b"tensorrt", "cache_folder": bytes(self.cache), **options})
