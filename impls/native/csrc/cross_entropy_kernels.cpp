// The cross-entropy over a linear layer, class tile by class tile; compiled for each target.
//
// The forward pass keeps the powers of the first tiles; the backward pass computes the others
// again, some tiles at a time, and from them all gradients. Every sum has one order, so the number
// of threads changes no result.
#include "entropy_backward.h"
#include "entropy_forward.h"

namespace lossbench::LOSSBENCH_TARGET {

int64_t saved_bytes(const CrossEntropy& job, bool wide) {
  return wide ? EntropyMemory<double>(job).saved.used() : EntropyMemory<float>(job).saved.used();
}
int64_t forward_scratch(const CrossEntropy& job, bool wide) {
  return wide ? EntropyForward<double>(job).arena.used() : EntropyForward<float>(job).arena.used();
}
int64_t backward_scratch(const CrossEntropy& job, bool wide) {
  return wide ? EntropyBackward<double>(job).arena.used()
              : EntropyBackward<float>(job).arena.used();
}
void cross_entropy_forward(const CrossEntropy& job, bool wide) {
  wide ? EntropyForward<double>(job).run() : EntropyForward<float>(job).run();
}
void cross_entropy_backward(const CrossEntropy& job, bool wide) {
  wide ? EntropyBackward<double>(job).run() : EntropyBackward<float>(job).run();
}

}  // namespace lossbench::LOSSBENCH_TARGET
