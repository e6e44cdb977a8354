"""Every failure is reported in one sentence on standard error."""

import re

import pytest

from deeplab_lightning.__main__ import COMMANDS, main
from deeplab_lightning.usage import Parser, UsageError, expand_home, nearest


def circle_of_errors() -> Exception:
    """An error whose context has the error itself as its cause."""
    inner, outer = ValueError("the first"), ValueError("the second")
    inner.__context__, outer.__cause__ = outer, inner
    return inner


def hidden_error() -> Exception:
    """An error that was raised while an error of a loader was handled."""
    try:
        try:
            raise OSError(12, "Cannot allocate memory")
        except OSError:
            raise RuntimeError("call iter first")  # noqa: B904
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), "out of memory (MemoryError)\n"),
        (RuntimeError("DefaultCPUAllocator: Cannot allocate memory\nmore"), "(DefaultCPUAllocator: Cannot allocate"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "out of memory (libtorch_cpu.so"),
        (RuntimeError("can't start new thread"), "out of memory (can't start new thread)"),
        (hidden_error(), "out of memory ([Errno 12] Cannot allocate memory)"),
        (RuntimeError("could not create a primitive"), "out of memory (could not create a primitive)"),
        (SystemError("error return without exception set"), "out of memory (error return"),
        (OSError(28, "No space left on device", "x/run.json"), "error: x/run.json: No space left on device\n"),
        (circle_of_errors(), "deeplab: error: the first\n"),
        (ValueError("Caught ValueError in DataLoader worker process 0.\nTraceback\nValueError: x: y"), "error: x: y\n"),
        (ValueError("no\n  memory"), "deeplab: error: no memory\n"),
        (EOFError(), "a loader worker was killed, by a lack of memory or a damaged image (EOFError)"),
        (ConnectionResetError(104, "Connection reset by peer"), "a loader worker was killed"),
        (RuntimeError("[gloo] Connection reset by peer"), "another process of this training has ended"),
    ],
)
def test_lack_of_memory_and_lost_processes_are_recognised(
    error: Exception, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr("deeplab_lightning.commands.report.run", fail)
    assert main(["report", "x"]) == 1
    printed = capsys.readouterr().err
    assert expected in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        ("segment", ("--batch_size", "--workers", "--tile", "--device")),
        ("serve", ("--megapixels", "--device")),
        ("benchmark", ("--batch", "--sizes", "--device")),
        ("crf-search", ("--workers",)),
        ("data check", ("--num-workers",)),
        ("data show", ()),
    ],
)
def test_a_command_out_of_memory_names_its_own_options(
    command: str, advice: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise MemoryError

    words = command.split()
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    options = re.findall(r"--[\w-]+", capsys.readouterr().out)
    monkeypatch.setattr(f"deeplab_lightning.{COMMANDS[words[0]][0]}.run", fail)
    assert main([*words, "x"]) == 1
    printed = capsys.readouterr().err
    assert tuple(re.findall(r"--[\w-]+", printed)) == advice
    assert set(advice) <= set(options)
    assert "data." not in printed


def test_the_nearest_names_are_synonyms_and_misspellings() -> None:
    names = ["model.lr", "model.lr_multipliers", "data.batch_size", "ckpt_path", "trainer.max_steps"]
    assert nearest("model.learning_rate", names) == ["model.lr"]
    assert nearest("bs", names) == ["data.batch_size"]
    assert nearest("ckpt", names) == ["ckpt_path"]
    assert nearest("trainer.max_stepps", names) == ["trainer.max_steps"]
    assert nearest("nothing_like_it", names) == []


def test_home_is_expanded_after_an_equals_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    options = ["--data.root=~/data", "~/x.yaml", "--wandb.name", "a~b", "[~]"]
    assert [expand_home(each) for each in options] == [
        "--data.root=/home/me/data",
        "/home/me/x.yaml",
        "--wandb.name",
        "a~b",
        "[~]",
    ]


def test_abbreviated_options_are_refused() -> None:
    parser = Parser(prog="deeplab some")
    parser.add_subparsers().add_parser("check").add_argument("--num-workers", type=int)
    with pytest.raises(UsageError, match="--num-worker;.*--num-workers"):
        parser.parse_args(["check", "--num-worker", "3"])
    with pytest.raises(UsageError, match="'x'.*deeplab some check --help"):
        parser.parse_args(["check", "--num-workers", "x"])


def test_equally_near_names_have_a_fixed_order() -> None:
    names = ["DeepLabV3Module", "DeepLabV1Module", "DeepLabV2Module"]
    assert nearest("DeepLabV4Module", names) == nearest("DeepLabV4Module", names[::-1]) == sorted(names)
