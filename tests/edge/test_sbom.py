"""The bill of materials: valid by CycloneDX's own schema, complete, and always the same bytes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from typing import Any

import pytest
from tiny_network import tiny_contents

from physedge.deploy.sbom import bill_of_materials, licence_of, runtime_packages
from physedge_runtime.manifest import DataRecord


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    return json.loads(written())


def written() -> bytes:
    manifest, contents = tiny_contents()
    data = {"calibration": DataRecord(name="calibration", count=3, sha256="ab" * 32)}
    hashes = {"model.onnx": hashlib.sha256(contents["model.onnx"]).hexdigest()}
    return bill_of_materials(manifest.model_copy(update={"data": data}), hashes)


@pytest.mark.requirement("REQ-SBOM")
def test_it_is_valid_by_the_schema() -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(written().decode("utf-8")) is None


def test_it_is_always_the_same_bytes(bill: dict[str, Any]) -> None:
    assert written() == written()
    assert bill["specVersion"] == "1.6"
    assert "timestamp" not in bill["metadata"]
    assert bill["serialNumber"].startswith("urn:uuid:")


@pytest.mark.requirement("REQ-SBOM")
def test_it_lists_graphs_data_engines_and_dependencies(bill: dict[str, Any]) -> None:
    parts = {part["bom-ref"]: part for part in bill["components"]}
    graph = parts["graph:model.onnx"]
    assert graph["type"] == "machine-learning-model"
    assert graph["hashes"][0]["content"] == hashlib.sha256(tiny_contents()[1]["model.onnx"]).hexdigest()
    assert parts["data:calibration"]["hashes"][0]["content"] == "ab" * 32
    for name in ("physedge", "numpy", "onnxruntime", "pydantic", "cryptography", "typer", "openvino"):
        package = parts[f"package:{name}"]
        assert package["version"] == importlib.metadata.version(name)
        assert package["licenses"]
    assert not {"package:torch", "package:pytest"} & set(parts)


def test_what_needs_what_is_told(bill: dict[str, Any]) -> None:
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in bill["dependencies"]}
    assert "graph:model.onnx" in needs["bundle:tiny"]
    assert "package:numpy" in needs["package:onnxruntime"]


def test_a_package_states_its_licence() -> None:
    assert licence_of(importlib.metadata.distribution("physedge")) == "Apache-2.0"
    assert "unknown" not in licence_of(importlib.metadata.distribution("numpy"))
    names = [package.name.lower().replace("_", "-") for package in runtime_packages(())]
    assert names == sorted(names)
    assert "torch" not in names
