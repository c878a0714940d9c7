"""A specification says what it must, or one sentence names the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Colour, Fit
from physedge_runtime.spec import ModelSpec, read_spec

GOOD = """
name = "own"
task = "segmentation"
classes = ["background", "polyp"]
[frame]
height = 128
width = 96
colour = "grey"
fit = "letterbox"
[normalise]
mean = [0.4]
std = [0.2]
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "spec.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_key_arrives(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path, GOOD))
    assert spec.frame is not None
    assert (spec.frame.shape, spec.frame.colour, spec.frame.fit) == ((128, 96, 1), Colour.GREY, Fit.LETTERBOX)
    assert spec.output_channels == 1
    assert spec.normalise.mean == (0.4,)


def test_more_classes_mean_a_plane_each(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path, GOOD.replace('"polyp"', '"polyp", "tool"')))
    assert spec.output_channels == 3


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('name = "own"', 'name = "No Spaces"', "name"),
        ('task = "segmentation"', 'task = "guess"', "task"),
        ("height = 128", "height = 3", "height"),
        ("std = [0.2]", "std = [0.0]", "std"),
        ("std = [0.2]", "std = [0.2, 0.2]", "std"),
        ('classes = ["background", "polyp"]', 'classes = ["background"]', "classes"),
        ("[frame]", "surprise = 1\n[frame]", "surprise"),
        ("[frame]", "[voltages]", "voltages"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, old: str, new: str, key: str) -> None:
    with pytest.raises(UsageError, match=rf"^PE-SPEC-0\d\d: .*{key}"):
        read_spec(write(tmp_path, GOOD.replace(old, new)))


def test_a_missing_or_broken_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="PE-SPEC-010"):
        read_spec(tmp_path / "absent.toml")
    with pytest.raises(UsageError, match="PE-SPEC-010"):
        read_spec(write(tmp_path, "name = "))


def test_a_key_that_is_not_known_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"PE-SPEC-011: .*surprise"):
        read_spec(write(tmp_path, GOOD.replace("[frame]", "surprise = 1\n[frame]")))


def test_voltages_need_electrodes(tmp_path: Path) -> None:
    voltages = '[voltages]\ncount = 208\nelectrodes = 1\nprotocol = "adjacent"\n'
    text = 'name = "own"\ntask = "reconstruction"\n' + voltages
    with pytest.raises(UsageError, match="PE-SPEC-002: 208 voltages from 1 electrodes"):
        read_spec(write(tmp_path, text))


SEGMENT = '\n[segment.polyp]\ntype = ["41329004", "SCT", "Polyp"]\n'


def test_what_a_class_is_in_a_dicom_segmentation(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path, GOOD + SEGMENT))
    assert spec.segment is not None
    assert spec.segment["polyp"].type == ("41329004", "SCT", "Polyp")
    assert spec.segment["polyp"].category == ("91723000", "SCT", "Anatomical Structure")
    assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec
    assert "segment" not in read_spec(write(tmp_path, GOOD)).model_dump()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("segment.polyp", "segment.background"),
        ("segment.polyp", "segment.cat"),
        ('"Polyp"', '""'),
        ('"Polyp"', '"Polyp", "x"'),
        ('"41329004"', '"41329004413290044"'),
        ("type", "kind"),
    ],
)
def test_a_wrong_segment_is_named(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(UsageError, match=r"PE-SPEC-011: .*segment"):
        read_spec(write(tmp_path, GOOD + SEGMENT.replace(old, new)))
