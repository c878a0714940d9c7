"""The frame of the command line: exit statuses, one sentence, JSON, no traceback without -v."""

from __future__ import annotations

import json

import pytest

from physedge.cli import app as main_module
from physedge.cli.app import main
from physedge_runtime.errors import IntegrityError, SafeState, SourceError


def run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def raising(error: BaseException) -> object:
    def build() -> object:
        def app(**_: object) -> None:
            raise error

        return app

    return build


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("physedge 0.")
    assert run(["--help"]) == 0
    assert "doctor" in capsys.readouterr().out


def test_an_unknown_verb_or_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conjure"]) == 2
    assert run(["doctor", "--nonsense"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "status"), [(SourceError, 5), (IntegrityError, 4), (SafeState, 7)])
def test_an_error_is_one_sentence_and_its_status(
    kind: type[SourceError], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = kind("PE-X-001", found="no camera", expected="a camera", next_step="plug one in")
    monkeypatch.setattr(main_module, "build_app", raising(error))
    assert run(["run", "--json"]) == status
    printed = capsys.readouterr()
    assert printed.err == "PE-X-001: no camera; expected a camera; plug one in.\n"
    assert json.loads(printed.out)["error"]["exit_status"] == status


def test_verbose_shows_where(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    error = SourceError("PE-X-001", found="a", expected="b", next_step="c")
    monkeypatch.setattr(main_module, "build_app", raising(error))
    assert run(["run", "-v"]) == 5
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(main_module, "build_app", raising(KeyboardInterrupt()))
    assert run(["run"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main_module, "build_app", raising(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        main(["run"])


def test_doctor_prints_one_json_object_and_people_read_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["engines"]["onnxruntime"] is True
    assert "cores" in printed.err


def test_colour_is_left_out_when_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert run(["doctor"]) == 0
    assert "\x1b[3" not in capsys.readouterr().out
