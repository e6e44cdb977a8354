import torch

from deeplab_lightning.callbacks.bootstrap_hard_images import BootstrapHardImages


def test_an_evaluation_loads_the_checkpoint_of_a_bootstrapped_training() -> None:
    callback = BootstrapHardImages()
    callback.load_state_dict({"extra": torch.tensor([1, 3]), "num_images": 12})
    assert callback.state_dict() == {"extra": None, "num_images": 0}
