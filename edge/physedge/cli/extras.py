"""Which extra brings a package, and what each is for: what `doctor` lists, and what an error advises."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """An optional package.

    Attributes:
        purpose: What it is for, in a few words.
        package: Its name for pip.
        module: Its name for `import`.
        extra: The extra of physedge that brings it.
    """

    purpose: str
    package: str
    module: str
    extra: str


PARTS = (
    Part("cameras, drawing", "opencv-python-headless", "cv2", "camera"),
    Part("video files and URLs", "av", "av", "camera"),
    Part("engine OpenVINO", "openvino", "openvino", "openvino"),
    Part("engine TensorRT-RTX", "tensorrt-rtx-cu13-bindings", "tensorrt_rtx_bindings", "tensorrt"),
    Part("export", "torch", "torch", "export"),
    Part("export", "onnx", "onnx", "export"),
    Part("export", "onnxscript", "onnxscript", "export"),
    Part("weights", "safetensors", "safetensors", "export"),
    Part("INT8 on OpenVINO's form", "nncf", "nncf", "export"),
    Part("pictures of results", "matplotlib", "matplotlib", "export"),
    Part("training", "lightning", "lightning", "train"),
    Part("training losses", "monai", "monai", "train"),
    Part("gate on a device", "scipy", "scipy", "gate"),
    Part("labelled pictures", "pillow", "PIL", "gate"),
    Part("EIT physics", "scikit-fem", "skfem", "eit"),
    Part("DICOM", "pydicom", "pydicom", "dicom"),
    Part("DICOM segmentations", "highdicom", "highdicom", "dicom"),
    Part("OpenIGTLink", "pyigtl", "pyigtl", "igtl"),
    Part("MQTT", "paho-mqtt", "paho", "mqtt"),
    Part("Prometheus metrics", "prometheus-client", "prometheus_client", "metrics"),
    Part("live page", "starlette", "starlette", "serve"),
    Part("live page", "uvicorn", "uvicorn", "serve"),
    Part("bill of materials", "cyclonedx-python-lib", "cyclonedx", "sbom"),
    Part("evaluation on several machines", "ray", "ray", "ray"),
)


def extra_of(module: str) -> str | None:
    """The extra that brings a module; None where it belongs to no extra, so that its absence is a bug."""
    root = module.partition(".")[0]
    return next((part.extra for part in PARTS if part.module == root), None)
