"""Text out of a bundle or a folder is text on every surface: terminal, page, table file, log; never markup."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_network import tiny_contents

from physedge.cli.app import main
from physedge.cli.console import say
from physedge.deploy.choosing import ENTRY
from physedge.train.csv_table import csv_table
from physedge_runtime.bundle import Bundle
from physedge_runtime.manifest import VerdictRecord, canonical_json
from physedge_runtime.text import cell, lines, one_line
from physedge_runtime.verdict import Verdict

MARKUP = "[red]x[/red] [/] [link=http://x]<script>alert(1)</script>\"><img src=x onerror='y'> ![p](http://x/p.png)"
UNSEEN = "a\x1b[2J\nverdict ACCEPT\r\u202etxt\u2028b\x9b31m"
Write = Callable[..., Path]


def run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def assert_nothing_is_obeyed(text: str) -> None:
    unseen = {one for one in text if one != "\n" and unicodedata.category(one) in {"Cc", "Cf", "Zl", "Zp"}}
    assert not unseen, unseen


class Page(HTMLParser):
    """Elements, sources and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.sources: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_page_is_ours(path: Path) -> None:
    raw = path.read_text(encoding="utf-8")
    shown = Page(raw)
    assert "script" not in shown.elements
    assert not [name for name in shown.attributes if name.startswith("on")]
    assert not [one for one in shown.sources if not one.startswith(("data:image/png", "#")) and "/" in one]
    assert "default-src 'none'" in raw
    assert_nothing_is_obeyed(raw)
    assert "<script>alert(1)</script>" in shown.text


@pytest.fixture
def hostile(write_tiny: Write) -> Path:
    """A bundle whose every free text is markup of one kind or another."""
    manifest, _ = tiny_contents()
    (artefact,) = manifest.artefacts
    verdict = VerdictRecord(
        artefact="model.onnx",
        precision=MARKUP[:20],
        engine=MARKUP,
        device=MARKUP,
        verdict=Verdict.REJECT,
        metric=MARKUP[:60],
        samples=3,
        groups=2,
        reasons=(MARKUP, MARKUP),
    )
    spec = manifest.spec.model_copy(update={"intended_use": MARKUP, "classes": ("background", MARKUP[:63])})
    candidates = {
        "metric": "dice",
        "engine": MARKUP,
        "device": MARKUP,
        "higher_is_better": True,
        "samples": [],
        "tolerance": f"</p><style>.verdict{{display:none}}</style><div class=verdict>ACCEPT</div>{MARKUP}",
        "kept_fraction": 0.99,
        "candidates": [
            {
                "entry": "model.onnx",
                "method": MARKUP,
                "reason": MARKUP,
                "int8_mac_share": 0.0,
                "verdict": "REJECT",
                "measured": None,
                "comparison": None,
                "set_losses": [],
                "laws": [],
                "stages": dict.fromkeys(("torch", "full_precision", "simulated", "target")),
                "time": None,
            }
        ],
        "bench": None,
        "not_made": [MARKUP],
    }
    return write_tiny(
        "hostile.rejected",
        contents={ENTRY: canonical_json(candidates), "card.md": f"# Card\n\n{MARKUP}\n".encode()},
        spec=spec,
        artefacts=(artefact.model_copy(update={"method": MARKUP}),),
        verdict=Verdict.REJECT,
        verdicts=(verdict,),
    )


def test_a_terminal_shows_markup_and_obeys_none(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["inspect", str(hostile)], ["verify", str(hostile)]):
        run(arguments)
        out, err = capsys.readouterr()
        assert_nothing_is_obeyed(out + err)
    run(["inspect", str(hostile)])
    assert "[red]x[/red] [/]" in capsys.readouterr().out


def test_pages_show_markup_and_obey_none(hostile: Path, write_tiny: Write, tmp_path: Path) -> None:
    page, pack, diff = tmp_path / "page.html", tmp_path / "pack", tmp_path / "diff"
    requirements = Path(__file__).parents[2] / "docs/requirements.toml"
    assert run(["report", str(hostile), "--output", str(page)]) == 0
    assert_page_is_ours(page)
    assert "display:none" not in page.read_text(encoding="utf-8").replace("&lt;style&gt;.verdict{display:none}", "")
    assert run(["report", str(hostile), "--pack", str(pack), "--requirements", str(requirements)]) == 0
    assert_page_is_ours(pack / "index.html")
    assert run(["diff", str(write_tiny("plain")), str(hostile), "--output", str(diff)]) in (0, 2)


@pytest.mark.parametrize("broken", [b"[]", b"{}", b"not json", b'{"metric": "none", "candidates": []}', b"[" * 9999])
def test_a_table_of_candidates_that_is_not_ours_is_refused(
    write_tiny: Write, broken: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_tiny(contents={ENTRY: broken})
    assert run(["report", str(bundle), "--output", str(tmp_path / "page.html")]) == 4
    assert "PE-PACK-003" in capsys.readouterr().err


def test_a_file_name_is_one_line_of_text(write_tiny: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, record = tmp_path / "pictures", tmp_path / "out.jsonl"
    folder.mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    (folder / f"{UNSEEN}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    bundle = write_tiny()
    assert run(["run", "--bundle", str(bundle), "--source", str(folder), "--sink", f"jsonl:{record}"]) == 0
    out, err = capsys.readouterr()
    assert_nothing_is_obeyed(out + err)
    rows = [json.loads(line) for line in record.read_bytes().split(b"\n") if line]
    assert [row["kind"] for row in rows].count("frame") == 1
    run(["verify", str(tmp_path / f"{UNSEEN}.physedge")])
    out, err = capsys.readouterr()
    assert_nothing_is_obeyed(out + err)
    assert "\\x1b[2J" in err


def test_brackets_and_advice_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    say("pip install 'physedge[camera]' [/]", UNSEEN)
    shown = capsys.readouterr().out
    assert "physedge[camera]' [/]" in shown
    assert_nothing_is_obeyed(shown)


def test_what_is_not_seen_is_written_out_and_plain_text_stays() -> None:
    assert one_line("Läsion 3 µm, 中文 🙂") == "Läsion 3 µm, 中文 🙂"
    assert one_line("a\nb\x1b\u202e\u2028\x85") == "a\\nb\\x1b\\u202e\\u2028\\x85"
    assert one_line("\udcff") == "\\udcff"
    assert lines("a\nb\x1b") == "a\nb\\x1b"


def test_a_table_file_holds_no_formula() -> None:
    rows = list(csv.reader(io.StringIO(csv_table(["name"], [["=1+1"], ["+x"], ["-0.5"], ["@SUM(A1)"], ["a,b\n=c"]]))))
    assert rows == [["name"], ["'=1+1"], ["'+x"], ["-0.5"], ["'@SUM(A1)"], ["a,b\\n=c"]]
    assert cell("1e-3") == "1e-3"


def test_the_bundle_is_what_this_file_says(hostile: Path) -> None:
    from physedge_runtime.bundle import read_bundle

    opened: Bundle = read_bundle(hostile)
    assert opened.manifest.verdicts[0].reasons[0] == MARKUP
