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
DEMO_NAME = "pmrnet_e-demo"
DEMO_WEIGHTS = WEIGHTS_FOLDER / f"{DEMO_NAME}.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChoice:
    """What was asked for on the command line; what is None was not said.

    Attributes:
        model: A built-in name or `package.module:factory`.
        weights: Trained weights, safetensors.
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
        is_demo: Whether it is the built-in demo model.
    """

    spec: ModelSpec
    factory: str = ""
    weights: Path | None = None
    onnx: Path | None = None
    origin: str
    is_demo: bool = False

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
    return demo_network(choice)


def demo_network(choice: NetworkChoice | None = None) -> Network:
    """The built-in demo: pmrnet_e trained on synthetic scenes."""
    spec = read_spec(WEIGHTS_FOLDER / f"{DEMO_NAME}.toml")
    if choice is not None and (choice.weights or choice.spec):
        raise UsageError(
            "PE-NETWORK-005",
            found="--weights or --spec without a network",
            expected="--model NAME or --model package.module:factory beside them",
            next_step="add --model",
        )
    return Network(
        spec=spec,
        factory=REGISTRY["pmrnet_e"].factory,
        weights=DEMO_WEIGHTS,
        origin="the built-in demo model (no physedge.toml here)",
        is_demo=True,
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
    assert choice.model is not None
    is_own = ":" in choice.model
    if is_own and choice.spec is None:
        raise UsageError(
            "PE-NETWORK-007",
            found=f"--model {choice.model} without a specification",
            expected="--spec spec.toml for a network of one's own",
            next_step="write one; docs/spec.md describes every key",
        )
    if choice.weights is not None:
        _check_file(choice.weights, "the weights")
    factory = choice.model if is_own else find(choice.model).factory
    spec = read_spec(choice.spec) if choice.spec is not None else find(choice.model).spec
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
