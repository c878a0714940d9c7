"""Every identifier is documented once, with the exit status that the code gives it."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import pytest

from physedge_runtime import errors

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (PE-[A-Z0-9]+-\d{3}) \| (\d+) \|", re.MULTILINE)


def raised_identifiers() -> dict[str, set[Path]]:
    found: dict[str, set[Path]] = {}
    for package in ("edge", "export", "calibrate", "runtime"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Constant)
                    and isinstance(node.value, str)
                    and re.fullmatch(r"PE-[A-Z0-9]+-\d{3}", node.value)
                ):
                    found.setdefault(node.value, set()).add(path)
    for path in (ROOT / "runtime/native/src").rglob("*.cpp"):
        for identifier in re.findall(r'"(PE-[A-Z0-9]+-\d{3})"', path.read_text(encoding="utf-8")):
            found.setdefault(identifier, set()).add(path)
    return found


def test_every_identifier_is_documented_exactly_once() -> None:
    rows = [
        match[1]
        for path in (ROOT / "docs/errors").glob("*.md")
        for match in ROW.finditer(path.read_text(encoding="utf-8"))
    ]
    assert len(rows) == len(set(rows)), sorted(row for row in set(rows) if rows.count(row) > 1)
    assert set(rows) == set(raised_identifiers())


def test_the_sentence_has_all_three_parts() -> None:
    error = errors.SourceError("PE-X-001", found="no camera 0", expected="a camera", next_step="plug one in")
    assert str(error) == "PE-X-001: no camera 0; expected a camera; plug one in."


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("GateFailed", 1),
        ("UsageError", 2),
        ("EnvironmentFault", 3),
        ("IntegrityError", 4),
        ("SourceError", 5),
        ("BuildError", 6),
        ("SafeState", 7),
    ],
)
def test_exit_statuses_are_those_documented(kind: str, status: int) -> None:
    assert getattr(errors, kind).exit_status == status
    assert f"| {status} |" in (ROOT / "docs/errors/README.md").read_text(encoding="utf-8")


def test_an_error_crosses_a_process_border() -> None:
    error = errors.missing_extra("cv2", "camera")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is errors.EnvironmentFault
    assert str(copy) == str(error)
