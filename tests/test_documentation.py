"""The files, commands and targets that the pages name exist."""

import re
from pathlib import Path

import pytest

from deeplab_lightning.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "experiments" / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_files_exist(page: Path) -> None:
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
    configs = re.findall(r"experiments/[\w/]+\.yaml", text)
    assert len(links) + len(configs) > 3
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
