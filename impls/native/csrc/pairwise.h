// The distances of the rows of two matrices: what is asked.
#pragma once

#include "matrix.h"
#include "target.h"

namespace lossbench {

struct Pairwise {
  Matrix a, b;         // [M, D] and [N, D], of one dtype.
  bool rooted = true;  // Whether the distances are clamped and their roots are taken.
  // [M, N]: written in the forward pass. The backward pass reads them if they are rooted, and then
  // they are of the computation's dtype.
  void* distances = nullptr;
  Dtype dtype = Dtype::float32;
  Matrix upstream;  // [M, N]
  // Outputs, of the inputs' dtype: the gradients [M, D] and [N, D], or null.
  void* grad_a = nullptr;
  void* grad_b = nullptr;
  void* scratch = nullptr;
};

LOSSBENCH_KERNEL(int64_t pairwise_scratch(const Pairwise&, bool wide, bool backward))
LOSSBENCH_KERNEL(void pairwise(const Pairwise&, bool wide))
LOSSBENCH_KERNEL(void pairwise_backward(const Pairwise&, bool wide))

}  // namespace lossbench
