// The vectorised functions as operators, for their tests.
#include "functions.h"

#include "operators.h"

namespace lossbench {

Tensor exp_or_log(Tensor x, bool logarithm) {
  STD_TORCH_CHECK(x.is_contiguous(), "lossbench: expected a contiguous tensor");
  const bool wide = is_wide(x);
  Tensor out = empty({x.numel()}, computed_in(wide));
  const void* from = x.const_data_ptr();
  LOSSBENCH_CALL(exp_or_log(from, out.mutable_data_ptr(), x.numel(), logarithm, wide));
  return out;
}

}  // namespace lossbench
