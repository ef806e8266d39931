"""What agrees passes; what cheats is refused, and told why."""

import math

import pytest
import torch
from torch import nn

import impls
from bench.agreement import measure_agreement, reference_errors, relative_error
from bench.cases import Case
from impls.registry import Implementation

CASE = Case("center_mse", batch=12, dim=8, classes=5)
HONEST = impls.implementation("center_mse", "vectorized").builder


def refused(builder, case=CASE):
    implementation = Implementation(impls.loss(case.loss), "cheater", builder)
    return {a.quantity for a in measure_agreement(case, implementation) if not a.passed}


class Zeros(HONEST):
    def forward(self, embeddings, labels):
        out = super().forward(embeddings, labels)
        return out._replace(loss=0 * out.loss)


class Cached(HONEST):
    kept = None

    def forward(self, embeddings, labels):
        out = super().forward(embeddings, labels)
        self.kept = out.loss.detach() if self.kept is None else self.kept
        return out._replace(loss=out.loss - out.loss.detach() + self.kept)


class Detached(HONEST):
    def forward(self, embeddings, labels):
        out = super().forward(embeddings, labels)
        return out._replace(loss=out.loss.detach())


class OtherGradient(HONEST):
    def forward(self, embeddings, labels):
        out = super().forward(embeddings, labels)
        other = super().forward(embeddings.roll(1, 0), labels)
        return out._replace(loss=out.loss.detach() + other.loss - other.loss.detach())


class SmallerBatch(HONEST):
    def forward(self, embeddings, labels):
        return super().forward(embeddings[:6], labels[:6])


class MovesParameters(HONEST):
    def forward(self, embeddings, labels):
        out = super().forward(embeddings, labels)
        with torch.no_grad():
            self.centers.mul_(1.01)
        return out


class MutatesInput(HONEST):
    def forward(self, embeddings, labels):
        out = super().forward(embeddings, labels)
        embeddings.data.mul_(0.5)
        return out


@pytest.mark.parametrize(
    ("cheater", "caught"),
    [
        (Zeros, {"out.loss", "grad.embeddings", "grad.centers"}),
        (Cached, {"out.loss"}),
        (OtherGradient, {"grad.embeddings", "grad.centers"}),
        (SmallerBatch, {"out.loss", "grad.embeddings", "grad.centers"}),
        (MovesParameters, {"after.centers"}),
    ],
)
def test_a_cheater_is_refused(cheater, caught):
    assert refused(HONEST) == set()
    assert refused(cheater) >= caught


def test_a_detached_graph_raises():
    with pytest.raises(RuntimeError, match="does not require grad"):
        refused(Detached)


def test_a_changed_input_raises():
    with pytest.raises(ValueError, match="it changed its input embeddings"):
        refused(MutatesInput)


def test_a_missing_loss_raises():
    class Nothing(HONEST):
        def forward(self, embeddings, labels):
            return super().forward(embeddings, labels)._replace(loss=None)

    with pytest.raises(TypeError):
        refused(Nothing)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_the_budget_grows_with_the_dtypes_epsilon(dtype):
    case = Case("normface", batch=12, dim=8, classes=5, dtype=dtype)
    eps = torch.finfo(case.torch_dtype).eps
    errors = reference_errors(case)
    assert 0 < errors["grad.weight"] < 100 * eps
    implementation = impls.implementation("normface", "reference")
    assert all(a.passed for a in measure_agreement(case, implementation))


def test_a_thousandth_off_is_refused_in_float32():
    class Off(HONEST):
        def forward(self, embeddings, labels):
            out = super().forward(embeddings, labels)
            return out._replace(loss=1.001 * out.loss)

    assert refused(Off) == {"out.loss", "grad.embeddings", "grad.centers"}


@pytest.mark.parametrize(
    ("value", "exact", "error"),
    [
        ([3.0, 4.0], [3.0, 4.0], 0),
        ([0.0, 0.0], [3.0, 4.0], 1),
        ([0.5, 0.0], [0.0, 0.0], 0.5),
        ([math.nan, 4.0], [3.0, 4.0], math.inf),
        ([math.nan, 4.0], [math.nan, 4.0], 0),
        ([1.0], [1.0, 1.0], math.inf),
    ],
)
def test_relative_error(value, exact, error):
    assert relative_error(torch.tensor(value), torch.tensor(exact)) == error


def test_a_wrong_number_of_parameters_raises():
    class Extra(HONEST):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            self.extra = nn.Parameter(torch.zeros(1))

    with pytest.raises(RuntimeError, match="extra"):
        refused(Extra)
