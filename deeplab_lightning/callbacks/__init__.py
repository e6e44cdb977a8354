"""Callbacks for all that surrounds training: scores, logs, checkpoints, progress and safety."""

from typing import TYPE_CHECKING

from deeplab_lightning.exports import exports

if TYPE_CHECKING:
    from deeplab_lightning.callbacks.bootstrap_hard_images import BootstrapHardImages as BootstrapHardImages
    from deeplab_lightning.callbacks.checkpoint import Checkpoint as Checkpoint
    from deeplab_lightning.callbacks.crf_evaluation import CRFEvaluation as CRFEvaluation
    from deeplab_lightning.callbacks.evaluation import EvaluationCallback as EvaluationCallback
    from deeplab_lightning.callbacks.log_predictions import LogPredictions as LogPredictions
    from deeplab_lightning.callbacks.save_logits import SaveLogits as SaveLogits
    from deeplab_lightning.callbacks.trimap_evaluation import TrimapEvaluation as TrimapEvaluation
    from deeplab_lightning.callbacks.write_submission import WriteSubmission as WriteSubmission

__getattr__ = exports(
    __name__,
    {
        "BootstrapHardImages": "bootstrap_hard_images",
        "Checkpoint": "checkpoint",
        "CRFEvaluation": "crf_evaluation",
        "EvaluationCallback": "evaluation",
        "LogPredictions": "log_predictions",
        "SaveLogits": "save_logits",
        "TrimapEvaluation": "trimap_evaluation",
        "WriteSubmission": "write_submission",
    },
)
