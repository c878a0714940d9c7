"""The page as `physedge run` offers it: its address, its code for phones, token and certificate."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from certificates import write_certificate
from rich.console import Console

from physedge.cli.app import main
from physedge.cli.page import address_code, prepare_pages, tell_page
from physedge_runtime.errors import UsageError
from physedge_runtime.sinks.page_access import PageAccess, page_access
from physedge_runtime.sinks.serve import ServeSink
from physedge_runtime.sinks.table import open_sink
from physedge_runtime.stream import StreamInfo

for _module in ("starlette", "uvicorn", "segno"):
    pytest.importorskip(_module, reason="the extra serve is not installed")

INFO = StreamInfo(source="camera 1", live=True, period_ns=None, engine="fake 1")
TOKEN = "sixteen-letters-or-more"


def test_the_code_on_the_terminal_is_read_as_the_address() -> None:
    url = f"https://192.0.2.17:8080/?token={TOKEN}"
    code = address_code(url)
    assert code is not None
    blocks = {" ": (0, 0), "\u2580": (255, 0), "\u2584": (0, 255), "\u2588": (255, 255)}
    rows = [[blocks[letter] for letter in line] for line in code.plain.splitlines()]
    modules = np.asarray(rows, np.uint8).transpose(0, 2, 1).reshape(2 * len(rows), -1)
    large = np.pad(cv2.resize(modules, None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST), 32, constant_values=255)
    read, _, _ = cv2.QRCodeDetector().detectAndDecode(large)
    assert read == url


def test_the_code_is_black_on_white_whatever_the_colours_of_the_terminal() -> None:
    code = address_code("http://192.0.2.17:8080/")
    assert code is not None
    drawn = io.StringIO()
    Console(file=drawn, force_terminal=True, color_system="standard").print(code)
    assert "\x1b[97;40m" in drawn.getvalue()


def test_token_and_certificate_reach_every_page(tmp_path: Path) -> None:
    sinks = [[open_sink("serve:0")], [open_sink("serve:127.0.0.1:0"), open_sink("metrics:0")]]
    prepare_pages(sinks, token=TOKEN, tls=write_certificate(tmp_path))
    for one in sinks:
        page = one[0]
        assert isinstance(page, ServeSink)
        assert page.access.token == TOKEN and page.access.tls is not None


def test_token_without_a_page_is_refused() -> None:
    for options in ({"token": TOKEN, "tls": None}, {"token": None, "tls": (Path("a"), Path("b"))}):
        with pytest.raises(UsageError) as refused:
            prepare_pages([[open_sink("metrics:0")]], **options)  # type: ignore[arg-type]
        assert refused.value.identifier == "PE-SINK-022"
    prepare_pages([[open_sink("metrics:0")]], token=None, tls=None)


def test_what_is_printed_can_be_opened(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = ServeSink("0.0.0.0", 0, access=page_access(token=TOKEN, tls=write_certificate(tmp_path)))
    page.open(INFO)
    try:
        tell_page(page)
        told = capsys.readouterr().err
        found = re.search(r"^page: (https://\S+)$", told, re.MULTILINE)
        assert found and found[1] == page.url and found[1].endswith(f"/?token={TOKEN}")
        assert "0.0.0.0" not in told
        assert "the certificate is for device, 127.0.0.1: browsers will warn" in told
    finally:
        page.close()


def test_an_address_is_not_broken_over_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    page = ServeSink("127.0.0.1", 0, access=PageAccess("x" * 128))
    page.open(INFO)
    try:
        tell_page(page)
        assert page.url in capsys.readouterr().err
    finally:
        page.close()


def test_run_serves_with_its_token(write_tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--source", "synthetic:64x48@30", "--frames", "5", "--threads", "1", "--sink", "serve:0"]
    with pytest.raises(SystemExit) as ended:
        main(["run", "--bundle", str(write_tiny()), *options, "--token", TOKEN])
    assert ended.value.code == 0
    assert f"/?token={TOKEN}" in capsys.readouterr().err


def test_run_refuses_a_short_token_before_it_opens_anything(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--source", "synthetic:64x48@30", "--serve", "--token", "short"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "PE-SINK-020" in told and "Traceback" not in told
