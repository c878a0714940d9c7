"""What README and docs tell people to type exists, and every link leads somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from physedge.cli.app import build_app

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def commands(page: Path) -> list[str]:
    found = []
    for block in re.findall(
        r"```sh\n(.*?)```|((?:^    .*\n)+)", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        lines = "".join(block).replace("\\\n", " ").splitlines()
        found += [line.strip() for line in lines if re.match(r"\s*(PYTHONPATH=\S+ )?physedge ", line)]
    return found


def test_every_command_in_the_pages_parses() -> None:
    seen = 0
    for page in PAGES:
        for line in commands(page):
            words = shlex.split(line, comments=True)
            words = words[words.index("physedge") + 1 :]
            group = typer.main.get_command(build_app())
            assert words[0] in group.commands, f"{page.name}: {line}"
            arguments = [word for word in words[1:] if word not in ("|", "...")]
            with group.commands[words[0]].make_context(words[0], arguments):
                seen += 1
    assert seen >= 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} -> {target}"
