"""What was done for the rows of tables under an older protocol: taken as it is, or named."""

from collections.abc import Sequence

from deeplab_lightning.ablation.outcomes import Outcomes, chosen_evaluation, describe_older, older_keys
from deeplab_lightning.ablation.plan import Plan
from deeplab_lightning.settings.resolve import Resolved


def find_older(plans: Sequence[Plan], outcomes: Outcomes, accept: bool) -> dict[str, str]:
    """Sentences on what is not done but was done under an older protocol, by its key.

    Args:
        plans: whose trainings and evaluations are sought.
        outcomes: among which.
        accept: let the plans name what was done in the place of what is not; nothing is left to say.
    """
    older: dict[str, str] = {}
    for training in (training for plan in plans for training in plan.trainings):
        if not _is_done(training.name, outcomes):
            key = older_keys(training, outcomes).get(training.seed)
            if key is not None and accept:
                training.name = key
            elif key is not None:
                older[training.name] = _sentence(key, outcomes, training.resolved)
        for evaluation in training.evaluations.values():
            own = f"{training.name}/evaluations/{evaluation.digest}"
            key = chosen_evaluation(training.name, evaluation, outcomes)
            if key != own and accept:
                evaluation.digest = key.rpartition("/")[2]
            elif key != own:
                older[own] = _sentence(key, outcomes, evaluation.resolved)
    return older


def _is_done(key: str, outcomes: Outcomes) -> bool:
    return key in outcomes and not outcomes[key].state


def _sentence(key: str, outcomes: Outcomes, resolved: Resolved) -> str:
    return (
        f"{outcomes[key].folder or key} was done under an older protocol ({describe_older(outcomes[key], resolved)}); "
        "--older accept takes it, --older rerun does it again"
    )
