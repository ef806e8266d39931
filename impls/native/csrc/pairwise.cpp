// The operators of the distances of the rows of two matrices.
#include "pairwise.h"

#include "operators.h"

namespace lossbench {
namespace {

Pairwise asked(const Tensor& a, const Tensor& b, bool rooted) {
  Pairwise job;
  job.a = matrix_of(a), job.b = matrix_of(b), job.rooted = rooted;
  STD_TORCH_CHECK(
      a.dim() == 2 && b.dim() == 2 && job.a.columns == job.b.columns && job.a.dtype == job.b.dtype,
      "lossbench: expected two matrices [M, D] and [N, D] of one dtype");
  return job;
}

}  // namespace

Tensor pairwise_distance(Tensor a, Tensor b, bool rooted, bool rounded) {
  STD_TORCH_CHECK(!(rooted && rounded), "lossbench: the backward pass reads distances unrounded");
  Pairwise job = asked(a, b, rooted);
  const bool wide = job.a.dtype == Dtype::float64;
  job.dtype = rounded ? job.a.dtype : computed_in(wide);
  Tensor distances = empty({job.a.rows, job.b.rows}, job.dtype);
  const Tensor scratch = bytes(LOSSBENCH_CALL(pairwise_scratch(job, wide, false)));
  job.distances = distances.mutable_data_ptr(), job.scratch = scratch.mutable_data_ptr();
  LOSSBENCH_CALL(pairwise(job, wide));
  return distances;
}

std::tuple<Tensor, Tensor> pairwise_distance_backward(Tensor upstream, Tensor a, Tensor b,
                                                      Tensor distances, bool rooted, bool for_a,
                                                      bool for_b) {
  Pairwise job = asked(a, b, rooted);
  const bool wide = job.a.dtype == Dtype::float64;
  job.upstream = matrix_of(upstream);
  STD_TORCH_CHECK(job.upstream.rows == job.a.rows && job.upstream.columns == job.b.rows,
                  "lossbench: expected an upstream gradient [M, N]");
  Tensor grad_a = empty_gradient(a, for_a), grad_b = empty_gradient(b, for_b);
  const Tensor scratch = bytes(LOSSBENCH_CALL(pairwise_scratch(job, wide, true)));
  // The kernels only read the distances.
  job.distances = const_cast<void*>(distances.const_data_ptr());
  job.grad_a = for_a ? grad_a.mutable_data_ptr() : nullptr;
  job.grad_b = for_b ? grad_b.mutable_data_ptr() : nullptr;
  job.scratch = scratch.mutable_data_ptr();
  LOSSBENCH_CALL(pairwise_backward(job, wide));
  return {grad_a, grad_b};
}

}  // namespace lossbench
