"""Compare the training of a variant with the reference's: where the curves part, and why."""

from lossbench import impls
from lossbench.bench.errors import UsageError
from lossbench.bench.train.accuracy import evaluate
from lossbench.bench.train.course import PLAIN, course_of, gaps_beside, train_course
from lossbench.bench.train.experiment import Experiment
from lossbench.bench.train.lockstep import first_fault
from lossbench.bench.train.records import TELLING, Curve, ReferenceRun


def train_reference(experiment: Experiment, compared_steps: int) -> ReferenceRun:
    """Return the result of the reference's training, and how far rounding changes it.

    Args:
        experiment: the experiment to train.
        compared_steps: number of steps, from the first, over which variants are compared.

    Raises:
        UsageError: if the images cannot be read, or the objective does not stay finite.
    """
    course = course_of(experiment, compared_steps)
    odd = (~course.reference.losses.isfinite()).nonzero()
    if len(odd):
        step = int(odd[0])
        raise UsageError(
            f"the objective of {experiment.loss} is {course.reference.losses[step]} at step {step} "
            f"with --lr {experiment.learning_rate:g}; a smaller one may keep it finite"
        )
    accuracy, features = evaluate(experiment, course.reference)
    return ReferenceRun(
        tuple(course.reference.losses.tolist()),
        tuple(course.exact.losses.tolist()),
        tuple(course.rounding.tolist()),
        accuracy,
        features,
    )


def train_variant(experiment: Experiment, variant: str, compared_steps: int) -> Curve:
    """Return the curve of a variant, given by its name; called in a worker."""
    return follow(experiment, impls.implementation(experiment.loss, variant), compared_steps)


def follow(
    experiment: Experiment, implementation: impls.Implementation, compared_steps: int
) -> Curve:
    """Train an implementation, and return its curve compared with the reference's.

    Raises:
        UsageError: if the images cannot be read.
    """
    course = course_of(experiment, compared_steps)
    path = train_course(experiment, implementation, PLAIN, compared_steps)
    gaps = gaps_beside(path, course.exact)
    losses, largest = tuple(path.losses.tolist()), float(gaps.max())
    beyond = (gaps > course.allowed).nonzero()
    told = int((course.allowed <= TELLING).sum())
    if not len(beyond):
        return Curve(losses, largest, allowed=float(course.allowed[-1]), told=told)
    parted = int(beyond[0])
    return Curve(
        losses,
        largest,
        parted,
        float(gaps[parted]),
        float(course.allowed[parted]),
        told,
        first_fault(experiment, implementation, parted + 1),
    )
