// The centre loss over all pairs of a sample and a label: what is asked.
#pragma once

#include "matrix.h"
#include "target.h"

namespace lossbench {

// `1 / (2B) Σ_i Σ_j √(‖x_i - c_{y_j}‖² + 1e-8)`, and its gradients in the computation's dtype.
struct AllPairs {
  Matrix x;        // [B, D]
  Matrix centers;  // [C, D]
  Labels labels;
  void* loss = nullptr;
  // [B, D], and either [C, D] or, of the first sample of each label, [B, D]; null if not wanted.
  void* grad_x = nullptr;
  void* grad_centers = nullptr;
  bool dense = true;
  void* scratch = nullptr;
};

LOSSBENCH_KERNEL(int64_t all_pairs_scratch(const AllPairs&, bool wide))
LOSSBENCH_KERNEL(void all_pairs(const AllPairs&, bool wide))

}  // namespace lossbench
