// The losses and the distance of pairs of rows, from their differences: what is asked.
#pragma once

#include "matrix.h"
#include "target.h"

namespace lossbench {

enum class PairLoss { each, whole_batch, distance };

struct Differences {
  Matrix a, b;  // [B, D] each, of one dtype.
  PairLoss loss = PairLoss::each;
  // Of the contrastive losses: 1 for a similar pair, [1, B] or [1, 1].
  Matrix same;
  double margin = 0;
  // Of the distance's gradient: the upstream gradient, and the distance; else they are not read.
  double upstream = 1, distance = 0;
  // Outputs: the loss or distance, of the computation's dtype, and the gradients [B, D], of the
  // inputs' dtype, or null.
  void* value = nullptr;
  void* grad_a = nullptr;
  void* grad_b = nullptr;
  void* scratch = nullptr;
};

LOSSBENCH_KERNEL(int64_t differences_scratch(const Differences&, bool wide))
LOSSBENCH_KERNEL(void differences(const Differences&, bool wide))
LOSSBENCH_KERNEL(void distance_gradients(const Differences&, bool wide))

}  // namespace lossbench
