"""A hook of MkDocs that adds the files of the repository to which the pages link, so that links stay within the site.

Pages link to files by relative paths, as code hosts want it. In the site, the README is the first page, and the
executed copy of a notebook is its page. Other pages and folders are pages under `repository/`, and all other files are
copied there: pictures as they are, the rest as text.
"""

import re
from pathlib import Path
from posixpath import relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
KEPT = (".md", ".png")
"""Endings of files that the site shows as they are; all others are text there."""
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the pages by ones whose links lead to files of the site, and add these files."""
    waiting, done = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], set()
    while waiting:
        path = waiting.pop()
        if path in done or not path.exists() or path.suffix == ".ipynb":
            continue
        done.add(path)
        name = address(path)
        if not name.endswith(".md"):
            if not path.is_relative_to(DOCS):
                files.append(File.generated(config, name, abs_src_path=str(path)))
            continue
        text = page_text(path)
        if (page := files.get_file_from_path(name)) is not None:
            files.remove(page)
        files.append(File.generated(config, name, content=relinked(text, path)))
        waiting += [(folder_of(path) / link).resolve() for link in LINK.findall(text)]
    return files


def address(path: Path) -> str:
    """Return the place of a file or folder of the repository among the sources of the site."""
    if path == ROOT / "README.md":
        return "index.md"
    if path.suffix == ".ipynb":
        return f"executed/{path.stem}.md"
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    if path.is_dir():
        path /= "README.md"  # the address of its own page, if it has one
    parts = [part.removeprefix(".") for part in path.relative_to(ROOT).parts]  # MkDocs leaves out what is hidden
    inside = Path("repository", *parts)
    return inside.as_posix() if inside.suffix in KEPT else f"{inside.as_posix()}.txt"


def folder_of(path: Path) -> Path:
    """Return the folder to which the links of a page are relative."""
    return path if path.is_dir() else path.parent


def relinked(text: str, path: Path) -> str:
    """Return the text of a page with links to places in the site; dead links stay dead, and MkDocs reports them."""
    here = Path(address(path)).parent
    return LINK.sub(lambda link: relpath(address((folder_of(path) / link[1]).resolve()), here), text)


def page_text(path: Path) -> str:
    """Return a page in Markdown, or the list of the files in a folder."""
    if path.is_dir():
        if (path / "README.md").is_file():
            return (path / "README.md").read_text()
        names = sorted(each.name for each in path.iterdir() if each.is_file())
        return "\n".join([f"# {path.relative_to(ROOT)}/", "", *(f"- [{name}]({name})" for name in names)])
    return path.read_text()
