// The triplet losses: what is asked.
#pragma once

#include "matrix.h"
#include "target.h"

namespace lossbench {

// The root of 1e-12, and the largest distance that may have been clamped to it: the root may round
// upwards. A clamped distance has no gradient.
constexpr double LEAST_DISTANCE = 1e-6, CLAMPED_DISTANCE = 1.000001e-6;

struct Triplets {
  Matrix x;  // [B, D]
  Labels labels;
  double margin = 0;   // Of the batch-hard loss.
  double epsilon = 0;  // Of the weighted losses: what is added to the sums of the weights.
  bool shifted = false;
  // Outputs, of the computation's dtype: the loss, the number of correct anchors, the gradient
  // [B, D] or null.
  void* loss = nullptr;
  int64_t* correct = nullptr;
  void* gradient = nullptr;
  Dtype dtype = Dtype::float32;  // Of the outputs.
  void* scratch = nullptr;
};

// Bytes of scratch memory, in float32 or in float64; and the losses. They return false, without
// outputs, if a distance is beyond float32.
LOSSBENCH_KERNEL(int64_t batch_hard_scratch(const Triplets&, bool wide))
LOSSBENCH_KERNEL(bool batch_hard(const Triplets&, bool wide))
LOSSBENCH_KERNEL(int64_t weighted_scratch(const Triplets&, bool wide))
LOSSBENCH_KERNEL(bool weighted(const Triplets&, bool wide))

}  // namespace lossbench
