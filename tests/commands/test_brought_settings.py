"""The config beside a foreign checkpoint is read as data. No code in it runs."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeplab_lightning.__main__ import main
from deeplab_lightning.commands.brought_settings import read_brought_settings

PLAIN: dict[str, Any] = {
    "seed_everything": 3,
    "trainer": {
        "accelerator": "cpu",
        "callbacks": [
            {"class_path": "deeplab_lightning.callbacks.log_predictions.LogPredictions"},
            {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"monitor": "val/miou"}},
            {"class_path": "lightning.pytorch.callbacks.LambdaCallback", "init_args": {"setup": "os.abort"}},
        ],
        "max_time": "00:12:00:00",
        "strategy": "ddp_find_unused_parameters_true",
        "precision": "bf16-mixed",
        "default_root_dir": "/some/where.else",
    },
    "model": {
        "class_path": "deeplab_lightning.modules.deeplab_v3plus.DeepLabV3PlusModule",
        "init_args": {"backbone": "resnet18", "pretrained": False},
    },
    "data": {"class_path": "FolderDataModule", "init_args": {"root": "elsewhere", "mean": [0.4, 0.4, 0.4]}},
    "wandb": {"mode": "online", "project": "mine"},
    "ckpt_path": "/some/where/last.ckpt",
}
POPEN = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "SENTINEL"]}}
ON_IMPORT = {"class_path": "runs_on_import.Foreign"}
ATTACKS: list[tuple[str, Any, str]] = [
    ("trainer.callbacks", [POPEN], "trainer.callbacks.0.class_path is 'subprocess.Popen'"),
    ("trainer.callbacks", POPEN, "trainer.callbacks.class_path is 'subprocess.Popen'"),
    ("trainer.callbacks", "runs_on_import.Foreign", "trainer.callbacks is 'runs_on_import.Foreign'"),
    ("trainer.callbacks", ["runs_on_import.Foreign"], "trainer.callbacks.0 is 'runs_on_import.Foreign'"),
    ("trainer.callbacks", "FOLDER/other.yaml", "trainer.callbacks is 'FOLDER/other.yaml'"),
    ("trainer.plugins", [ON_IMPORT], "trainer.plugins.0.class_path is 'runs_on_import.Foreign'"),
    ("trainer.strategy", POPEN, "trainer.strategy.class_path is 'subprocess.Popen'"),
    ("trainer.logger", {"class_path": "os.system"}, "trainer.logger.class_path is 'os.system'"),
    ("trainer.profiler", "runs_on_import.Foreign", "trainer.profiler is 'runs_on_import.Foreign'"),
    ("trainer.accelerator", ON_IMPORT, "trainer.accelerator.class_path is 'runs_on_import.Foreign'"),
    ("trainer", "FOLDER/other.yaml", "trainer is 'FOLDER/other.yaml'"),
    ("model", POPEN, "model.class_path is 'subprocess.Popen'"),
    ("model", "runs_on_import.Foreign", "model is 'runs_on_import.Foreign'"),
    ("model", "FOLDER/other.yaml", "model is 'FOLDER/other.yaml'"),
    ("model.init_args", "FOLDER/other.yaml", "model is .*other.yaml"),
    ("model.class_path", ["subprocess.Popen"], r"model.class_path is \['subprocess.Popen'\]"),
    ("model.class_path", "deeplab_lightning.modules.base.subprocess.Popen", "model.class_path is .*base.subprocess"),
    ("model.class_path", "deeplab_lightning.cli.DeepLabCLI", "model.class_path is 'deeplab_lightning.cli.DeepLabCLI'"),
    ("model.init_args.backbone", POPEN, "model.init_args.backbone.class_path is 'subprocess.Popen'"),
    ("data", POPEN, "data.class_path is 'subprocess.Popen'"),
    ("data.init_args.root", [[ON_IMPORT]], "data.init_args.root.0.0.class_path is 'runs_on_import.Foreign'"),
    ("data.init_args", ["runs_on_import.Foreign"], "data is .*class_path.* init_args"),
    ("data.init_args.transforms", [POPEN], r"transforms.0 is 'class_path'|transforms.0.class_path is"),
    ("data.init_args.transforms", [{"subprocess.Popen": {"args": ["x"]}}], "transforms.0 is 'subprocess.Popen'"),
    (
        "data.init_args.transforms",
        [{"albumentations.OneOf": {"transforms": [{"runs_on_import.Foreign": None}]}}],
        r"transforms.0.albumentations.OneOf.transforms.0 is 'runs_on_import.Foreign'",
    ),
    ("optimizer", POPEN, "optimizer.class_path is 'subprocess.Popen'"),
    ("lr_scheduler.class_path", {"class_path": "os.system"}, "lr_scheduler.class_path is {'class_path': 'os.system'}"),
    ("checkpoint.monitor", ON_IMPORT, "checkpoint.monitor.class_path is 'runs_on_import.Foreign'"),
]
NO_PLAIN_YAML = [
    "model: !!python/object/apply:subprocess.Popen [[touch, SENTINEL]]",
    "model: !!python/name:runs_on_import.Foreign",
    "{model: !!python/module:runs_on_import x, data: y}",
    "model: {class_path: [",
    "[" * 1000,
]


@pytest.fixture
def sentinel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that exists only if foreign code ran, in a subprocess or by the import of a module on the path."""
    path = tmp_path / "something_ran"
    (tmp_path / "runs_on_import.py").write_text(
        f"import lightning, pathlib\npathlib.Path({str(path)!r}).touch()\nclass Foreign(lightning.Callback): ...\n"
    )
    (tmp_path / "other.yaml").write_text("{callbacks: runs_on_import.Foreign, class_path: runs_on_import.Foreign}")
    monkeypatch.syspath_prepend(tmp_path)
    return path


def brought(folder: Path, text: str) -> Path:
    """Write a checkpoint and its config, and return the path of the config."""
    config = folder / "logs" / "fit_0" / "config.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(text)
    (folder / "best.ckpt").touch()
    return config


def with_attack(place: str, value: Any, sentinel: Path) -> str:
    settings = json.loads(json.dumps(PLAIN))
    *parts, last = place.split(".")
    inner = settings
    for part in parts:
        inner = inner.setdefault(part, {})
    inner[last] = value
    return yaml.safe_dump(settings).replace("SENTINEL", str(sentinel)).replace("FOLDER", str(sentinel.parent))


def test_only_the_settings_of_the_network_and_its_data_are_read(tmp_path: Path) -> None:
    settings = json.loads(json.dumps(PLAIN))
    settings["data"]["init_args"]["transforms"] = [{"torchvision.transforms.v2.RandomRotation": {"degrees": 10}}]
    taken = read_brought_settings(brought(tmp_path, yaml.safe_dump(settings)))
    assert taken == {key: PLAIN[key] for key in ("seed_everything", "model", "data")} | {
        "trainer": {"precision": "bf16-mixed"}
    }


def test_foreign_code_is_named_and_does_not_run(
    tmp_path: Path, sentinel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, value, sentence in ATTACKS:
        config = brought(tmp_path, with_attack(place, value, sentinel))
        with pytest.raises(ValueError, match=sentence.replace("FOLDER", str(tmp_path))) as refusal:
            read_brought_settings(config)
        assert str(refusal.value).startswith(f"{config}: ")
        assert main(["crf-search", str(tmp_path / "best.ckpt")]) == 1
        assert capsys.readouterr().err == f"deeplab: error: {refusal.value}\n"
    assert not sentinel.exists()


@pytest.mark.parametrize("text", NO_PLAIN_YAML, ids=range(len(NO_PLAIN_YAML)))
def test_only_plain_yaml_is_read(text: str, tmp_path: Path, sentinel: Path) -> None:
    config = brought(tmp_path, text.replace("SENTINEL", str(sentinel)))
    with pytest.raises(ValueError, match=f"^{config}: .*plain YAML"):
        read_brought_settings(config)
    assert not sentinel.exists()


def test_a_file_that_unfolds_endlessly_is_refused(tmp_path: Path) -> None:
    laughs = [
        "a0: &a0 [1, 1]",
        *(f"a{level}: &a{level} [{', '.join(9 * [f'*a{level - 1}'])}]" for level in range(1, 40)),
    ]
    for text in ("\n".join(laughs), "model: &model {class_path: DeepLabV1Module, init_args: *model}"):
        with pytest.raises(
            ValueError, match=r"config.yaml: it holds more than 10000 values|model.init_args.class_path"
        ):
            read_brought_settings(brought(tmp_path, text))


def test_a_plain_setting_that_looks_like_code_stays_a_text(
    tmp_path: Path, sentinel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in (json.dumps(POPEN), "${oc.env:HOME}", "runs_on_import.Foreign"):
        for place in ("model.init_args.backbone", "model.init_args.class_names", "data.init_args.root"):
            brought(tmp_path, with_attack(place, value, sentinel))
            assert main(["crf-search", str(tmp_path / "best.ckpt")]) in (1, 2)
    assert not sentinel.exists()


def test_a_file_given_by_hand_is_trusted(tmp_path: Path, sentinel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = brought(tmp_path, with_attack("trainer.callbacks", [ON_IMPORT], sentinel))
    assert main(["crf-search", str(tmp_path / "best.ckpt"), "-c", str(config)]) == 1
    assert "data root 'elsewhere'" in capsys.readouterr().err
    assert sentinel.exists()
