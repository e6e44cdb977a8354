import logging
import sys
from pathlib import Path
from typing import Literal

import pytest
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from deeplab_lightning.lightning_internals import wandb_arguments
from deeplab_lightning.loggers import WandbSettings, build_loggers, wandb_mode


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


def test_without_a_key_it_is_offline() -> None:
    assert wandb_mode(WandbSettings()) == "offline"


def test_a_chosen_mode_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_mode(WandbSettings()) == "disabled"
    assert wandb_mode(WandbSettings(mode="online")) == "online"


def test_without_the_library_a_run_goes_on_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with caplog.at_level(logging.INFO, "lightning.pytorch.utilities.rank_zero"):
        (csv_logger,) = build_loggers(tmp_path, "fit", WandbSettings())
        assert isinstance(csv_logger, CSVLogger)
        assert len(caplog.messages) == 1
        assert "deeplab_lightning[wandb]" in caplog.messages[0]
        monkeypatch.setenv("WANDB_MODE", "online")
        assert wandb_mode(WandbSettings()) == wandb_mode(WandbSettings(mode="disabled")) == "disabled"
        assert len(build_loggers(tmp_path, "predict", WandbSettings())) == 1
    assert len(caplog.messages) == 2
    for asked in (WandbSettings(mode="offline"), WandbSettings(log_model=True)):
        with pytest.raises(ModuleNotFoundError, match="offline|log_model"):
            build_loggers(tmp_path, "fit", asked)


def test_checkpoints_cannot_be_uploaded_without_wandb() -> None:
    with pytest.raises(ValueError, match="log_model.*disabled"):
        WandbSettings(mode="disabled", log_model=True)


def test_every_command_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    for number in range(2):
        loggers = build_loggers(tmp_path, "test", WandbSettings(mode="disabled"))
        (csv_logger,) = loggers
        assert isinstance(csv_logger, CSVLogger)
        assert Path(csv_logger.log_dir) == tmp_path / "logs" / f"test_{number}"  # even if the first has logged nothing
    build_loggers(tmp_path, "fit", WandbSettings(mode="disabled"))
    assert not (tmp_path / "logs" / "fit_0").exists()  # a training that is refused leaves nothing


def test_other_ranks_create_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    build_loggers(tmp_path, "test", WandbSettings(mode="disabled"))
    assert not list(tmp_path.iterdir())


def test_curves_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (logger,) = build_loggers(tmp_path, "test", WandbSettings(mode="disabled"))
    logger.log_metrics({"val/loss": 1.0}, 1)
    (tmp_path / "logs" / "test_0" / "metrics.csv").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        logger.save()
    assert caught.value.filename == str(tmp_path / "logs" / "test_0" / "metrics.csv")
    logger.finalize("failed")  # the error that ended the run is the one to report


def test_a_resumed_training_of_a_table_continues_its_run(tmp_path: Path) -> None:
    def run_id(mode: Literal["online", "offline"], command: str = "fit", work: str | None = "one") -> str | None:
        _, logger = build_loggers(tmp_path, command, WandbSettings(mode=mode, work=work))
        return None if logger.version is None else str(logger.version)

    assert run_id("online") is None
    for name in ("run-20260101_120000-a", "run-20260102_110000-b-c", "offline-run-20260103_110000-d"):
        (tmp_path / "wandb" / name).mkdir(parents=True)
    assert run_id("online") == "b-c"
    assert run_id("offline") is None
    assert run_id("online", "validate") is None
    assert run_id("online", work=None) is None


def test_csv_comes_first(tmp_path: Path) -> None:
    """Lightning saves the config in the folder of the first logger."""
    first, second = build_loggers(tmp_path, "fit", WandbSettings(mode="offline"))
    assert isinstance(first, CSVLogger)
    assert isinstance(second, WandbLogger)


def in_wandb(tmp_path: Path, command: str, submits: bool = False, **settings: str) -> tuple[object, object] | None:
    """The name and the group of a run in the folder "voc" in W&B; None if it is not logged there."""
    _, *loggers = build_loggers(tmp_path / "voc", command, WandbSettings(mode="offline", **settings), submits)  # type: ignore[arg-type]
    if not loggers:
        return None
    (logger,) = loggers
    assert isinstance(logger, WandbLogger)
    return wandb_arguments(logger)["name"], wandb_arguments(logger)["group"]


def test_the_runs_of_one_folder_are_a_group_with_a_name_each(tmp_path: Path) -> None:
    assert in_wandb(tmp_path, "fit") == ("voc", "voc")
    assert in_wandb(tmp_path, "validate") == ("voc validate", "voc")
    assert in_wandb(tmp_path, "test") == ("voc test", "voc")
    assert in_wandb(tmp_path, "test", name="mine", group="ours") == ("mine", "ours")


def test_a_prediction_leaves_no_run_unless_it_is_submitted(tmp_path: Path) -> None:
    assert in_wandb(tmp_path, "predict") is None
    assert in_wandb(tmp_path, "predict", submits=True) == ("voc predict", "voc")
