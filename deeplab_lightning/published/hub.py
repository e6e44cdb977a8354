"""Models on the Hugging Face hub, fetched and pushed by name. Connections to the hub are opened here alone."""

import re
from collections.abc import Mapping
from pathlib import Path

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.published.hub_folder import CONFIG, WEIGHTS
from deeplab_lightning.usage import UsageError

REPOSITORY = re.compile(r"(?P<name>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
"""OWNER/NAME, and a commit, tag or branch after an @."""
FILES = (".ckpt", ".onnx", ".pt", ".pth", ".safetensors")
"""The endings of files, which no name on the hub that is meant here has."""


def is_repository(text: str) -> bool:
    """Whether a text that is no path is meant as the name of a model on the hub.

    OWNER/NAME below an existing folder OWNER is a misspelt path, for which the hub is not asked, unless it has an @.
    """
    match = None if text.partition("@")[0].endswith(FILES) else REPOSITORY.fullmatch(text)
    return match is not None and (match["revision"] is not None or not Path(text.partition("/")[0]).exists())


def fetch(repository: str) -> Path:
    """Download config.json and model.safetensors of a model, and no other file, unless they are in the hub's cache.

    Args:
        repository: OWNER/NAME or OWNER/NAME@REVISION.

    Returns:
        The folder with the files, in the hub's cache.

    Raises:
        DataError: There is no such model or revision, or it cannot be reached.
    """
    import huggingface_hub

    match = REPOSITORY.fullmatch(repository)
    if match is None:
        raise UsageError(f"{repository} is not OWNER/NAME or OWNER/NAME@REVISION")
    name, revision = match["name"], match["revision"]
    try:
        return Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=[CONFIG, WEIGHTS]))
    except Exception as error:
        raise DataError(f"{repository}: there is no such file or folder here, and {_reason(error)}") from error


def push(files: Mapping[str, Path | bytes], repository: str, private: bool = False) -> str:
    """Create a model on the hub unless it exists, and add files to it in one commit.

    Args:
        files: The files' paths or contents, by their names on the hub.
        repository: OWNER/NAME.
        private: Whether a new model is visible to its owner alone.

    Returns:
        The address of the commit.

    Raises:
        UsageError: The name is not OWNER/NAME, or there is no token.
        DataError: The hub refuses, or it cannot be reached.
    """
    import huggingface_hub

    match = REPOSITORY.fullmatch(repository)
    if match is None or match["revision"]:
        raise UsageError(f"{repository} is not OWNER/NAME, the name of a model on the hub")
    if huggingface_hub.get_token() is None:
        raise UsageError(
            "pushing needs a token of the hub with the right to write: run `hf auth login`, or set HF_TOKEN"
        )
    operations = [
        huggingface_hub.CommitOperationAdd(name, content if isinstance(content, bytes) else str(content))
        for name, content in files.items()
    ]
    api = huggingface_hub.HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.create_commit(repository, operations, commit_message="Add the model of deeplab_lightning")
    except Exception as error:
        raise DataError(f"{repository}: it was not pushed, because {_reason(error)}") from error
    return str(commit.commit_url)


def _reason(error: Exception) -> str:
    """Return an error of the hub's library in words; its versions also raise the errors of several other libraries."""
    from huggingface_hub import errors

    match error:
        case errors.GatedRepoError():
            return "the hub gives it to those alone who asked for access on its page and set HF_TOKEN to their token"
        case errors.RepositoryNotFoundError():
            return "the hub has no such model, or it is private and HF_TOKEN is not set to a token that may read it"
        case errors.RevisionNotFoundError():
            return "the model on the hub has no such revision"
        case errors.LocalEntryNotFoundError():
            return "the hub cannot be reached, and the model is not in its cache"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"the hub cannot be used ({lines[0]})"
