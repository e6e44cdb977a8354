"""The results of jobs in a folder, or at an fsspec address, that several machines share."""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from deeplab_lightning.ablation.claims import Claims
from deeplab_lightning.ablation.outcomes import Outcome
from deeplab_lightning.atomic import replacing, write_atomically
from deeplab_lightning.run_folder import JobFolder, JobKey
from deeplab_lightning.segmentation.addresses import Address

CLAIMS = "claims"


class SharedResults:
    """Results that several machines share by the hashes of their settings.

    A result is an archive of the job's records, which is put there whole and last. The checkpoint of a training lies
    beside it, and a machine copies it only if one of its own jobs needs it.

    Args:
        folder: The folder of the results of one scale.
        root: The folder of the folders of all jobs on this machine.
    """

    def __init__(self, folder: Address, root: Path) -> None:
        self.folder, self.root = folder, root
        self.claims = Claims(folder / CLAIMS, root)
        self.late: list[JobKey] = []

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Keep the claims of this machine until the end of the block, and put there what could not be put before.

        Raises:
            OSError: A result cannot be put there at the end either. It is in the job's folder on this machine.
        """
        with self.claims.renewing():
            yield
            for key in self.late:
                self.put(key)

    def take(self, key: JobKey, needs: JobKey | None) -> str:
        """Claim a job, unless another machine has; then copy its result from there, or else what it needs to run here.

        Args:
            key: The key of the job.
            needs: The key of the training whose checkpoint the job needs; None if it needs none.

        Returns:
            The machine that has claimed the job before; empty if the job is this machine's or done.

        Raises:
            OSError: The results cannot be reached.
            ValueError: The result is damaged.
        """
        holder = self.claims.claim(key)
        if not holder and not self.get(key) and needs is not None:
            self.get_checkpoint(needs)
        return holder

    def get(self, key: JobKey) -> bool:
        """Copy the records of a finished job into its folder on this machine, in place of those of an unfinished one.

        Returns:
            Whether there is a result.

        Raises:
            OSError: The result cannot be reached.
            ValueError: The archive is damaged.
        """
        archive = self._archive(key)
        if not archive.is_file():
            return False
        folder = JobFolder.of(self.root, key)
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "result.zip"
            archive.get(path)
            try:
                contents = _unpack(path)
            except (ValueError, zipfile.BadZipFile) as error:
                raise ValueError(f"{archive}: {error}; remove this file, and its job is run again") from error
        folder.clear()
        done = contents.pop(folder.done.name)
        for inside, content in contents.items():
            write_atomically(folder.path / inside, content)
        write_atomically(folder.done, done)  # last, as it says that the job is done
        return True

    def get_checkpoint(self, key: JobKey) -> None:
        """Copy the checkpoint of a training into its folder on this machine, unless it is there.

        Raises:
            OSError: The checkpoint cannot be reached.
        """
        last = JobFolder.of(self.root, key).last
        if not last.exists() and (there := self._checkpoint(key)).is_file():
            with replacing(last) as draft:
                there.get(draft)

    def finish(self, key: JobKey) -> None:
        """Put the result of a job there if the job is done, and release the claim. What fails is tried at the end."""
        if Outcome.read(JobFolder.of(self.root, key)).is_done:
            try:
                self.put(key)
            except OSError:
                self.late.append(key)
        self.claims.release(key)

    def put(self, key: JobKey) -> None:
        """Put the result of a finished job there, unless it is there.

        Raises:
            OSError: The result cannot be put there.
        """
        folder = JobFolder.of(self.root, key)
        if self._archive(key).is_file():
            return
        if folder.last.is_file():
            self._checkpoint(key).replace(folder.last)
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "result.zip"
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in folder.records():
                    archive.write(file, file.relative_to(folder.path).as_posix())
            self._archive(key).replace(path)

    def _archive(self, key: JobKey) -> Address:
        return self.folder / f"{key}.zip"

    def _checkpoint(self, key: JobKey) -> Address:
        return self.folder / f"{key}.ckpt"


def _unpack(path: Path) -> dict[str, bytes]:
    """The contents of the files in an archive, by their relative paths.

    Raises:
        ValueError: A path leads out of the folder, or there is no record of a finished job.
    """
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    for name in contents:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{name} leads out of the folder of the job")
    if JobFolder(Path()).done.name not in contents:
        raise ValueError("there is no record of a finished job")
    return contents
