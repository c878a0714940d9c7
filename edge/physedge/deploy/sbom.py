"""The software bill of materials of a bundle: CycloneDX 1.6, written by CycloneDX's own library, always the same bytes.

It lists the graphs, the data by hash, the engines that ship, and everything that the plain install brings along, with
versions and licences as installed where the export ran.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from physedge_runtime.errors import missing_extra
from physedge_runtime.manifest import Manifest, canonical_json

# The classes of CycloneDX's library come from decorators that type checkers cannot see through.
Component = Any

SBOM_ENTRY = "sbom.cdx.json"
# Engine to the package that brings it; a TensorRT belongs to the device and is listed there.
ENGINE_PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino"}
_ROOT_PACKAGE = "physedge"
_NAMESPACE = uuid.UUID("6f0d6c8e-6f1b-5c53-9f0c-0b0f5a3f6d11")
_LONGEST_LICENCE_NAME = 120
_CLASSIFIER = "License :: OSI Approved :: "


def bill_of_materials(manifest: Manifest, graph_hashes: Mapping[str, str]) -> bytes:
    """The bill of a bundle, canonical JSON; the same manifest and the same packages give the same bytes.

    Args:
        manifest: Of the bundle; its `entries` are not needed.
        graph_hashes: Entry of each graph to its sha256.

    Raises:
        EnvironmentFault: The library is not installed (`PE-ENV-001`).
    """
    try:
        bom, output, schema = _library("model.bom").Bom(), _library("output"), _library("schema")
    except ImportError as error:
        raise missing_extra("cyclonedx-python-lib", "sbom") from error
    root = _bundle_component(manifest)
    bom.metadata.component = root
    parts = [*_graphs(manifest, graph_hashes), *_data(manifest), *_packages(manifest)]
    for part in parts:
        bom.components.add(part)
    _relate(bom, root, parts)
    written = json.loads(
        output.make_outputter(bom, schema.OutputFormat.JSON, schema.SchemaVersion.V1_6).output_as_string()
    )
    written["metadata"].pop("timestamp", None)
    written.pop("serialNumber", None)
    written["serialNumber"] = uuid.uuid5(_NAMESPACE, canonical_json(written).decode("utf-8")).urn
    return canonical_json(written)


def runtime_packages(engines: Iterable[str]) -> list[importlib.metadata.Distribution]:
    """Every installed package that physedge needs to run on these engines, by name; itself included."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [_ROOT_PACKAGE, *sorted(ENGINE_PACKAGES[name] for name in engines if name in ENGINE_PACKAGES)]
    while waiting:
        name = _normal(waiting.pop())
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        waiting += _required(found[name])
    return [found[name] for name in sorted(found)]


def licence_of(package: importlib.metadata.Distribution) -> str:
    """The licence that a package states: its expression, else its classifiers, else a short text; `unknown` else."""
    stated = package.metadata.get_all("License-Expression") or []
    if stated:
        return str(stated[0])
    classified = [
        entry.removeprefix(_CLASSIFIER)
        for entry in package.metadata.get_all("Classifier") or []
        if entry.startswith(_CLASSIFIER)
    ]
    if classified:
        return " or ".join(sorted(classified))
    text = "".join(package.metadata.get_all("License") or []).strip()
    return text if text and len(text) <= _LONGEST_LICENCE_NAME and "\n" not in text else "unknown"


def _required(package: importlib.metadata.Distribution) -> list[str]:
    from packaging.requirements import Requirement

    requirements = [Requirement(text) for text in package.requires or []]
    return [wanted.name for wanted in requirements if wanted.marker is None or wanted.marker.evaluate({"extra": ""})]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _library(module: str) -> Any:
    """A module of CycloneDX's library, untyped."""
    return importlib.import_module(f"cyclonedx.{module}")


def _component(**values: Any) -> Component:
    return _library("model.component").Component(**values)


def _bundle_component(manifest: Manifest) -> Component:
    kinds = _library("model.component").ComponentType

    return _component(
        name=manifest.spec.name,
        version=manifest.spec.version,
        type=kinds.APPLICATION,
        bom_ref=f"bundle:{manifest.spec.name}",
        description=manifest.spec.intended_use,
        properties=_properties(release=manifest.release, verdict=str(manifest.verdict), target=manifest.target),
    )


def _graphs(manifest: Manifest, hashes: Mapping[str, str]) -> list[Component]:
    kinds = _library("model.component").ComponentType

    return [
        _component(
            name=artefact.entry,
            version=manifest.spec.version,
            type=kinds.MACHINE_LEARNING_MODEL,
            bom_ref=f"graph:{artefact.entry}",
            hashes=[_sha256(hashes[artefact.entry])],
            properties=_properties(
                precision=artefact.precision, method=artefact.method, int8_mac_share=artefact.int8_mac_share
            ),
        )
        for artefact in manifest.artefacts
    ]


def _data(manifest: Manifest) -> list[Component]:
    kinds = _library("model.component").ComponentType

    return [
        _component(
            name=record.name,
            type=kinds.DATA,
            bom_ref=f"data:{role}",
            hashes=[_sha256(record.sha256)],
            properties=_properties(role=role, files=record.count),
        )
        for role, record in sorted(manifest.data.items())
    ]


def _packages(manifest: Manifest) -> list[Component]:
    from packageurl import PackageURL

    kinds = _library("model.component").ComponentType
    return [
        _component(
            name=package.name,
            version=package.version,
            type=kinds.LIBRARY,
            bom_ref=f"package:{_normal(package.name)}",
            purl=PackageURL("pypi", name=_normal(package.name), version=package.version),
            licenses=[_licence(licence_of(package))],
        )
        for package in runtime_packages(("onnxruntime", *manifest.shipped))
    ]


def _relate(bom: Any, root: Component, parts: list[Component]) -> None:
    bom.register_dependency(root, parts)
    by_name = {part.bom_ref.value: part for part in parts}
    for reference, part in by_name.items():
        kind, _, name = str(reference).partition(":")
        if kind == "package":
            needed = {f"package:{_normal(other)}" for other in _required(importlib.metadata.distribution(name))}
            bom.register_dependency(part, [by_name[other] for other in sorted(needed) if other in by_name])


def _licence(stated: str) -> Any:
    licences, spdx = _library("model.license"), _library("spdx")
    identifier = spdx.fixup_id(stated)
    if identifier is not None:
        return licences.DisjunctiveLicense(id=identifier)
    return (
        licences.LicenseExpression(stated) if spdx.is_expression(stated) else licences.DisjunctiveLicense(name=stated)
    )


def _sha256(value: str) -> Any:
    model = _library("model")
    return model.HashType(alg=model.HashAlgorithm.SHA_256, content=value)


def _properties(**values: object) -> list[Any]:
    model = _library("model")
    return [model.Property(name=f"physedge:{name}", value=str(value)) for name, value in sorted(values.items())]
