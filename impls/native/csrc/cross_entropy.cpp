// The operators of the classification losses: tensors in, tensors out.
#include "cross_entropy.h"

#include "operators.h"

namespace lossbench {
namespace {

// The order and the defaults are those of NativeHead in impls/native/cross_entropy.py, which leaves
// out defaults at the end.
Head head_of(const std::vector<double>& numbers, const OptionalTensor& iteration) {
  Head head;
  double least_lambda = 0, first_lambda = 0;
  size_t next = 0;
  const auto read = [&](auto& to) {
    if (next < numbers.size()) to = static_cast<std::decay_t<decltype(to)>>(numbers[next++]);
  };
  read(head.columns), read(head.rows), read(head.margin), read(head.scale), read(head.gamma);
  read(head.cos_m), read(head.sin_m), read(head.lowest_cosine), read(head.drop);
  read(head.multiple), read(least_lambda), read(first_lambda);
  if (iteration.has_value()) {
    const auto count = *static_cast<const int64_t*>(iteration->const_data_ptr());
    const double annealed = first_lambda / (1 + 0.2 * static_cast<double>(count));
    head.lambda = annealed > least_lambda ? annealed : least_lambda;
  }
  return head;
}

CrossEntropy asked(const Tensor& x, const Tensor& weight, const Tensor& labels,
                   const OptionalTensor& class_weights, const OptionalTensor& iteration,
                   const std::vector<double>& head, std::optional<int64_t> ignore_index,
                   double smoothing, int64_t reduction) {
  CrossEntropy job;
  job.x = matrix_of(x), job.weight = matrix_of(weight);
  STD_TORCH_CHECK(x.dim() == 2 && weight.dim() == 2 && job.x.columns == job.weight.rows,
                  "lossbench: expected embeddings [B, D] and weight [D, C]");
  job.labels = labels_of(labels, job.x.rows);
  job.head = head_of(head, iteration);
  if (class_weights.has_value()) job.options.class_weights = matrix_of(*class_weights);
  job.options.ignores = ignore_index.has_value();
  job.options.ignored = ignore_index.value_or(0);
  job.options.smoothing = smoothing;
  job.options.reduction = static_cast<Reduction>(reduction);
  check_labels(job.labels, job.x.rows, job.weight.columns, ignore_index);
  return job;
}

Tensor empty_loss(const CrossEntropy& job, bool wide) {
  const Dtype dtype = computed_in(wide);
  if (job.options.reduction == Reduction::none) return empty({job.x.rows}, dtype);
  return empty({}, dtype);
}

void ask_for_gradients(CrossEntropy& job, const Tensor& grad_x, const Tensor& grad_weight,
                       bool for_x, bool for_weight) {
  if (for_x) job.grad_x = output_of(grad_x);
  if (for_weight) job.grad_weight = output_of(grad_weight);
}

// The classes of a shard, with their shares in the weighted sums.
CrossEntropy asked_of_shard(const Tensor& rows, const Tensor& weight, const Tensor& places,
                            const OptionalTensor& shares, int64_t columns) {
  const std::vector<double> head = {static_cast<double>(columns)};
  CrossEntropy job = asked(rows, weight, places, shares, std::nullopt, head, -1,
                           shares.has_value() ? 1 : 0, static_cast<int64_t>(Reduction::none));
  job.of_shard = true;
  return job;
}

}  // namespace

std::tuple<Tensor, Tensor> cross_entropy(Tensor x, Tensor weight, Tensor labels,
                                         OptionalTensor class_weights, OptionalTensor iteration,
                                         std::vector<double> head,
                                         std::optional<int64_t> ignore_index, double smoothing,
                                         int64_t reduction, int64_t kept_tiles) {
  CrossEntropy job = asked(x, weight, labels, class_weights, iteration, head, ignore_index,
                           smoothing, reduction);
  const bool wide = is_wide(x, weight);
  job.kept_tiles = kept_tiles;
  Tensor loss = empty_loss(job, wide), saved = bytes(LOSSBENCH_CALL(saved_bytes(job, wide)));
  const Tensor scratch = bytes(LOSSBENCH_CALL(forward_scratch(job, wide)));
  job.loss = loss.mutable_data_ptr(), job.saved = saved.mutable_data_ptr();
  job.scratch = scratch.mutable_data_ptr();
  LOSSBENCH_CALL(cross_entropy_forward(job, wide));
  return {loss, saved};
}

std::tuple<Tensor, Tensor> cross_entropy_backward(
    Tensor upstream, Tensor x, Tensor weight, Tensor labels, OptionalTensor class_weights,
    Tensor saved, std::vector<double> head, std::optional<int64_t> ignore_index, double smoothing,
    int64_t reduction, int64_t kept_tiles, bool for_x, bool for_weight) {
  CrossEntropy job = asked(x, weight, labels, class_weights, std::nullopt, head, ignore_index,
                           smoothing, reduction);
  const bool wide = is_wide(x, weight);
  job.kept_tiles = kept_tiles;
  job.upstream = matrix_of(upstream);
  Tensor grad_x = empty_gradient(x, for_x), grad_weight = empty_gradient(weight, for_weight);
  ask_for_gradients(job, grad_x, grad_weight, for_x, for_weight);
  const Tensor scratch = bytes(LOSSBENCH_CALL(backward_scratch(job, wide)));
  // The kernels only read what was saved.
  job.saved = saved.mutable_data_ptr(), job.scratch = scratch.mutable_data_ptr();
  LOSSBENCH_CALL(cross_entropy_backward(job, wide));
  return {grad_x, grad_weight};
}

std::tuple<Tensor, Tensor, Tensor> cross_entropy_with_gradients(
    Tensor x, Tensor weight, Tensor labels, OptionalTensor class_weights, OptionalTensor iteration,
    std::vector<double> head, std::optional<int64_t> ignore_index, double smoothing,
    int64_t reduction, bool for_x, bool for_weight) {
  CrossEntropy job = asked(x, weight, labels, class_weights, iteration, head, ignore_index,
                           smoothing, reduction);
  const bool wide = is_wide(x, weight);
  job.kept_tiles = (job.weight.columns + TILE - 1) / TILE;
  Tensor loss = empty_loss(job, wide);
  Tensor grad_x = empty_gradient(x, for_x), grad_weight = empty_gradient(weight, for_weight);
  ask_for_gradients(job, grad_x, grad_weight, for_x, for_weight);
  const int64_t saved = LOSSBENCH_CALL(saved_bytes(job, wide));
  const int64_t forward = LOSSBENCH_CALL(forward_scratch(job, wide));
  const int64_t backward = LOSSBENCH_CALL(backward_scratch(job, wide));
  const Tensor scratch = bytes(saved + (forward > backward ? forward : backward));
  char* memory = static_cast<char*>(scratch.mutable_data_ptr());
  job.loss = loss.mutable_data_ptr(), job.saved = memory, job.scratch = memory + saved;
  LOSSBENCH_CALL(cross_entropy_forward(job, wide));
  job.rows_are_filled = true;
  LOSSBENCH_CALL(cross_entropy_backward(job, wide));
  return {loss, grad_x, grad_weight};
}

std::tuple<Tensor, Tensor, Tensor> shard_sums(Tensor rows, Tensor weight, Tensor places,
                                              OptionalTensor shares, int64_t columns) {
  CrossEntropy job = asked_of_shard(rows, weight, places, shares, columns);
  const bool wide = is_wide(rows, weight);
  Tensor logs = empty_loss(job, wide), saved = bytes(LOSSBENCH_CALL(saved_bytes(job, wide)));
  Tensor spreads = empty({shares.has_value() ? job.x.rows : 0}, type_number(logs));
  const Tensor scratch = bytes(LOSSBENCH_CALL(forward_scratch(job, wide)));
  job.loss = logs.mutable_data_ptr(), job.saved = saved.mutable_data_ptr();
  if (shares.has_value()) job.spreads = spreads.mutable_data_ptr();
  job.scratch = scratch.mutable_data_ptr();
  LOSSBENCH_CALL(cross_entropy_forward(job, wide));
  return {logs, spreads, saved};
}

std::tuple<Tensor, Tensor> shard_sums_backward(Tensor upstream, OptionalTensor spread_upstream,
                                               Tensor rows, Tensor weight, Tensor places,
                                               OptionalTensor shares, Tensor saved,
                                               int64_t columns, bool for_rows, bool for_weight) {
  CrossEntropy job = asked_of_shard(rows, weight, places, shares, columns);
  const bool wide = is_wide(rows, weight);
  job.upstream = matrix_of(upstream);
  if (spread_upstream.has_value()) job.spread_upstream = matrix_of(*spread_upstream);
  Tensor grad_rows = empty_gradient(rows, for_rows);
  Tensor grad_weight = empty_gradient(weight, for_weight);
  ask_for_gradients(job, grad_rows, grad_weight, for_rows, for_weight);
  const Tensor scratch = bytes(LOSSBENCH_CALL(backward_scratch(job, wide)));
  // The kernels only read what was saved.
  job.saved = saved.mutable_data_ptr(), job.scratch = scratch.mutable_data_ptr();
  LOSSBENCH_CALL(cross_entropy_backward(job, wide));
  return {grad_rows, grad_weight};
}

}  // namespace lossbench
