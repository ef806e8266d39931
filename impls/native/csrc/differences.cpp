// The operators of the contrastive losses and of the distance of two arrays.
#include "differences.h"

#include "operators.h"

namespace lossbench {
namespace {

Differences asked(const Tensor& a, const Tensor& b, PairLoss loss) {
  Differences job;
  job.a = matrix_of(a), job.b = matrix_of(b), job.loss = loss;
  STD_TORCH_CHECK(a.dim() == 2 && b.dim() == 2 && job.a.rows == job.b.rows &&
                      job.a.columns == job.b.columns && job.a.dtype == job.b.dtype,
                  "lossbench: expected two matrices of one shape and dtype");
  return job;
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> contrastive(Tensor x0, Tensor x1, Tensor same, double margin,
                                               bool whole_batch, bool for_x) {
  Differences job = asked(x0, x1, whole_batch ? PairLoss::whole_batch : PairLoss::each);
  job.same = matrix_of(same), job.margin = margin;
  STD_TORCH_CHECK(same.dim() == 1 && (job.same.columns == job.a.rows || job.same.columns == 1),
                  "lossbench: expected labels [B] or [1]");
  const bool wide = job.a.dtype == Dtype::float64;
  const Tensor value = empty({}, computed_in(wide));
  const Tensor grad_a = empty_gradient(x0, for_x), grad_b = empty_gradient(x1, for_x);
  const Tensor scratch = bytes(LOSSBENCH_CALL(differences_scratch(job, wide)));
  job.value = value.mutable_data_ptr(), job.scratch = scratch.mutable_data_ptr();
  if (for_x) job.grad_a = grad_a.mutable_data_ptr(), job.grad_b = grad_b.mutable_data_ptr();
  LOSSBENCH_CALL(differences(job, wide));
  return {value, grad_a, grad_b};
}

Tensor vector_distance(Tensor a, Tensor b) {
  Differences job = asked(a, b, PairLoss::distance);
  const bool wide = job.a.dtype == Dtype::float64;
  Tensor value = empty({}, computed_in(wide));
  const Tensor scratch = bytes(LOSSBENCH_CALL(differences_scratch(job, wide)));
  job.value = value.mutable_data_ptr(), job.scratch = scratch.mutable_data_ptr();
  LOSSBENCH_CALL(differences(job, wide));
  return value;
}

std::tuple<Tensor, Tensor> vector_distance_backward(Tensor upstream, Tensor a, Tensor b,
                                                    Tensor distance) {
  Differences job = asked(a, b, PairLoss::distance);
  const bool wide = job.a.dtype == Dtype::float64;
  job.upstream = number_of(upstream), job.distance = number_of(distance);
  Tensor grad_a = empty_gradient(a, true), grad_b = empty_gradient(b, true);
  const Tensor scratch = bytes(LOSSBENCH_CALL(differences_scratch(job, wide)));
  job.scratch = scratch.mutable_data_ptr();
  job.grad_a = grad_a.mutable_data_ptr(), job.grad_b = grad_b.mutable_data_ptr();
  LOSSBENCH_CALL(distance_gradients(job, wide));
  return {grad_a, grad_b};
}

}  // namespace lossbench
