"""Every setting that a file of experiments/model comes to, defaults included, is what it was."""

from tests.integration.golden_settings import all_printed, golden


def test_the_settings_of_every_model_file_are_those_that_are_kept() -> None:
    """After a change that is meant: python -m tests.integration.golden_settings, and read the difference."""
    printed, kept = all_printed(), golden()
    assert list(printed) == list(kept)
    for name, settings in printed.items():
        assert settings == kept[name], name
