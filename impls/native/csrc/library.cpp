// The operators' schemas, and where each is implemented.
#include "operators.h"

STABLE_TORCH_LIBRARY(lossbench_native, m) {
  m.def(
      "cross_entropy(Tensor x, Tensor weight, Tensor labels, Tensor? class_weights, "
      "Tensor? iteration, float[] head, int? ignore_index, float label_smoothing, int reduction, "
      "int kept_tiles) -> (Tensor loss, Tensor saved)");
  m.def(
      "cross_entropy_backward(Tensor upstream, Tensor x, Tensor weight, Tensor labels, "
      "Tensor? class_weights, Tensor saved, float[] head, int? ignore_index, "
      "float label_smoothing, int reduction, int kept_tiles, bool for_x, bool for_weight) "
      "-> (Tensor grad_x, Tensor grad_weight)");
  m.def(
      "cross_entropy_with_gradients(Tensor x, Tensor weight, Tensor labels, "
      "Tensor? class_weights, Tensor? iteration, float[] head, int? ignore_index, "
      "float label_smoothing, int reduction, bool for_x, bool for_weight) "
      "-> (Tensor loss, Tensor grad_x, Tensor grad_weight)");
  m.def(
      "shard_sums(Tensor rows, Tensor weight, Tensor places, Tensor? shares, int columns) "
      "-> (Tensor logs, Tensor spreads, Tensor saved)");
  m.def(
      "shard_sums_backward(Tensor upstream, Tensor? spread_upstream, Tensor rows, Tensor weight, "
      "Tensor places, Tensor? shares, Tensor saved, int columns, bool for_rows, bool for_weight) "
      "-> (Tensor grad_rows, Tensor grad_weight)");
  m.def(
      "centers(Tensor x, Tensor centers, Tensor labels, float factor, bool rooted, "
      "float pair_weight) -> (Tensor loss, Tensor saved)");
  m.def(
      "centers_backward(Tensor upstream, Tensor x, Tensor centers, Tensor labels, Tensor saved, "
      "float factor, bool rooted, float pair_weight, bool for_x, bool for_centers) "
      "-> (Tensor grad_x, Tensor grad_centers)");
  m.def(
      "centers_with_gradients(Tensor x, Tensor centers, Tensor labels, float factor, "
      "bool rooted, float pair_weight, bool for_x, bool for_centers) "
      "-> (Tensor loss, Tensor grad_x, Tensor grad_centers)");
  m.def(
      "softmax_center_with_gradients(Tensor x, Tensor weight, Tensor centers, Tensor labels, "
      "int reduction, float factor, bool rooted, bool for_x, bool for_weight, bool for_centers) "
      "-> (Tensor loss, Tensor grad_x, Tensor grad_weight, Tensor grad_centers)");
  m.def(
      "all_pairs(Tensor x, Tensor centers, Tensor labels, bool for_x, bool for_centers, "
      "bool dense) -> (Tensor loss, Tensor grad_x, Tensor grad_centers)");
  m.def(
      "move_centers(Tensor(a!) centers, Tensor x, Tensor labels, float momentum, float share, "
      "float added, bool differences) -> ()");
  m.def("exp_or_log(Tensor x, bool logarithm) -> Tensor");
  m.def(
      "triplet_batch_hard(Tensor x, Tensor labels, float margin, bool for_x) "
      "-> (Tensor loss, Tensor correct, Tensor gradient)");
  m.def(
      "triplet_weighted(Tensor x, Tensor labels, float epsilon, bool shifted, bool for_x) "
      "-> (Tensor loss, Tensor correct, Tensor gradient)");
  m.def(
      "contrastive(Tensor x0, Tensor x1, Tensor same, float margin, bool whole_batch, bool for_x) "
      "-> (Tensor loss, Tensor grad_x0, Tensor grad_x1)");
  m.def("vector_distance(Tensor a, Tensor b) -> Tensor");
  m.def(
      "vector_distance_backward(Tensor upstream, Tensor a, Tensor b, Tensor distance) "
      "-> (Tensor grad_a, Tensor grad_b)");
  m.def("pairwise_distance(Tensor a, Tensor b, bool rooted, bool rounded) -> Tensor");
  m.def(
      "pairwise_distance_backward(Tensor upstream, Tensor a, Tensor b, Tensor distances, "
      "bool rooted, bool for_a, bool for_b) -> (Tensor grad_a, Tensor grad_b)");
}

STABLE_TORCH_LIBRARY_IMPL(lossbench_native, CPU, m) {
  m.impl("cross_entropy", TORCH_BOX(&lossbench::cross_entropy));
  m.impl("cross_entropy_backward", TORCH_BOX(&lossbench::cross_entropy_backward));
  m.impl("cross_entropy_with_gradients", TORCH_BOX(&lossbench::cross_entropy_with_gradients));
  m.impl("shard_sums", TORCH_BOX(&lossbench::shard_sums));
  m.impl("shard_sums_backward", TORCH_BOX(&lossbench::shard_sums_backward));
  m.impl("centers", TORCH_BOX(&lossbench::centers));
  m.impl("centers_backward", TORCH_BOX(&lossbench::centers_backward));
  m.impl("centers_with_gradients", TORCH_BOX(&lossbench::centers_with_gradients));
  m.impl("softmax_center_with_gradients", TORCH_BOX(&lossbench::softmax_center_with_gradients));
  m.impl("exp_or_log", TORCH_BOX(&lossbench::exp_or_log));
  m.impl("all_pairs", TORCH_BOX(&lossbench::all_pairs));
  m.impl("move_centers", TORCH_BOX(&lossbench::move_centers));
  m.impl("triplet_batch_hard", TORCH_BOX(&lossbench::triplet_batch_hard));
  m.impl("triplet_weighted", TORCH_BOX(&lossbench::triplet_weighted));
  m.impl("contrastive", TORCH_BOX(&lossbench::contrastive));
  m.impl("vector_distance", TORCH_BOX(&lossbench::vector_distance));
  m.impl("vector_distance_backward", TORCH_BOX(&lossbench::vector_distance_backward));
  m.impl("pairwise_distance", TORCH_BOX(&lossbench::pairwise_distance));
  m.impl("pairwise_distance_backward", TORCH_BOX(&lossbench::pairwise_distance_backward));
}
