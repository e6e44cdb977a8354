"""Files that other programs read (workflow, issue forms, hooks, citation), and the version that they repeat."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeplab_lightning import __version__

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def jobs() -> dict[str, Any]:
    (path,) = WORKFLOWS
    found: dict[str, Any] = read(path)["jobs"]
    return found


def test_the_workflow_lints_tests_and_installs_the_wheel() -> None:
    commands = {name: "\n".join(step.get("run", "") for step in job["steps"]) for name, job in jobs().items()}
    asked = set(re.findall(r"\bmake ([a-z]+)", "\n".join(commands.values())))
    assert {"lint", "test"} <= asked <= TARGETS
    assert "deeplab --help" in re.sub(r"\S+/bin/", "", commands["wheel"])
    for path in re.findall(r"-r (\S+\.txt)", "\n".join(commands.values())):
        assert (ROOT / path).is_file(), path
    for job in jobs().values():
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])


def test_the_workflow_tests_every_python_that_make_env_accepts() -> None:
    (low, high) = re.findall(r"\(3, (\d+)\)", (ROOT / "Makefile").read_text())
    every = [f"3.{minor}" for minor in range(int(low), int(high))]
    assert jobs()["test"]["strategy"]["matrix"]["python-version"] == every == ["3.11", "3.12"]
    assert PROJECT["project"]["requires-python"] == f">={every[0]}"


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_are_whole(path: Path) -> None:
    form = read(path)
    assert {"name", "description", "body"} <= form.keys()
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) >= 2
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field["validations"]["required"] for field in fields)


def test_a_score_is_reported_with_its_identity_and_its_run() -> None:
    required = {
        path.stem: {field["id"] for field in read(path)["body"] if field.get("validations", {}).get("required")}
        for path in FORMS
    }
    assert {"identity", "run"} <= required["score"]
    assert "run" in required["bug"]


def test_hooks_run_the_tools_of_make_lint() -> None:
    (repository,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    entries = [hook["entry"].split()[:2] for hook in repository["hooks"]]
    assert entries == [[".venv/bin/ruff", "check"], [".venv/bin/ruff", "format"], [".venv/bin/mypy"]]
    pinned = (ROOT / "requirements.txt").read_text()
    assert all(re.search(rf"^{tool}==", pinned, re.MULTILINE) for tool in ("ruff", "mypy"))


def test_the_citation_names_the_papers_of_the_variants() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors", "license"} <= citation.keys()
    assert citation["license"] == PROJECT["project"]["license"]
    papers = [reference["identifiers"][0]["value"].removeprefix("arXiv:") for reference in citation["references"]]
    assert papers == ["1412.7062", "1606.00915", "1706.05587", "1802.02611"]
    assert all(f"[{paper}]" in (ROOT / "README.md").read_text() for paper in papers)
    for reference in citation["references"]:
        assert {"type", "title", "authors", "year"} <= reference.keys()


def test_there_is_one_version() -> None:
    assert "version" not in PROJECT["project"]
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "deeplab_lightning.__version__"}
    assert str(read(ROOT / "CITATION.cff")["version"]) == __version__
    headings = re.findall(r"^## (.*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert re.search(rf"(?<!\d){re.escape(__version__)}(?!\d)", headings[0])


def test_no_marks_of_a_merge_are_left() -> None:
    marks = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)
    texts = [path for kind in ("*.md", "docs/*.md", "experiments/**/*.md") for path in ROOT.glob(kind)]
    assert len(texts) > 10
    assert [path for path in texts if marks.search(path.read_text())] == []
