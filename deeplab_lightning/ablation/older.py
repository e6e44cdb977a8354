"""Jobs that were done for the same rows under an older protocol: found, described, taken as they are."""

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from copy import deepcopy

from deeplab_lightning.ablation.outcomes import Outcome, Outcomes
from deeplab_lightning.ablation.plan import Evaluation, Plan, Training
from deeplab_lightning.ablation.protocol import PROTOCOL, PROTOCOLS
from deeplab_lightning.ablation.table import TableError, read_yaml
from deeplab_lightning.run_folder import JobKey, RunFolder
from deeplab_lightning.settings.resolve import Resolved, differences, flatten


def keys_by_seed(training: Training, outcomes: Outcomes) -> dict[int, JobKey]:
    """The keys of a training with whatever seed, in the order of the seeds."""
    return _by_seed(key for key in outcomes if not key.evaluation and key.digest == training.digest)


def older_keys(training: Training, outcomes: Outcomes) -> dict[int, JobKey]:
    """The keys of what was done under an older protocol for the same rows, the newest of each seed."""
    return _by_seed(
        key
        for key, outcome in outcomes.items()
        if not key.evaluation and key.digest != training.digest and _was_done(outcome, training.asked)
    )


def chosen_keys(training: Training, outcomes: Outcomes) -> dict[int, JobKey]:
    """The keys of a training by seed, or where none of it is done, those of the same under an older protocol."""
    own = keys_by_seed(training, outcomes)
    if any(outcomes[key].is_done for key in own.values()):
        return own
    return older_keys(training, outcomes) or own


def chosen_evaluation(training: JobKey, evaluation: Evaluation, outcomes: Outcomes) -> JobKey:
    """The key of an evaluation of a training, or where it is not done, of the same under an older protocol."""
    own = JobKey(training.training, evaluation.digest)
    if _is_done(own, outcomes):
        return own
    older = [
        key
        for key, outcome in outcomes.items()
        if key.evaluation and key.training == own.training and _was_done(outcome, evaluation.asked)
    ]
    return older[-1] if older else own


def _by_seed(keys: Iterable[JobKey]) -> dict[int, JobKey]:
    return dict(sorted({key.seed: key for key in keys}.items()))


def _is_done(key: JobKey, outcomes: Outcomes) -> bool:
    return key in outcomes and outcomes[key].is_done


def _was_done(outcome: Outcome, asked: Collection[str]) -> bool:
    """Whether it was done for what tables ask for."""
    return outcome.is_done and not set(outcome.asked).isdisjoint(asked)


def find_older(plans: Sequence[Plan], outcomes: Outcomes) -> dict[JobKey, str]:
    """A sentence on each job that is not done but was done under an older protocol, by its key."""
    older: dict[JobKey, str] = {}
    for training in (training for plan in plans for training in plan.trainings):
        own = training.key
        key = own if _is_done(own, outcomes) else older_keys(training, outcomes).get(training.seed, own)
        if key != own:
            older[own] = _sentence(key, outcomes, training.resolved)
        for evaluation in training.evaluations.values():
            key = chosen_evaluation(own, evaluation, outcomes)
            if key.evaluation != evaluation.digest:
                older[JobKey(own.training, evaluation.digest)] = _sentence(key, outcomes, evaluation.resolved)
    return older


def accept_older(plans: Sequence[Plan], outcomes: Outcomes) -> list[Plan]:
    """Copies of the plans that name what was done under an older protocol in the place of what is not done."""
    accepted = deepcopy(list(plans))
    for training in (training for plan in accepted for training in plan.trainings):
        if not _is_done(training.key, outcomes):
            key = older_keys(training, outcomes).get(training.seed)
            training.name = training.name if key is None else key.training
        for evaluation in training.evaluations.values():
            evaluation.digest = chosen_evaluation(training.key, evaluation, outcomes).evaluation
    return accepted


def _sentence(key: JobKey, outcomes: Outcomes, resolved: Resolved) -> str:
    return (
        f"{outcomes[key].folder or key} was done under an older protocol ({describe_older(outcomes[key], resolved)}); "
        "--older accept takes it, --older rerun does it again"
    )


def describe_older(outcome: Outcome, resolved: Resolved) -> str:
    """The differences between what was done, by its records, and what would be done now."""
    changes = []
    if outcome.protocol != PROTOCOL:
        since = ", ".join(text for number, text in PROTOCOLS.items() if number > outcome.protocol)
        changes.append(f"protocol {outcome.protocol} -> {PROTOCOL}: {since}")
    config = None if outcome.folder is None else RunFolder(outcome.folder).newest_config()
    if config is not None:
        with suppress(TableError, LookupError, TypeError, AttributeError):  # damaged: the rest is said all the same
            changes += differences(flatten(read_yaml(config)), resolved)
    return "; ".join(changes) or "what it starts from"
