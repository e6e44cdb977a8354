"""The experiments inside the installed package, for commands that run away from a checkout of the repository."""

from pathlib import Path

EXPERIMENTS = Path(__file__).parent / "experiments"
"""The folder of the YAML files. In a checkout it is a link to the folder at the top."""


def find_experiment(path: str) -> Path:
    """Return the path in the package for a path such as experiments/base.yaml that the working directory lacks.

    Args:
        path: The path of a file or a folder. It is returned unchanged if it exists, or if the package lacks it too.
    """
    given = Path(path)
    if given.parts[:1] != (EXPERIMENTS.name,) or given.exists():
        return given
    own = EXPERIMENTS.joinpath(*given.parts[1:])
    return own if own.exists() else given


def expand_experiment(word: str) -> str:
    """Replace the path of a YAML file in a word of the command line by `find_experiment` of it.

    Args:
        word: The word: an option, with or without `=VALUE`, or a value.
    """
    option, equals, path = word.rpartition("=")
    return f"{option}{equals}{find_experiment(path)}" if path.endswith(".yaml") else word
