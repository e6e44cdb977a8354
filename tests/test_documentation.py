"""The files, commands and targets that the pages name exist."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from deeplab_lightning.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "experiments" / "README.md", *DOCS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_files_exist(page: Path) -> None:
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
    configs = re.findall(r"experiments/[\w/]+\.yaml", text)
    assert links or configs
    for link in links:
        assert (page.parent / link).exists(), link
    for config in configs:
        assert (ROOT / config).is_file(), config


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_targets_exist(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^deeplab ([a-z-]+)", text, re.MULTILINE)) <= set(COMMANDS)
    assert set(re.findall(r"make ([a-z]+)\b(?=`|  )", text)) <= targets


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_programs_of_a_page_print_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks of a page are one program; a block of text that follows one is what it prints."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    printed = ""
    for kind, text in blocks:
        if kind == "python":
            assert not printed, f"{page.name} does not show {printed!r}"
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(text, page.name, "exec"), names)
            printed = out.getvalue()
        elif kind == "text":
            assert printed == text
            printed = ""
    assert not printed, f"{page.name} does not show {printed!r}"


def test_every_question_has_a_command() -> None:
    answers = re.split(r"^\*\*\d+\.", (ROOT / "docs" / "questions.md").read_text(), flags=re.MULTILINE)[1:]
    assert len(answers) > 12
    assert all(re.search(r"^deeplab ", answer, re.MULTILINE) for answer in answers)
