"""The settings of one part, the model or the data, for commands that need no other part."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from deeplab_lightning.settings.classes import slots
from deeplab_lightning.settings.compose import compose
from deeplab_lightning.settings.given import Given, expand_homes, given_by, read_settings
from deeplab_lightning.settings.known import Known
from deeplab_lightning.settings.parameters import instantiate
from deeplab_lightning.usage import UsageError


def build_part(part: str, files: Sequence[str | Path], options: Sequence[str], changes: Mapping[str, Any]) -> Any:
    """Build the instance that one part of the settings describes.

    The arguments and errors are those of `parse_part`. Errors of the constructor are passed on, such as a ValueError
    for an argument that the class refuses.
    """
    parser, described = parse_part(part, files, options, changes)
    return instantiate(parser, described)[part]


def parse_part(
    part: str, files: Sequence[str | Path], options: Sequence[str], changes: Mapping[str, Any]
) -> tuple[ArgumentParser, Namespace]:
    """Parse one part of the settings without building its instance.

    Args:
        part: The name of the part, "model" or "data".
        files: The paths of YAML files. Later ones win, and their other parts are ignored.
        options: The options of the command line, such as `--model.output_stride 8`, which override the files.
        changes: The arguments that override those of the files, by name.

    Raises:
        UsageError: A file cannot be read, a setting is wrong, or no file names the class.
    """
    sections = {str(file): read_settings(file).get(part) or {} for file in files}
    overrides = {f"{part}.init_args.{name}": value for name, value in changes.items()}
    settings = compose(({part: section} for section in sections.values()), overrides)
    slot = slots()[part]
    if "class_path" not in settings.get(part, {}):
        raise UsageError(f"{', '.join(sections)}: there is no {part}.class_path; add {slot.example}")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(slot.base, part, required=True)
    given = [Given(file, part, section) for file, section in sections.items()]
    given += [Given("", f"{part}.{name}", value) for name, value in changes.items()]
    with Known({}, {part: slot}).explain([*given, *given_by(options)]):
        return parser, parser.parse_args(list(options), namespace=parser.parse_object(expand_homes(settings)))
