// exp and log of vectors, within 2 units in the last place over the whole range.
//
// The largest errors that tests find stand in tests/impls/native/test_math.py.
#pragma once

#include "vector.h"

namespace lossbench::LOSSBENCH_TARGET {

template <class To, class From>
inline To bits_as(From value) {
  static_assert(sizeof(To) == sizeof(From), "a reinterpretation keeps the size");
  To result;
  __builtin_memcpy(&result, &value, sizeof(To));
  return result;
}

template <class T>
struct Float;

template <>
struct Float<float> {
  static constexpr int MANTISSA = 23, BIAS = 127;
  static constexpr float ROUNDER = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer.
  static constexpr float LN2_HIGH = 0.693359375f, LN2_LOW = -2.12194440e-4f;
  static constexpr float EXP_LOWEST = -104.0f, EXP_HIGHEST = 89.0f;
  static constexpr float LOWEST = -3.402823466e38f;
  static constexpr float LEAST_NORMAL = 1.17549435e-38f, TO_NORMAL = 8388608.0f;
  static constexpr int TO_NORMAL_EXPONENT = 23;
};

template <>
struct Float<double> {
  static constexpr int MANTISSA = 52, BIAS = 1023;
  static constexpr double ROUNDER = 6755399441055744.0;  // 1.5 * 2^52.
  static constexpr double LN2_HIGH = 6.93145751953125e-1, LN2_LOW = 1.42860682030941723212e-6;
  static constexpr double EXP_LOWEST = -746.0, EXP_HIGHEST = 710.0;
  static constexpr double LOWEST = -1.7976931348623157e308;
  static constexpr double LEAST_NORMAL = 2.2250738585072014e-308, TO_NORMAL = 4503599627370496.0;
  static constexpr int TO_NORMAL_EXPONENT = 52;
};

// exp(r) for |r| <= ln(2) / 2, by its Taylor series: the remainder is below half a unit.
inline Vec<float> exp_of_rest(Vec<float> r) {
  Vec<float> p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  return r * r * p + r + 1.0f;
}

inline Vec<double> exp_of_rest(Vec<double> r) {
  double factorial = 87178291200.0;  // 14!
  Vec<double> p = splat<double>(1 / factorial);
  for (int n = 14; n > 2; --n) {
    factorial /= n;
    p = p * r + 1 / factorial;
  }
  return r * r * p + r + 1.0;
}

template <class T>
inline Vec<T> exp(Vec<T> x) {
  using F = Float<T>;
  const Vec<T> low = splat<T>(F::EXP_LOWEST), high = splat<T>(F::EXP_HIGHEST);
  Vec<T> bounded = x < low ? low : x;
  bounded = bounded > high ? high : bounded;
  const Vec<T> shifted = bounded * static_cast<T>(1.44269504088896340736) + F::ROUNDER;
  const Vec<T> n = shifted - F::ROUNDER;
  const Vec<T> r = (bounded - n * F::LN2_HIGH) - n * F::LN2_LOW;
  // In two factors: 2^n itself may be beyond the range where exp is not.
  const Ints<T> power = bits_as<Ints<T>>(shifted) - bits_as<Ints<T>>(splat<T>(F::ROUNDER));
  const Ints<T> half = power >> 1;
  const Vec<T> first = bits_as<Vec<T>>((half + F::BIAS) << F::MANTISSA);
  const Vec<T> second = bits_as<Vec<T>>((power - half + F::BIAS) << F::MANTISSA);
  return exp_of_rest(r) * first * second;
}

// log((1 + s) / (1 - s)) - 2 s, over 2 s, of the square of s, for |s| <= 0.1716.
inline Vec<float> log_series(Vec<float> square) {
  Vec<float> p = square * (1.0f / 9) + 1.0f / 7;
  p = p * square + 1.0f / 5;
  p = p * square + 1.0f / 3;
  return p * square;
}

inline Vec<double> log_series(Vec<double> square) {
  Vec<double> p = splat<double>(1.0 / 21);
  for (int n = 19; n > 1; n -= 2) p = p * square + 1.0 / n;
  return p * square;
}

template <class T>
inline Vec<T> log(Vec<T> x) {
  using F = Float<T>;
  const Ints<T> is_small = x < splat<T>(F::LEAST_NORMAL);
  const Vec<T> normal = is_small ? x * F::TO_NORMAL : x;
  // The bits of a negative number would overflow below; its result is replaced at the end.
  const Vec<T> positive = normal <= splat<T>(0) ? splat<T>(1) : normal;
  const Ints<T> bits = bits_as<Ints<T>>(positive);
  // The fraction is from √½ to √2, so that its logarithm is near 0 where x is near 1.
  const Ints<T> of_root = bits_as<Ints<T>>(splat<T>(static_cast<T>(0.70710678118654752440)));
  const Ints<T> exponent = (bits - of_root) >> F::MANTISSA;
  const Vec<T> fraction = bits_as<Vec<T>>(bits - (exponent << F::MANTISSA));
  const Ints<T> scale = is_small ? exponent - F::TO_NORMAL_EXPONENT : exponent;
  const Vec<T> n = __builtin_convertvector(scale, Vec<T>);
  const Vec<T> f = fraction - static_cast<T>(1), s = f / (f + static_cast<T>(2));
  const Vec<T> half_square = f * f * static_cast<T>(0.5);
  const Vec<T> small = s * (half_square + log_series(s * s) * static_cast<T>(2)) + n * F::LN2_LOW;
  Vec<T> result = n * F::LN2_HIGH + (f - (half_square - small));
  const Vec<T> infinity = splat<T>(static_cast<T>(__builtin_inf()));
  const Vec<T> nan = splat<T>(static_cast<T>(__builtin_nan("")));
  result = x == infinity ? infinity : result;
  result = x == splat<T>(0) ? -infinity : result;
  return x >= splat<T>(0) ? result : nan;
}

// log(1 + e) without losing the digits of a small e, for 0 <= e <= 1.
inline Vec<double> log_1_plus(Vec<double> e) {
  const Vec<double> u = e + 1.0;
  const Vec<double> quotient = log<double>(u) * (e / (u - 1.0));
  return u == splat<double>(1) ? e : quotient;
}

template <class T>
inline Vec<T> root(Vec<T> x) {
  T numbers[WIDTH<T>];
  store<T>(numbers, x);
  for (int i = 0; i < WIDTH<T>; ++i)
    numbers[i] = sizeof(T) == 8 ? __builtin_sqrt(numbers[i]) : __builtin_sqrtf(numbers[i]);
  return load<T>(numbers);
}

}  // namespace lossbench::LOSSBENCH_TARGET
