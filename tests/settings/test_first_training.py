"""The rules of a first training, on numbers."""

from pathlib import Path

import pytest

from deeplab_lightning.datasets.doctor import Findings
from deeplab_lightning.datasets.survey import Survey
from deeplab_lightning.settings.first_training import (
    Machine,
    crop_and_batch,
    data_settings,
    number_of_steps,
    scale_of,
    start_settings,
    training_settings,
)

GIB = 1 << 30
CPU = Machine(16 * GIB, has_gpu=False, num_processors=2)
GPU = Machine(24 * GIB, has_gpu=True, num_processors=32)
SMALL, CAMVID = Survey(60, 80, 3, None), Survey(360, 480, 3, None)
PHOTOGRAPH = Survey(3000, 4000, 3, None)


def test_data_settings() -> None:
    assert data_settings(Path("mine"), True, SMALL) == {"data.root": "mine"}
    tiles = data_settings(Path("mine"), False, Survey(60, 80, 4, "[0, 4095]"))
    assert tiles == {
        "data.root": "mine",
        "data.split_ratio": "[0.8,0.2,0]",
        "data.in_channels": "4",
        "data.value_range": "[0,4095]",
    }


@pytest.mark.parametrize(
    ("looks", "num_images", "machine", "crop", "batch_size"),
    [
        (SMALL, 16, CPU, (65, 81), 8),
        (SMALL, 5, CPU, (65, 81), 4),
        (SMALL, 1, CPU, (65, 81), 1),
        (CAMVID, 367, CPU, (257, 257), 8),
        (CAMVID, 367, GPU, (369, 481), 16),
        (CAMVID, 367, Machine(3 * GIB, True, 8), (257, 257), 4),
        (PHOTOGRAPH, 100, GPU, (513, 513), 8),
        (PHOTOGRAPH, 100, CPU, (257, 257), 8),
        (PHOTOGRAPH, 100, Machine(GIB, False, 2), (129, 129), 4),
        (PHOTOGRAPH, 100, Machine(1, False, 2), (129, 129), 1),
    ],
)
def test_crop_and_batch_fit_the_memory(
    looks: Survey, num_images: int, machine: Machine, crop: tuple[int, int], batch_size: int
) -> None:
    assert crop_and_batch(looks, num_images, machine) == (crop, batch_size)


def test_steps_follow_the_number_of_images_within_bounds() -> None:
    assert [number_of_steps(count, 8, GPU) for count in (4, 100, 367, 10000)] == [300, 1250, 4588, 20000]
    assert [number_of_steps(count, 8, CPU) for count in (4, 40, 367)] == [300, 500, 1000]


def test_photographs_are_made_smaller_for_training_and_scores() -> None:
    assert [scale_of(looks, CPU) for looks in (SMALL, CAMVID, PHOTOGRAPH)] == [1, 1, 0.17]
    settings = training_settings(PHOTOGRAPH, Findings(), 100, GPU)
    assert settings["model.scales"] == "[0.34]"
    assert settings["data.scale_range"] == "[0.17,0.68]"
    assert "model.scales" not in training_settings(CAMVID, Findings(), 100, GPU)


def test_findings_choose_weights_and_normalisation() -> None:
    classes = {"road": {"pixel_share": 0.995, "images": 9}, "sign": {"pixel_share": 0.005, "images": 3}}
    absent = {"road": {"pixel_share": 1.0, "images": 9}, "sign": {"pixel_share": 0.0, "images": 0}}
    channels = {"mean": [0.1, 0.2, 0.3, 0.4], "std": [0.5, 0.5, 0.5, 0.5]}
    findings = Findings(class_frequencies=classes, channels=channels)
    assert training_settings(SMALL, findings, 20, CPU)["model.class_weights"] == "auto"
    assert "data.mean" not in training_settings(SMALL, findings, 20, CPU)
    assert training_settings(Survey(60, 80, 4, None), findings, 20, CPU)["data.mean"] == "[0.1,0.2,0.3,0.4]"
    assert "model.class_weights" not in training_settings(SMALL, Findings(class_frequencies=absent), 20, CPU)


def test_validations_and_logged_losses_fit_short_trainings() -> None:
    settings = training_settings(SMALL, Findings(), 20, CPU, {"trainer.max_steps": "3"})
    assert (settings["trainer.max_steps"], settings["trainer.val_check_interval"]) == ("3", "1")
    assert settings["trainer.log_every_n_steps"] == "2"
    assert "trainer.log_every_n_steps" not in training_settings(SMALL, Findings(), 80, CPU)


def test_a_batch_that_is_given_changes_the_steps() -> None:
    assert training_settings(SMALL, Findings(), 16, CPU, {"data.batch_size": "2"})["trainer.max_steps"] == "800"
    for refused in ("0", "many", "-1"):
        assert training_settings(SMALL, Findings(), 16, CPU, {"data.batch_size": refused})["data.batch_size"] == "8"


def test_random_weights_learn_at_one_rate() -> None:
    assert start_settings(True) == {"model.pretrained": "true"}
    assert start_settings(False)["model.lr_multipliers"] == "null"
