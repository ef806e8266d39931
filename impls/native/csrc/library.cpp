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
  m.def("exp_or_log(Tensor x, bool logarithm) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(lossbench_native, CPU, m) {
  m.impl("cross_entropy", TORCH_BOX(&lossbench::cross_entropy));
  m.impl("cross_entropy_backward", TORCH_BOX(&lossbench::cross_entropy_backward));
  m.impl("cross_entropy_with_gradients", TORCH_BOX(&lossbench::cross_entropy_with_gradients));
  m.impl("centers", TORCH_BOX(&lossbench::centers));
  m.impl("centers_backward", TORCH_BOX(&lossbench::centers_backward));
  m.impl("centers_with_gradients", TORCH_BOX(&lossbench::centers_with_gradients));
  m.impl("softmax_center_with_gradients", TORCH_BOX(&lossbench::softmax_center_with_gradients));
  m.impl("exp_or_log", TORCH_BOX(&lossbench::exp_or_log));
  m.impl("all_pairs", TORCH_BOX(&lossbench::all_pairs));
}
