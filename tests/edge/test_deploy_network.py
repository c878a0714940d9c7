"""Which network is meant, and its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from physedge.deploy.network import (
    DEMO_MODELS,
    DEMO_WORD,
    NetworkChoice,
    demo_network,
    find_network,
    load_weights,
)
from physedge.models.registry import REGISTRY, find
from physedge_runtime.errors import UsageError

ROOT = Path(__file__).parents[2]
OWN = ROOT / "examples/own_network"


def refused(choice: NetworkChoice, identifier: str) -> None:
    with pytest.raises(UsageError, match=identifier):
        find_network(choice)


def test_a_built_in_network_is_a_factory_and_a_specification() -> None:
    for name, entry in REGISTRY.items():
        assert find(name) is entry
        assert ":" in entry.factory
        assert entry.spec.name == name


def test_the_project_file_is_taken_where_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("physedge.toml").write_text('model = "pmrnet_e"\n', encoding="utf-8")
    network = find_network(NetworkChoice())
    assert network.factory == REGISTRY["pmrnet_e"].factory
    assert "physedge.toml" in network.origin


@pytest.mark.parametrize("content", ["model = 3", "weights = 'x'", "model = 'pmrnet_e'\nsurprise = 'x'", "model ="])
def test_a_broken_project_file_is_one_sentence(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("physedge.toml").write_text(content, encoding="utf-8")
    refused(NetworkChoice(), "PE-PROJECT-001")


def test_incomplete_choices_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(NetworkChoice(model="no_such"), "PE-NETWORK-001")
    refused(NetworkChoice(model="pmrnet_e", weights=tmp_path / "absent.safetensors"), "PE-NETWORK-003")
    refused(NetworkChoice(model="unet:unet"), "PE-NETWORK-007")
    refused(NetworkChoice(onnx=tmp_path / "net.onnx"), "PE-NETWORK-006")
    refused(NetworkChoice(weights=tmp_path / "w.safetensors"), "PE-NETWORK-005")
    refused(NetworkChoice(onnx=tmp_path / "net.onnx", spec=OWN / "spec.toml"), "PE-NETWORK-003")


@pytest.mark.parametrize("model", DEMO_MODELS)
def test_the_weights_that_come_along_bring_their_specification(model: str) -> None:
    network = find_network(NetworkChoice(model=model, weights=DEMO_WORD))
    assert network.spec.name == f"{model}-demo"
    assert network.weights == demo_network(model=model).weights
    network.build()
    assert (
        find_network(NetworkChoice(model=model, weights=DEMO_WORD, spec=OWN / "spec.toml")).spec.name
        != network.spec.name
    )
    refused(NetworkChoice(model="pmrnet", weights=DEMO_WORD), "PE-NETWORK-008")


@pytest.mark.parametrize("path", ["no.such.module:make", "os:no_such", "os:path", "os"])
def test_a_factory_that_cannot_be_called_is_refused(path: str) -> None:
    network = find_network(NetworkChoice(model=path if ":" in path else f"{path}:", spec=OWN / "spec.toml"))
    with pytest.raises(UsageError, match="PE-NETWORK-002"):
        network.build()


def test_half_precision_weights_are_widened(tmp_path: Path) -> None:
    module = torch.nn.Conv2d(3, 4, 1)
    path = tmp_path / "half.safetensors"
    save_file({name: tensor.half() for name, tensor in module.state_dict().items()}, path)
    other = torch.nn.Conv2d(3, 4, 1)
    load_weights(other, path)
    assert other.weight.dtype == torch.float32
    torch.testing.assert_close(other.weight, module.weight, atol=1e-3, rtol=0)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(torch.nn.Conv2d(3, 5, 1).state_dict(), path)
    with pytest.raises(UsageError, match="PE-NETWORK-004"):
        load_weights(torch.nn.Conv2d(3, 4, 1), path)
    path.write_bytes(b"no weights")
    with pytest.raises(UsageError, match="PE-NETWORK-003"):
        load_weights(torch.nn.Conv2d(3, 4, 1), path)
