"""The resolved settings of every file of experiments/model, defaults included, equal the stored ones."""

from tests.integration.golden_settings import all_printed, golden


def test_the_settings_of_every_model_file_equal_the_stored_ones() -> None:
    """After an intended change, run `python -m tests.integration.golden_settings` and read the difference."""
    printed, kept = all_printed(), golden()
    assert list(printed) == list(kept)
    for name, settings in printed.items():
        assert settings == kept[name], name
