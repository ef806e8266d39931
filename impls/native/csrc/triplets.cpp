// The operators of the triplet losses: tensors in, tensors out.
#include "triplets.h"

#include "operators.h"

namespace lossbench {
namespace {

using Kernel = bool (*)(const Triplets&, bool);
using Scratch = int64_t (*)(const Triplets&, bool);

Triplets asked(const Tensor& x, const Tensor& labels, bool needs_negatives) {
  STD_TORCH_CHECK(x.dim() == 2, "lossbench: expected embeddings [B, D]");
  Triplets job;
  job.x = matrix_of(x), job.labels = labels_of(labels, job.x.rows), job.dtype = job.x.dtype;
  STD_TORCH_CHECK(job.dtype == Dtype::float32 || job.dtype == Dtype::float64,
                  "lossbench: expected float32 or float64");
  STD_TORCH_CHECK(job.x.rows < INT32_MAX, "lossbench: expected fewer than 2^31 samples");
  bool differ = false;
  for (int64_t b = 0; b < job.x.rows; ++b) {
    STD_TORCH_CHECK(job.labels[b] >= 0, "labels must be from 0, got ", job.labels[b]);
    differ = differ || job.labels[b] != job.labels[0];
  }
  STD_TORCH_CHECK(differ || !needs_negatives, "labels must be of two classes or more");
  return job;
}

void fill_with_nan(void* to, int64_t count, Dtype dtype) {
  for (int64_t i = 0; i < count; ++i)
    if (dtype == Dtype::float64)
      static_cast<double*>(to)[i] = __builtin_nan("");
    else
      static_cast<float*>(to)[i] = __builtin_nanf("");
}

// Computes in the outputs' dtype, in float64 if that overflows, and gives NaN if that does too.
std::tuple<Tensor, Tensor, Tensor> evaluated(Triplets job, bool for_x, Scratch scratch_size,
                                             Kernel kernel) {
  const Tensor loss = empty({}, job.dtype), correct = empty({}, aoti_torch_dtype_int64());
  const Tensor gradient =
      for_x ? empty({job.x.rows, job.x.columns}, job.dtype) : empty({0}, job.dtype);
  job.loss = loss.mutable_data_ptr();
  job.correct = static_cast<int64_t*>(correct.mutable_data_ptr());
  job.gradient = for_x ? gradient.mutable_data_ptr() : nullptr;
  for (bool wide : {false, true}) {
    if (!wide && job.dtype == Dtype::float64) continue;
    const Tensor scratch = bytes(scratch_size(job, wide));
    job.scratch = scratch.mutable_data_ptr();
    if (kernel(job, wide)) return {loss, correct, gradient};
  }
  fill_with_nan(job.loss, 1, job.dtype);
  if (for_x) fill_with_nan(job.gradient, job.x.rows * job.x.columns, job.dtype);
  *job.correct = 0;
  return {loss, correct, gradient};
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> triplet_batch_hard(Tensor x, Tensor labels, double margin,
                                                      bool for_x) {
  Triplets job = asked(x, labels, true);
  job.margin = margin;
  return evaluated(job, for_x, LOSSBENCH_CALL(batch_hard_scratch), LOSSBENCH_CALL(batch_hard));
}

std::tuple<Tensor, Tensor, Tensor> triplet_weighted(Tensor x, Tensor labels, double epsilon,
                                                    bool shifted, bool for_x) {
  Triplets job = asked(x, labels, shifted);
  job.epsilon = epsilon, job.shifted = shifted;
  return evaluated(job, for_x, LOSSBENCH_CALL(weighted_scratch), LOSSBENCH_CALL(weighted));
}

}  // namespace lossbench
