"""The network in torch on a GPU, the three ways people run it there; what `gpu.py` compares with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.spec import ModelSpec

Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
_NAMES = ("torch, CUDA graph, half precision", "torch.compile, half precision", "torch eager, half precision")
_WARM_UP_RUNS = 5


def torch_answers(
    spec: ModelSpec, model: str | None, weights: Path | None, declaration: Path | None
) -> dict[str, Answer | str]:
    """Each way to what answers by it, or to the reason why it cannot be tried here."""
    try:
        import torch
    except ImportError:
        return dict.fromkeys(_NAMES, "torch is not installed")
    if not torch.cuda.is_available():
        return dict.fromkeys(_NAMES, "torch sees no GPU")
    try:
        module = _module(spec, model or spec.name.removesuffix("-demo"), weights, declaration)
    except Exception as error:  # a network that is not at hand is a row that was not run
        return dict.fromkeys(_NAMES, f"the network cannot be made ({error})")
    makers = (_graphed, lambda whole: torch.compile(whole), lambda whole: whole)
    found: dict[str, Answer | str] = {}
    for name, make in zip(_NAMES, makers, strict=True):
        try:
            answer = _host_to_host(make(module))
            answer(np.zeros((1, *spec.input_shape), np.uint8))
            found[name] = answer
        except Exception as error:
            found[name] = str(error).splitlines()[0]
    return found


def _module(spec: ModelSpec, model: str, weights: Path | None, declaration: Path | None) -> Callable[..., object]:
    import torch

    from physedge.deploy.network import NetworkChoice, find_network, load_weights
    from physedge.models.registry import load_factory

    network = find_network(NetworkChoice(model=model, weights=weights, spec=declaration))
    plain = load_factory(network.factory)(classes=spec.output_channels, channels=spec.input_shape[2])
    if network.weights is not None:
        load_weights(plain, network.weights)
    plain = plain.eval().cuda()
    mean, std = spec.normalise.mean[0], spec.normalise.std[0]

    @torch.inference_mode()
    def whole(frame: torch.Tensor) -> torch.Tensor:
        image = frame.permute(0, 3, 1, 2).float().div(255).sub(mean).div(std)
        with torch.autocast("cuda", torch.float16):
            logits = plain(image)
        return torch.sigmoid(logits.float())

    return whole


def _graphed(whole: Callable[..., object]) -> Callable[..., object]:
    """The same, recorded once; made for the size of the first frame."""
    import torch

    recorded: dict[str, object] = {}

    def answer(frame: torch.Tensor) -> object:
        if not recorded:
            recorded["in"] = frame.clone()
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP_RUNS):
                    whole(recorded["in"])
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                recorded["out"] = whole(recorded["in"])
            recorded["graph"] = graph
        recorded["in"].copy_(frame)  # type: ignore[attr-defined]
        recorded["graph"].replay()  # type: ignore[attr-defined]
        return recorded["out"]

    return answer


def _host_to_host(on_gpu: Callable[..., object]) -> Answer:
    import torch

    def answer(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        given = on_gpu(torch.from_numpy(frame).pin_memory().cuda(non_blocking=True))
        values: NDArray[np.float32] = given.cpu().numpy()  # type: ignore[attr-defined]
        return values

    return answer
