// The target's logit under a margin, and its slope, in double.
#pragma once

#include "convert.h"
#include "cross_entropy.h"

namespace lossbench::LOSSBENCH_TARGET {

// As torch.nn.functional.normalize: a shorter vector is divided by this.
constexpr double LEAST_LENGTH = 1e-12;
// Document 001 clamps a squared sine at this, and prints this π.
constexpr double LEAST_SQUARED_SINE = 1e-7;
constexpr double PRINTED_PI = 3.1415926;
// Beyond this cosine its rounding error in float32 would change the slope.
constexpr double STEEP_COSINE = 0.9;

struct Substitute {
  double value, slope;
};

inline Substitute additive(const Head& head, double cosine) {
  const double square = 1 - cosine * cosine;
  const double sine = __builtin_sqrt(square > LEAST_SQUARED_SINE ? square : LEAST_SQUARED_SINE);
  // A clamped sine has slope 0.
  const double cotangent = square < LEAST_SQUARED_SINE ? 0 : cosine / sine;
  return {cosine * head.cos_m - sine * head.sin_m, head.cos_m + head.sin_m * cotangent};
}

inline Substitute guarded(const Head& head, double cosine) {
  if (cosine > head.lowest_cosine) return additive(head, cosine);
  return {cosine - head.drop, 1};
}

inline Substitute multiplicative(const Head& head, double cosine) {
  const int m = head.multiple;
  const double k = __builtin_floor(m * __builtin_acos(cosine) / PRINTED_PI);
  // Chebyshev's recurrences: cos(mθ) is T_m, and its slope m U_(m-1).
  double before = 1, t = cosine, u_before = 0, u = 1;
  for (int i = 1; i < m; ++i) {
    const double next = 2 * cosine * t - before, u_next = 2 * cosine * u - u_before;
    before = t, t = next, u_before = u, u = u_next;
  }
  if (m == 0) t = 1;
  const double sign = __builtin_fmod(k, 2) == 0 ? 1 : -1, blend = 1 / (1 + head.lambda);
  const double psi = sign * t - 2 * k, slope = sign * m * u;
  return {cosine + (psi - cosine) * blend, 1 + (slope - 1) * blend};
}

inline Substitute substitute(const Head& head, double cosine) {
  if (head.margin == Margin::multiplicative) return multiplicative(head, cosine);
  return head.margin == Margin::guarded ? guarded(head, cosine) : additive(head, cosine);
}

// The cosine of a row and a column, from their own numbers.
inline double cosine_of(const Matrix& x, int64_t row, double length, const Matrix& weight,
                        int64_t column) {
  double product = 0, square = 0;
  visit(x.dtype, x.data, [&](auto rows) {
    visit(weight.dtype, weight.data, [&](auto columns) {
      const auto* a = rows + row * x.row_stride;
      const auto* w = columns + column * weight.column_stride;
      for (int64_t d = 0; d < x.columns; ++d) {
        const double value = widen(w[d * weight.row_stride]);
        product += static_cast<double>(widen(a[d * x.column_stride])) * value;
        square += value * value;
      }
    });
  });
  const double norm = __builtin_sqrt(square);
  return product / (norm > LEAST_LENGTH ? norm : LEAST_LENGTH) /
         (length > LEAST_LENGTH ? length : LEAST_LENGTH);
}

}  // namespace lossbench::LOSSBENCH_TARGET
