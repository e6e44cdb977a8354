from pathlib import Path

import torch

from deeplab_lightning.callbacks.save_logits import SaveLogits, load_logits
from tests.callbacks.evaluated import TRANSFORM, EvaluatedModule, evaluate, noisy_halves, trainer_in


def test_an_image_is_read_as_it_was_evaluated(tmp_path: Path) -> None:
    steps = [noisy_halves(number) for number in range(2)]
    evaluate([SaveLogits(str(tmp_path / "logits"))], EvaluatedModule(trainer_in(tmp_path), ["a", "b"]), steps)
    assert {path.stem for path in (tmp_path / "logits").iterdir()} == {"image 0", "image 1"}
    for number, (logits, batch) in enumerate(steps):
        image, probabilities, target = load_logits(tmp_path / "logits" / f"image {number}.npz")
        assert (image == TRANSFORM.denormalize(batch["image"][0]).numpy()).all()
        torch.testing.assert_close(probabilities, logits[0].half().float().softmax(0))
        assert torch.equal(target, batch["mask"][0].byte())
