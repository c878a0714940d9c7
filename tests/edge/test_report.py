"""The reviewer's pack: traced to the last run of the tests, complete, and always the same but for the date."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from physedge.deploy.card_merge import merge_card
from physedge.deploy.report import Evidence, Pack, write_pack
from physedge.deploy.trace import Requirements, read_requirements, read_results, trace_requirements
from physedge_runtime.bundle import read_bundle
from physedge_runtime.errors import UsageError

Write = Callable[..., Path]
ROOT = Path(__file__).parents[2]

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.runtime.test_install" name="test_power">
  <properties><property name="requirement" value="REQ-A"/></properties></testcase>
<testcase classname="tests.runtime.test_install.TestSlots" name="test_slot[a]"><skipped/></testcase>
<testcase classname="tests.runtime.test_net" name="test_golden"><failure/></testcase>
<testcase classname="tests.runtime.test_net" name="test_golden_more"/>
</testsuite></testsuites>"""

FILE = """
[[requirement]]
id = "REQ-A"
text = "a"
[[requirement]]
id = "REQ-B"
text = "b"
tests = ["test_net::test_golden"]
[[requirement]]
id = "REQ-C"
text = "c"
tests = ["test_net::test_golden_more", "test_net::test_gone"]
[[requirement]]
id = "REQ-D"
text = "d"
[[hazard]]
id = "HAZ-X"
text = "x <b>"
measures = ["REQ-A", "REQ-C"]
[[hazard]]
id = "HAZ-Y"
text = "y"
measures = ["REQ-A", "REQ-B"]
[[anomaly]]
id = "ANO-Z"
package = "numpy"
text = "z"
handled = "somehow"
[purpose]
numpy = "arrays"
"""


@pytest.fixture
def written(tmp_path: Path) -> tuple[Requirements, Path]:
    (tmp_path / "requirements.toml").write_text(FILE, encoding="utf-8")
    (tmp_path / "junit.xml").write_text(JUNIT, encoding="utf-8")
    return read_requirements(tmp_path / "requirements.toml"), tmp_path / "junit.xml"


def make(write_tiny: Write, written: tuple[Requirements, Path], folder: Path, day: date) -> Pack:
    evidence = Evidence(
        bundle=read_bundle(write_tiny()), requirements=written[0], results=read_results(written[1]), made_on=day
    )
    return write_pack(evidence, folder)


def test_a_requirement_is_met_failed_in_part_or_not_run(written: tuple[Requirements, Path]) -> None:
    results = read_results(written[1])
    assert results[0].name == "test_install::test_power"
    assert results[1].name == "test_install::test_slot[a]"
    traces = trace_requirements(written[0], results)
    assert [trace.status for trace in traces] == ["met", "FAILED", "in part", "not run"]
    assert traces[2].missing == ("test_net::test_gone",)


def test_the_pack_is_complete(write_tiny: Write, written: tuple[Requirements, Path], tmp_path: Path) -> None:
    pack = make(write_tiny, written, tmp_path / "pack", date(2030, 1, 1))
    assert {path.name for path in (tmp_path / "pack").iterdir()} == set(pack.files)
    assert pack.unmet == ("REQ-B", "REQ-C", "REQ-D")
    text = pack.index.read_text(encoding="utf-8")
    for said in ("REQ-A", "HAZ-X", "x &lt;b&gt;", "ANO-Z", "arrays", "2030-01-01", "Not a medical device"):
        assert said in text
    for name in pack.files:
        assert name == "index.html" or f'href="{name}"' in text
    hazards = json.loads((tmp_path / "pack/hazards.json").read_text(encoding="utf-8"))
    assert [hazard["status"] for hazard in hazards] == ["in part", "FAILED"]
    soup = {entry["package"]: entry for entry in json.loads((tmp_path / "pack/soup.json").read_text(encoding="utf-8"))}
    assert soup["numpy"]["anomalies"] == "ANO-Z"


def test_a_person_reads_the_pack_from_its_page(
    write_tiny: Write, written: tuple[Requirements, Path], tmp_path: Path
) -> None:
    card = merge_card({"what-it-is": "# Tiny\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"}, "") + "\n<script>x</script>\n"
    evidence = Evidence(
        bundle=read_bundle(write_tiny(contents={"card.md": card.encode()})),
        requirements=written[0],
        results=read_results(written[1]),
        made_on=date(2030, 1, 1),
    )
    text = write_pack(evidence, tmp_path / "pack").index.read_text(encoding="utf-8")
    assert "<td>1</td>" in text  # the card is rendered, not shown as it is written
    assert "measured:" not in text and "<script>" not in text
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{anchor}"' in text
    assert '<span class="good">met</span>' in text and '<span class="bad">FAILED</span>' in text
    assert "<li>test_install::test_power: passed</li>" in text
    assert "<td>requirements met by the last run of the tests</td><td>1 of 4</td>" in text
    unstated = text.partition("<p>No purpose is stated for: ")[2].partition("</p>")[0]
    assert "onnxruntime" in unstated and "numpy" not in unstated


@pytest.mark.requirement("REQ-SBOM")
def test_two_packs_differ_in_their_date_only(
    write_tiny: Write, written: tuple[Requirements, Path], tmp_path: Path
) -> None:
    first = make(write_tiny, written, tmp_path / "one", date(2030, 1, 1))
    make(write_tiny, written, tmp_path / "two", date(2031, 2, 3))
    for name in first.files:
        ours, theirs = (tmp_path / "one" / name).read_bytes(), (tmp_path / "two" / name).read_bytes()
        assert ours.replace(b"2030-01-01", b"2031-02-03") == theirs


@pytest.mark.parametrize(
    "content",
    [
        "[",
        "[[requirement]]\nid = 'X'\ntext = ''",
        FILE + "[other]",
        FILE.replace("REQ-B", "REQ-A"),
        FILE.replace('"REQ-A", "REQ-C"', '"REQ-NONE"'),
    ],
)
def test_a_file_that_does_not_agree_with_itself_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match="PE-PACK-001"):
        read_requirements(tmp_path / "r.toml")
    with pytest.raises(UsageError, match="PE-PACK-002"):
        read_results(tmp_path / "r.toml")


def markers_and_tests() -> tuple[set[str], set[str]]:
    """The requirements that tests name by marker, and all tests as `file::test`."""
    named: set[str] = set()
    tests: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                tests.add(f"{path.stem}::{node.name}")
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("mark.requirement"):
                        named.add(ast.literal_eval(decorator.args[0]))
    return named, tests


def test_every_requirement_of_ours_has_a_test_and_every_marker_a_requirement() -> None:
    ours = read_requirements(ROOT / "docs/requirements.toml")
    named, tests = markers_and_tests()
    assert named <= {requirement.id for requirement in ours.requirement}
    for requirement in ours.requirement:
        assert set(requirement.tests) <= tests, requirement.id
        assert requirement.tests or requirement.id in named, requirement.id
