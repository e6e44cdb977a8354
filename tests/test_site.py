"""The site: links stay within it, it is built strictly and asks no other host; its API and its pictures."""

import ast
import os
import re
import subprocess
import sys
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "deeplab_lightning"


def program(name: str) -> ModuleType:
    """A program of docs/, which is no package."""
    spec = util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    return program("hooks")


def test_links_of_a_page_lead_to_places_in_the_site(hooks: ModuleType) -> None:
    text = (
        "[a](../README.md#data) [b](segment.md) [c](../deeplab_lightning/crf) [d](../experiments/base.yaml) [e](#here)"
    )
    assert re.findall(r"\((.*?)\)", hooks.relinked(text, ROOT / "docs" / "serve.md")) == [
        "index.md#data",
        "segment.md",
        "repository/deeplab_lightning/crf/README.md",
        "repository/experiments/base.yaml.txt",
        "#here",
    ]
    text = "[a](../README.md) [b](../docs/demo.png) [c](https://arxiv.org/abs/1412.7062) [d](../.ci/run) [e](own.png)"
    assert re.findall(r"\((.*?)\)", hooks.relinked(text, ROOT / "experiments" / "README.md")) == [
        "../../index.md",
        "../../demo.png",
        "https://arxiv.org/abs/1412.7062",
        "../ci/run.txt",
        "own.png",
    ]


def test_folders_and_notebooks_become_pages(hooks: ModuleType) -> None:
    assert "- [lattice.py](lattice.py)" in hooks.page_text(PACKAGE / "crf")
    assert hooks.page_text(ROOT / "experiments") == (ROOT / "experiments" / "README.md").read_text()
    assert hooks.address(ROOT / "notebooks" / "04_atrous_convolution.ipynb") == "executed/04_atrous_convolution.md"


def exported(package: Path) -> list[str]:
    """The full names of what a package exports lazily, from its imports for type checkers."""
    nodes = [node for node in ast.walk(ast.parse(package.read_text())) if isinstance(node, ast.ImportFrom)]
    return [f"{node.module}.{alias.name}" for node in nodes for alias in node.names if alias.asname]


def test_the_api_has_every_exported_name_once() -> None:
    documented = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    names = {name for package in PACKAGE.rglob("__init__.py") for name in exported(package)}
    assert len(names) > 50
    assert names <= set(documented)
    assert len(documented) == len(set(documented))


def test_the_pictures_of_the_story_are_those_of_a_notebook() -> None:
    pictures = re.findall(r"\((executed/04_atrous_convolution/\w+\.webp)\)", (ROOT / "docs" / "story.md").read_text())
    assert len(set(pictures)) == 8
    assert all((ROOT / "docs" / path).is_file() for path in pictures)


@pytest.mark.slow
def test_the_site_builds_strictly_and_asks_no_other_host(tmp_path: Path) -> None:
    """`make docs` runs the same command."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path / "site").as_posix(): path for path in (tmp_path / "site").rglob("*.html")}
    assert {
        path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")
    } | {"index.html"} <= set(pages)
    for name, path in pages.items():
        text = path.read_text()
        assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?(?:https?:)?//", text), name
    assert (tmp_path / "site" / "repository" / "experiments" / "base.yaml.txt").is_file()
