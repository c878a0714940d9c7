"""The card: what was measured, and people's own words, which outlive every export."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_network import tiny_contents

from physedge.deploy.card import write_card
from physedge.deploy.card_merge import card_path, merge_card, read_card
from physedge_runtime.errors import UsageError
from physedge_runtime.manifest import DataRecord, Metric, VerdictRecord
from physedge_runtime.verdict import Verdict

FIRST = {"one": "# One\n\n0.91\n", "two": "## Two\n\n3 files\n"}
SECOND = {"one": "# One\n\n0.97\n", "two": "## Two\n\n5 files\n"}


def blocks_of(card: str) -> list[str]:
    return [line for line in card.splitlines() if not line.startswith("<!--")]


def test_words_around_the_blocks_are_kept_and_the_blocks_are_new() -> None:
    written = merge_card(FIRST, "")
    head, tail = written.split("<!-- measured: two")
    edited = (
        "Foreword.\n\n"
        + head
        + "\nFor whom: trained staff.\n\n- not at night\n\n<!-- measured: two"
        + tail
        + "\nEnd.\n"
    )
    again = merge_card(SECOND, edited)
    assert blocks_of(again) == [
        *("Foreword.", "", "# One", "", "0.97", "", "For whom: trained staff.", "", "- not at night", ""),
        *("## Two", "", "5 files", "", "End."),
    ]
    assert merge_card(SECOND, again) == again  # nothing grows from export to export
    assert merge_card(FIRST, again).count("not at night") == 1


def test_a_block_that_was_removed_comes_back_where_it_was_and_an_unknown_one_goes() -> None:
    written = merge_card(FIRST, "")
    without_first = written[written.index("<!-- measured: two") :]
    assert merge_card(SECOND, "Mine.\n" + without_first).index("0.97") > 0
    only_first = written[: written.index("<!-- measured: two")] + "Mine.\n"
    back = merge_card(SECOND, only_first)
    assert back.index("0.97") < back.index("5 files") < back.index("Mine.")
    assert "5 files" not in merge_card({"one": SECOND["one"]}, written)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda card: card.replace("0.91", "0.99"), "the block 'one' of red.card.md was changed by hand"),
        (lambda card: card.replace("<!-- end: one -->\n", ""), "not in pairs"),
        (lambda card: card + card, "not in pairs"),
    ],
)
def test_a_measured_block_that_was_changed_is_refused(tmp_path: Path, change: object, what: str) -> None:
    path = tmp_path / "red.card.md"
    path.write_text(change(merge_card(FIRST, "")), encoding="utf-8")  # type: ignore[operator]
    with pytest.raises(UsageError, match="PE-CARD-001") as caught:
        read_card(path)
    assert what in str(caught.value)


def test_a_card_that_is_no_text_is_refused_and_none_is_empty(tmp_path: Path) -> None:
    assert read_card(tmp_path / "none.card.md") == ""
    (tmp_path / "x.card.md").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="PE-CARD-002"):
        read_card(tmp_path / "x.card.md")


def test_the_card_has_strata_limits_physics_and_data_as_measured() -> None:
    figure = Metric(value=0.91, low=0.88, high=0.94)
    verdict = VerdictRecord(
        artefact="model.onnx",
        precision="fp32",
        engine="onnxruntime",
        device="a processor",
        verdict=Verdict.ACCEPT,
        metric="dice",
        samples=40,
        groups=9,
        reference=figure,
        measured=figure,
        metrics={"dice": figure},
        details={
            "comparison": {
                "strata": [{"name": "dark", "sample_count": 5, "reference_mean": 0.8, "candidate_mean": 0.79}]
            }
        },
    )
    manifest, _ = tiny_contents()
    told = manifest.model_copy(
        update={
            "verdicts": (verdict,),
            "shipped": {"onnxruntime": "model.onnx", "openvino": "model.onnx"},
            "data": {"calibration": DataRecord(name="calibration", count=128, sha256="0" * 64)},
        }
    )
    card = write_card(told, physics={"flow.diffusion": 7})
    assert "| dark | 5 | 0.8000 | 0.7900 |" in card
    assert "the stratum dark has 5 samples, too few to refuse by" in card
    assert "40 samples of 9 groups, on one device (a processor)" in card
    assert "- openvino: not judged." in card and "- onnxruntime: not judged." not in card
    assert "flow.diffusion (7)" in card and "calibrated on 128 pictures" in card
    assert "0.9100 (0.8800 to 0.9400)" in card
    silent = write_card(manifest)
    assert "was not judged" in silent and "No module of this network" in silent


def test_the_card_lies_beside_the_bundle() -> None:
    assert card_path(Path("build/red.physedge")) == Path("build/red.card.md")
