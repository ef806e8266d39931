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
}

STABLE_TORCH_LIBRARY_IMPL(lossbench_native, CPU, m) {
  m.impl("cross_entropy", TORCH_BOX(&lossbench::cross_entropy));
  m.impl("cross_entropy_backward", TORCH_BOX(&lossbench::cross_entropy_backward));
  m.impl("cross_entropy_with_gradients", TORCH_BOX(&lossbench::cross_entropy_with_gradients));
}
