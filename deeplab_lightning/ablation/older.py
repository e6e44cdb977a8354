"""Jobs that were done for the same rows under an older protocol: finding, describing and accepting them."""

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
    """The keys of a training by seed, for every seed that has an outcome, in ascending order."""
    return _by_seed(key for key in outcomes if not key.evaluation and key.digest == training.digest)


def older_keys(training: Training, outcomes: Outcomes) -> dict[int, JobKey]:
    """The keys of trainings that were done for the same rows under an older protocol, the newest one of each seed."""
    return _by_seed(
        key
        for key, outcome in outcomes.items()
        if not key.evaluation and key.digest != training.digest and _was_done(outcome, training.asked)
    )


def chosen_keys(training: Training, outcomes: Outcomes) -> dict[int, JobKey]:
    """The keys of a training by seed. Where no seed is done, the keys of its older-protocol counterparts, if any."""
    own = keys_by_seed(training, outcomes)
    if any(outcomes[key].is_done for key in own.values()):
        return own
    return older_keys(training, outcomes) or own


def chosen_evaluation(training: JobKey, evaluation: Evaluation, outcomes: Outcomes) -> JobKey:
    """The key of an evaluation of a training; where it is not done, that of an older-protocol counterpart, if any."""
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
    """Whether the job is done and a table asked for it by one of these hashes."""
    return outcome.is_done and not set(outcome.asked).isdisjoint(asked)


def find_older(plans: Sequence[Plan], outcomes: Outcomes) -> dict[JobKey, str]:
    """A sentence for each job, by key, that is not done but has a finished counterpart under an older protocol."""
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
    """Copies of the plans in which jobs that are not done are replaced by finished ones of an older protocol."""
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
    """The differences between the settings on record for a finished job and the settings of today."""
    changes = []
    if outcome.protocol != PROTOCOL:
        since = ", ".join(text for number, text in PROTOCOLS.items() if number > outcome.protocol)
        changes.append(f"protocol {outcome.protocol} -> {PROTOCOL}: {since}")
    config = None if outcome.folder is None else RunFolder(outcome.folder).newest_config()
    if config is not None:
        # A damaged config must not hide the difference in the protocol.
        with suppress(TableError, LookupError, TypeError, AttributeError):
            changes += differences(flatten(read_yaml(config)), resolved)
    return "; ".join(changes) or "the weights that it starts from"
