// The move of class centres by their samples: what is asked.
#pragma once

#include "matrix.h"
#include "target.h"

namespace lossbench {

// `c ← momentum · c + share / (added + n) · Σ x` for each centre, over the n samples of its class;
// or with the sum of `x - c`.
struct Moves {
  Matrix x;        // [B, D]
  Matrix centers;  // [C, D], read in place.
  MutableMatrix to;
  Labels labels;
  double momentum = 1, share = 1, added = 0;
  bool differences = false;
  void* scratch = nullptr;
};

LOSSBENCH_KERNEL(int64_t moves_scratch(const Moves&, bool wide))
LOSSBENCH_KERNEL(void move(const Moves&, bool wide))

}  // namespace lossbench
