// exp and log of arrays, of float or of double.
#pragma once

#include <stdint.h>

#include "target.h"

namespace lossbench {

LOSSBENCH_KERNEL(void exp_or_log(const void* from, void* to, int64_t count, bool logarithm,
                                 bool wide))

}  // namespace lossbench
