#include "target.h"

#include <cstdlib>
#include <cstring>

namespace lossbench {
namespace {

Target widest() {
#if defined(LOSSBENCH_X86)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (!avx2) return Target::plain;
  if (!avx512) return Target::avx2;
  return __builtin_cpu_supports("avx512bf16") ? Target::avx512bf16 : Target::avx512;
#else
  return Target::plain;
#endif
}

Target chosen() {
  const Target best = widest();
  const char* wanted = std::getenv("LOSSBENCH_NATIVE_TARGET");
  if (wanted == nullptr) return best;
  const auto narrower = [&](const char* name, Target named) {
    return std::strcmp(wanted, name) == 0 && named < best;
  };
  if (narrower("plain", Target::plain)) return Target::plain;
  if (narrower("avx2", Target::avx2)) return Target::avx2;
  return narrower("avx512", Target::avx512) ? Target::avx512 : best;
}

}  // namespace

Target target() {
  static const Target result = chosen();
  return result;
}

}  // namespace lossbench
