// The operators of the centre losses: tensors in, tensors out.
#include "centers.h"

#include "all_pairs.h"
#include "moves.h"
#include "operators.h"

namespace lossbench {
namespace {

Centers asked(const Tensor& x, const Tensor& centers, const Tensor& labels, double factor,
              bool rooted, double pair_weight) {
  STD_TORCH_CHECK(x.dim() == 2 && centers.dim() == 2 && x.size(1) == centers.size(1),
                  "lossbench: expected embeddings [B, D] and centers [C, D]");
  Centers job;
  job.x = matrix_of(x), job.centers = matrix_of(centers);
  job.labels = labels_of(labels, job.x.rows);
  check_labels(job.labels, job.x.rows, job.centers.rows);
  job.factor = factor, job.rooted = rooted, job.pair_weight = pair_weight;
  return job;
}

// Value and gradients at once, with all scratch memory in one allocation.
void run_both_passes(Centers& job, bool wide, const Tensor& loss) {
  const int64_t saved = LOSSBENCH_CALL(saved_bytes(job, wide));
  const int64_t forward = LOSSBENCH_CALL(forward_scratch(job, wide));
  const int64_t backward = LOSSBENCH_CALL(backward_scratch(job, wide));
  const Tensor scratch = bytes(saved + (forward > backward ? forward : backward));
  char* memory = static_cast<char*>(scratch.mutable_data_ptr());
  job.loss = loss.mutable_data_ptr(), job.saved = memory, job.scratch = memory + saved;
  LOSSBENCH_CALL(centers_forward(job, wide));
  LOSSBENCH_CALL(centers_backward(job, wide));
}

}  // namespace

std::tuple<Tensor, Tensor> centers(Tensor x, Tensor centers, Tensor labels, double factor,
                                   bool rooted, double pair_weight) {
  Centers job = asked(x, centers, labels, factor, rooted, pair_weight);
  const bool wide = is_wide(x, centers);
  Tensor loss = empty({}, computed_in(wide));
  Tensor saved = bytes(LOSSBENCH_CALL(saved_bytes(job, wide)));
  const Tensor scratch = bytes(LOSSBENCH_CALL(forward_scratch(job, wide)));
  job.loss = loss.mutable_data_ptr(), job.saved = saved.mutable_data_ptr();
  job.scratch = scratch.mutable_data_ptr();
  LOSSBENCH_CALL(centers_forward(job, wide));
  return {loss, saved};
}

std::tuple<Tensor, Tensor> centers_backward(Tensor upstream, Tensor x, Tensor centers,
                                            Tensor labels, Tensor saved, double factor,
                                            bool rooted, double pair_weight, bool for_x,
                                            bool for_centers) {
  Centers job = asked(x, centers, labels, factor, rooted, pair_weight);
  const bool wide = is_wide(x, centers);
  job.upstream = matrix_of(upstream);
  Tensor grad_x = empty_gradient(x, for_x), grad_centers = empty_gradient(centers, for_centers);
  if (for_x) job.grad_x = output_of(grad_x);
  if (for_centers) job.grad_centers = output_of(grad_centers);
  const Tensor scratch = bytes(LOSSBENCH_CALL(backward_scratch(job, wide)));
  // The kernels only read what was saved.
  job.saved = saved.mutable_data_ptr(), job.scratch = scratch.mutable_data_ptr();
  LOSSBENCH_CALL(centers_backward(job, wide));
  return {grad_x, grad_centers};
}

std::tuple<Tensor, Tensor, Tensor> centers_with_gradients(Tensor x, Tensor centers, Tensor labels,
                                                          double factor, bool rooted,
                                                          double pair_weight, bool for_x,
                                                          bool for_centers) {
  Centers job = asked(x, centers, labels, factor, rooted, pair_weight);
  const bool wide = is_wide(x, centers);
  Tensor loss = empty({}, computed_in(wide));
  Tensor grad_x = empty_gradient(x, for_x), grad_centers = empty_gradient(centers, for_centers);
  if (for_x) job.grad_x = output_of(grad_x);
  if (for_centers) job.grad_centers = output_of(grad_centers);
  run_both_passes(job, wide, loss);
  return {loss, grad_x, grad_centers};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> softmax_center_with_gradients(
    Tensor x, Tensor weight, Tensor centers, Tensor labels, int64_t reduction, double factor,
    bool rooted, bool for_x, bool for_weight, bool for_centers) {
  const std::vector<double> plain_head = {0, 0, 0, 1, 0, 1, 0, -1, 0, 1, 0, 0};
  auto [loss, grad_x, grad_weight] =
      cross_entropy_with_gradients(x, weight, labels, std::nullopt, std::nullopt, plain_head,
                                   std::nullopt, 0, reduction, for_x, for_weight);
  Centers job = asked(x, centers, labels, factor, rooted, 0);
  const bool wide = is_wide(x, weight, centers);
  Tensor sum = empty({}, computed_in(wide));
  Tensor grad_centers = empty_gradient(centers, for_centers);
  if (for_x) job.grad_x = output_of(grad_x), job.adds = true;
  if (for_centers) job.grad_centers = output_of(grad_centers);
  run_both_passes(job, wide, sum);
  const double both = number_of(loss) + number_of(sum);
  if (wide) *static_cast<double*>(sum.mutable_data_ptr()) = both;
  else *static_cast<float*>(sum.mutable_data_ptr()) = static_cast<float>(both);
  return {sum, grad_x, grad_weight, grad_centers};
}

std::tuple<Tensor, Tensor, Tensor> all_pairs(Tensor x, Tensor centers, Tensor labels, bool for_x,
                                             bool for_centers, bool dense) {
  STD_TORCH_CHECK(x.dim() == 2 && centers.dim() == 2 && x.size(1) == centers.size(1),
                  "lossbench: expected embeddings [B, D] and centers [C, D]");
  AllPairs job;
  job.x = matrix_of(x), job.centers = matrix_of(centers), job.dense = dense;
  job.labels = labels_of(labels, job.x.rows);
  check_labels(job.labels, job.x.rows, job.centers.rows);
  const bool wide = is_wide(x, centers);
  const Dtype dtype = computed_in(wide);
  const int64_t rows = dense ? job.centers.rows : job.x.rows;
  Tensor loss = empty({}, dtype);
  Tensor grad_x = for_x ? empty({job.x.rows, job.x.columns}, dtype) : empty({0}, dtype);
  Tensor grad_centers = for_centers ? empty({rows, job.x.columns}, dtype) : empty({0}, dtype);
  const Tensor scratch = bytes(LOSSBENCH_CALL(all_pairs_scratch(job, wide)));
  job.loss = loss.mutable_data_ptr(), job.scratch = scratch.mutable_data_ptr();
  if (for_x) job.grad_x = grad_x.mutable_data_ptr();
  if (for_centers) job.grad_centers = grad_centers.mutable_data_ptr();
  LOSSBENCH_CALL(all_pairs(job, wide));
  return {loss, grad_x, grad_centers};
}

void move_centers(Tensor centers, Tensor x, Tensor labels, double momentum, double share,
                  double added, bool differences) {
  STD_TORCH_CHECK(x.dim() == 2 && centers.dim() == 2 && x.size(1) == centers.size(1),
                  "lossbench: expected embeddings [B, D] and centers [C, D]");
  Moves job;
  job.x = matrix_of(x), job.centers = matrix_of(centers), job.to = output_of(centers);
  job.labels = labels_of(labels, job.x.rows);
  check_labels(job.labels, job.x.rows, job.centers.rows);
  job.momentum = momentum, job.share = share, job.added = added, job.differences = differences;
  const bool wide = is_wide(x, centers);
  const Tensor scratch = bytes(LOSSBENCH_CALL(moves_scratch(job, wide)));
  job.scratch = scratch.mutable_data_ptr();
  LOSSBENCH_CALL(move(job, wide));
}

}  // namespace lossbench
