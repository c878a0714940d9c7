"""Which network is meant: a built-in one, one of one's own, an ONNX file, the project's, or the demo."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from physedge.models.registry import REGISTRY, factory_options, find, load_factory
from physedge.project import read_project
from physedge_runtime.errors import UsageError, missing_extra
from physedge_runtime.spec import ModelSpec, read_spec

if TYPE_CHECKING:
    from torch import nn

WEIGHTS_FOLDER = Path(__file__).parents[1] / "models/weights"
DEMO_MODELS = ("pmrnet_s", "pmrnet_e")
"""Networks that come with weights; the first is the demo: several times faster on a processor."""
DEMO_WORD = Path("demo")
"""Said in place of a file, these weights are meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChoice:
    """What was asked for on the command line; what is None was not said.

    Attributes:
        model: A built-in name or `package.module:factory`.
        weights: Trained weights, safetensors; `DEMO_WORD` for those that come along.
        spec: A specification file.
        onnx: A network that comes as ONNX, in place of `model`.
    """

    model: str | None = None
    weights: Path | None = None
    spec: Path | None = None
    onnx: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network that is known well enough to be built.

    Attributes:
        spec: Its declaration.
        factory: `package.module:factory`; empty for an ONNX file.
        weights: Its weights; None leaves it untrained.
        onnx: The ONNX file, if it comes as one.
        origin: A sentence about where it came from, without a full stop.
    """

    spec: ModelSpec
    factory: str = ""
    weights: Path | None = None
    onnx: Path | None = None
    origin: str

    @property
    def weights_sha256(self) -> str:
        """Of the file with the weights; empty where there is none."""
        path = self.weights or self.onnx
        return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""

    def build(self) -> nn.Module:
        """The network with its weights, in evaluation mode and in the form that is deployed, with its trust signals.

        Raises:
            UsageError: The weights are missing or belong to another network (`PE-NETWORK-003`, `PE-NETWORK-004`).
        """
        from physedge.models.reparameterise import reparameterise
        from physedge.models.signals import with_signals

        module = load_factory(self.factory)(**factory_options(self.spec))
        if self.weights is not None:
            load_weights(module, self.weights)
        return with_signals(reparameterise(module))


def find_network(choice: NetworkChoice) -> Network:
    """The network that a choice means; nothing is built yet.

    Raises:
        UsageError: The choice is incomplete or names what is not there.
    """
    if choice.onnx is not None:
        return _from_onnx(choice)
    if choice.model is not None:
        return _from_model(choice, f"the network {choice.model}")
    project = read_project()
    if project is not None:
        filled = replace(
            choice, model=project.model, weights=choice.weights or project.weights, spec=choice.spec or project.spec
        )
        return _from_model(filled, f"the network {project.model} of {project.path.name}")
    demo = demo_network(choice)
    return replace(demo, origin=f"{demo.origin} (no physedge.toml here)")


def demo_name(model: str) -> str:
    """What a network with the weights that come along is called."""
    return f"{model}-demo"


def demo_weights(model: str) -> Path:
    """The weights that come along, trained on synthetic scenes.

    Raises:
        UsageError: None come with this network (`PE-NETWORK-008`).
    """
    if model not in DEMO_MODELS:
        raise UsageError(
            "PE-NETWORK-008",
            found=f"no weights for {model} in physedge",
            expected=f"one of {', '.join(DEMO_MODELS)}, which were trained on synthetic scenes",
            next_step="leave --weights demo away, or name a file with --weights",
        )
    return WEIGHTS_FOLDER / f"{demo_name(model)}.safetensors"


def demo_network(choice: NetworkChoice | None = None, *, model: str = DEMO_MODELS[0]) -> Network:
    """A built-in network with the weights that come along, trained on synthetic scenes.

    Raises:
        UsageError: Weights or a specification were named without a network (`PE-NETWORK-005`).
    """
    if choice is not None and (choice.weights or choice.spec):
        raise UsageError(
            "PE-NETWORK-005",
            found="--weights or --spec without a network",
            expected="--model NAME or --model package.module:factory beside them",
            next_step="add --model",
        )
    weights = demo_weights(model)
    return Network(
        spec=read_spec(weights.with_suffix(".toml")),
        factory=REGISTRY[model].factory,
        weights=weights,
        origin=f"the built-in demo model {model}",
    )


def _from_onnx(choice: NetworkChoice) -> Network:
    assert choice.onnx is not None
    if choice.model is not None or choice.weights is not None or choice.spec is None:
        raise UsageError(
            "PE-NETWORK-006",
            found="--onnx with --model or --weights, or without --spec",
            expected="--onnx net.onnx --spec spec.toml",
            next_step="give these two",
        )
    _check_file(choice.onnx, "the network")
    return Network(spec=read_spec(choice.spec), onnx=choice.onnx, origin=f"the network in {choice.onnx.name}")


def _from_model(choice: NetworkChoice, origin: str) -> Network:
    model = choice.model
    assert model is not None
    if choice.weights == DEMO_WORD:
        weights = demo_weights(model)
        choice = replace(choice, weights=weights, spec=choice.spec or weights.with_suffix(".toml"))
    is_own = ":" in model
    if is_own and choice.spec is None:
        raise UsageError(
            "PE-NETWORK-007",
            found=f"--model {model} without a specification",
            expected="--spec spec.toml for a network of one's own",
            next_step="write one; docs/spec.md describes every key",
        )
    if choice.weights is not None:
        _check_file(choice.weights, "the weights")
    factory = model if is_own else find(model).factory
    spec = read_spec(choice.spec) if choice.spec is not None else find(model).spec
    trained = f"with {choice.weights.name}" if choice.weights else "with untrained weights"
    return Network(spec=spec, factory=factory, weights=choice.weights, origin=f"{origin} {trained}")


def load_weights(module: nn.Module, path: Path) -> None:
    """Load safetensors of any floating-point width into a module, in full.

    Raises:
        UsageError: The file is no safetensors (`PE-NETWORK-003`), or does not fit the network (`PE-NETWORK-004`).
        EnvironmentFault: safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise missing_extra("safetensors", "export") from error
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UsageError(
            "PE-NETWORK-003",
            found=f"{path.name} cannot be read as safetensors ({error})",
            expected="weights as physedge train writes them",
            next_step="name another file with --weights",
        ) from error
    own = module.state_dict()
    widened = {
        name: tensor.to(own[name].dtype) if name in own and tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    try:
        module.load_state_dict(widened)
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()[:200]
        raise UsageError(
            "PE-NETWORK-004",
            found=f"{path.name} does not fit the network ({detail})",
            expected="weights of the same network, classes and channels",
            next_step="check --model, --weights and --spec against each other",
        ) from error


def _check_file(path: Path, what: str) -> None:
    if not path.is_file():
        raise UsageError(
            "PE-NETWORK-003",
            found=f"{what} {path} cannot be read (no such file)",
            expected="a file",
            next_step="check the path",
        )
