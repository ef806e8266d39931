// The cross-entropy over a linear layer, of every classification loss: what is asked.
#pragma once

#include "matrix.h"
#include "target.h"

namespace lossbench {

// How columns of the weight are scaled: not, to length 1, or to length 1 by a max-norm.
enum class Columns { given, unit, max_norm };
// How embeddings are scaled: not, to the length `scale`, or to length 1 and back by their own.
enum class Rows { given, scaled, own_length };
// What replaces the target's cosine.
enum class Margin { none, additive, guarded, multiplicative };
enum class Reduction { mean, sum, none };

struct Head {
  Columns columns = Columns::given;
  Rows rows = Rows::given;
  Margin margin = Margin::none;
  double scale = 1;
  // Of the additive margins: cos m, sin m, the lowest cosine, and the drop below it.
  double cos_m = 1, sin_m = 0, lowest_cosine = -1, drop = 0;
  // Of the multiplicative one: m and λ.
  int multiple = 1;
  double lambda = 0;
  double gamma = 0;
};

struct EntropyOptions {
  bool ignores = false;
  int64_t ignored = 0;
  double smoothing = 0;
  Reduction reduction = Reduction::mean;
  // [1, C]; no data where all weigh alike.
  Matrix class_weights;
};

struct CrossEntropy {
  Matrix x;       // [B, D]
  Matrix weight;  // [D, C]
  Labels labels;
  Head head;
  EntropyOptions options;
  // The number of class tiles that keep their powers between the passes.
  int64_t kept_tiles = 0;
  // Whether the classes are a shard of all: the outputs are then the log-sum-exp of each sample over
  // the shard's classes but its target, and the sum of their logits times the classes' weights. A
  // label of -1 is a class of another shard.
  bool of_shard = false;
  // The upstream gradient: one number, or [B] without a reduction; of a shard, of the log-sum-exp.
  Matrix upstream;
  // The upstream gradient of a shard's weighted sums, [B]; no data without class weights.
  Matrix spread_upstream;
  // Outputs, of the computation's dtype: the loss or losses, and what the backward pass reads.
  void* loss = nullptr;
  void* saved = nullptr;
  // The weighted sums of a shard, [B]; no data without class weights.
  void* spreads = nullptr;
  // Outputs of the inputs' dtypes; no data where none is wanted.
  MutableMatrix grad_x, grad_weight;
  void* scratch = nullptr;
  // Whether the forward pass has just left the scaled embeddings in this scratch memory: both
  // passes begin theirs with them.
  bool rows_are_filled = false;
};

// The batch is padded to a multiple of this, in every target.
constexpr int64_t BATCH_MULTIPLE = 32;
// The classes of a tile.
constexpr int64_t TILE = 256;

__attribute__((always_inline)) constexpr int64_t padded(int64_t batch) {
  return (batch + BATCH_MULTIPLE - 1) / BATCH_MULTIPLE * BATCH_MULTIPLE;
}

// Bytes that are saved between the passes, and of scratch memory in each, in float32 or in float64.
LOSSBENCH_KERNEL(int64_t saved_bytes(const CrossEntropy&, bool wide))
LOSSBENCH_KERNEL(int64_t forward_scratch(const CrossEntropy&, bool wide))
LOSSBENCH_KERNEL(int64_t backward_scratch(const CrossEntropy&, bool wide))
LOSSBENCH_KERNEL(void cross_entropy_forward(const CrossEntropy&, bool wide))
LOSSBENCH_KERNEL(void cross_entropy_backward(const CrossEntropy&, bool wide))

}  // namespace lossbench
