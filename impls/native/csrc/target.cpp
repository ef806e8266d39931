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
  return avx2 && avx512 ? Target::avx512 : avx2 ? Target::avx2 : Target::plain;
#else
  return Target::plain;
#endif
}

Target chosen() {
  const Target best = widest();
  const char* wanted = std::getenv("LOSSBENCH_NATIVE_TARGET");
  if (wanted == nullptr) return best;
  if (std::strcmp(wanted, "plain") == 0) return Target::plain;
  if (std::strcmp(wanted, "avx2") == 0 && best != Target::plain) return Target::avx2;
  return best;
}

}  // namespace

Target target() {
  static const Target result = chosen();
  return result;
}

}  // namespace lossbench
