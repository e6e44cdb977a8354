"""Fetch data sets: download, verify, unpack. A file or folder gets its final name only when it is complete."""

from pathlib import Path

from rich.console import Console

from deeplab_lightning.datasets.archives import unpack
from deeplab_lightning.datasets.download import download
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.sources import SOURCES, Archive

SLACK = 100_000_000
"""Bytes that an archive may unpack to in addition to twice its known size."""


def prepare(name: str, root: Path, mirror: str | None = None, archives: Path | None = None) -> None:
    """Download a data set, verify its checksums, and unpack it. An interrupted download is continued.

    Args:
        name: Key of `SOURCES`.
        root: Folder that holds the data sets.
        mirror: Address of a folder with the same files, which is tried first.
        archives: Folder of archives that are already there. Those in it are not downloaded, and they are kept.

    Raises:
        DataError: No address serves an archive, only registered users can download it, a checksum is wrong, the disk is
            too small, or an archive is unsafe.
    """
    source, console = SOURCES[name], Console()
    console.print(f"{name}: {source.licence}", highlight=False, soft_wrap=True)
    root.mkdir(parents=True, exist_ok=True)
    for archive in source.archives:
        missing = [(inside, target) for inside, target in archive.unpacks if not (root / target).exists()]
        if not missing:
            console.print(f"{', '.join(target for _, target in archive.unpacks)}: already there", highlight=False)
            continue
        is_own = archives is not None and (archives / archive.name).is_file()
        path = fetch(archive, archives if archives is not None and is_own else root, mirror)
        unpack(path, missing, root, max_bytes=int(2e9 * archive.unpacked_gb) + SLACK, finish=source.finish)
        if not is_own:
            path.unlink()
        console.print(f"{', '.join(str(root / target) for _, target in missing)}: done", highlight=False)


def fetch(archive: Archive, folder: Path, mirror: str | None = None) -> Path:
    """Download an archive into a folder unless it is there, verify it, and return its path; see `download`.

    Raises:
        DataError: Only registered users can download the archive, and there is no mirror.
    """
    path = folder / archive.name
    urls = [f"{mirror.rstrip('/')}/{archive.name}"] if mirror else []
    if archive.page is None:
        urls += archive.urls
    elif not urls and not path.exists():
        raise DataError(
            f"registered users download {archive.name} at {archive.page}; give the folder that holds it as --archives"
        )
    download(urls, path, archive.checksum, contents=int(archive.unpacked_gb * 1e9))
    return path
