// exp and log of arrays; compiled for each target.
#include "functions.h"
#include "math.h"

namespace lossbench::LOSSBENCH_TARGET {
namespace {

template <class T>
void apply(const T* from, T* to, int64_t count, bool logarithm) {
  for (int64_t i = 0; i < count; i += WIDTH<T>) {
    const int64_t lanes = count - i < WIDTH<T> ? count - i : WIDTH<T>;
    T values[WIDTH<T>] = {};
    for (int64_t lane = 0; lane < lanes; ++lane) values[lane] = from[i + lane];
    store<T>(values, logarithm ? log<T>(load<T>(values)) : exp<T>(load<T>(values)));
    for (int64_t lane = 0; lane < lanes; ++lane) to[i + lane] = values[lane];
  }
}

}  // namespace

void exp_or_log(const void* from, void* to, int64_t count, bool logarithm, bool wide) {
  if (wide)
    apply(static_cast<const double*>(from), static_cast<double*>(to), count, logarithm);
  else
    apply(static_cast<const float*>(from), static_cast<float*>(to), count, logarithm);
}

}  // namespace lossbench::LOSSBENCH_TARGET
