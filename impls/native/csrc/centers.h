// Losses of samples and their classes' centres: what is asked.
#pragma once

#include "matrix.h"
#include "target.h"

namespace lossbench {

// `factor · Σ_i ‖x_i - c_{y_i}‖²`, or the root of the sum; and `pair_weight · Σ_{j<k} (cos + 1)`.
struct Centers {
  Matrix x;        // [B, D]
  Matrix centers;  // [C, D]
  Labels labels;
  double factor = 1;
  bool rooted = false;
  double pair_weight = 0;
  Matrix upstream;  // One number; no data for 1.
  // Whether `grad_x` holds another gradient, to which this one is added.
  bool adds = false;
  void* loss = nullptr;
  void* saved = nullptr;
  MutableMatrix grad_x, grad_centers;
  void* scratch = nullptr;
};

LOSSBENCH_KERNEL(int64_t saved_bytes(const Centers&, bool wide))
LOSSBENCH_KERNEL(int64_t forward_scratch(const Centers&, bool wide))
LOSSBENCH_KERNEL(int64_t backward_scratch(const Centers&, bool wide))
LOSSBENCH_KERNEL(void centers_forward(const Centers&, bool wide))
LOSSBENCH_KERNEL(void centers_backward(const Centers&, bool wide))

}  // namespace lossbench
