"""The part of a plan that failed."""

from collections.abc import Sequence
from dataclasses import replace

from deeplab_lightning.ablation.outcomes import Outcomes, State
from deeplab_lightning.ablation.plan import Plan, PlannedRow
from deeplab_lightning.run_folder import JobKey


def only_failed(plans: Sequence[Plan], outcomes: Outcomes) -> list[Plan]:
    """The plans with only those rows and seeds that have a failed job: a training that they need, or their evaluation.

    Other rows of a shared training are left out, whether they are done or not, and so are plans without a failure.
    """
    return [part for plan in plans if (part := _failed_part(plan, outcomes)).rows]


def _failed_part(plan: Plan, outcomes: Outcomes) -> Plan:
    failed = {key for key, outcome in outcomes.items() if outcome.state is State.FAILED}
    rows = [planned for planned in plan.rows if failed & _keys(planned)]
    kept = {key for planned in rows for key in _keys(planned)}
    trainings = [
        replace(
            training,
            evaluations={
                name: each for name, each in training.evaluations.items() if JobKey(training.name, each.digest) in kept
            },
        )
        for training in plan.trainings
        if training.key in kept
    ]
    return replace(plan, rows=rows, trainings=trainings)


def _keys(planned: PlannedRow) -> set[JobKey]:
    """The keys of all jobs that a row needs."""
    keys, training = set(), planned.training
    if training is not None and planned.evaluation is not None:
        keys.add(JobKey(training.name, planned.evaluation.digest))
    while training is not None:
        keys.add(training.key)
        training = training.source
    return keys
