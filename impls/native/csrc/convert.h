// Numbers of every dtype, read and written in the precision of the computation.
#pragma once

#include "matrix.h"
#include "vector.h"

namespace lossbench::LOSSBENCH_TARGET {

struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

inline float float_of(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

inline uint32_t bits_of(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  return bits;
}

inline double widen(double value) { return value; }
inline float widen(float value) { return value; }
inline float widen(BFloat16 value) { return float_of(static_cast<uint32_t>(value.bits) << 16); }

inline float widen(Float16 value) {
  const uint32_t sign = (value.bits & 0x8000u) << 16, rest = value.bits & 0x7fffu;
  // The product rebiases the exponent, subnormal numbers' too.
  const uint32_t finite = bits_of(float_of(rest << 13) * 0x1p112f);
  return float_of(sign | (rest >= 0x7c00u ? 0x7f800000u | rest << 13 : finite));
}

inline void narrow(double value, double& to) { to = value; }
inline void narrow(double value, float& to) { to = static_cast<float>(value); }
inline void narrow(float value, double& to) { to = value; }
inline void narrow(float value, float& to) { to = value; }

inline void narrow(float value, BFloat16& to) {
  const uint32_t bits = bits_of(value);
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
  to.bits = static_cast<uint16_t>(is_nan ? 0x7fc0u : rounded);
}

inline void narrow(float value, Float16& to) {
  const uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
  uint32_t result;
  if (rest > 0x7f800000u) {
    result = 0x7e00u;
  } else if (rest >= 0x477ff000u) {
    result = 0x7c00u;
  } else if (rest < 0x38800000u) {
    // Below the least normal number: adding ½ rounds to a multiple of 2^-24.
    result = bits_of(float_of(rest) + 0.5f) - bits_of(0.5f);
  } else {
    result = (rest - 0x38000000u + 0xfffu + (rest >> 13 & 1)) >> 13;
  }
  to.bits = static_cast<uint16_t>(sign | result);
}

inline void narrow(double value, BFloat16& to) { narrow(static_cast<float>(value), to); }
inline void narrow(double value, Float16& to) { narrow(static_cast<float>(value), to); }

// Calls `f` with a pointer of the matrix's dtype.
template <class F>
inline void visit(Dtype dtype, const void* data, F f) {
  switch (dtype) {
    case Dtype::float32: return f(static_cast<const float*>(data));
    case Dtype::float64: return f(static_cast<const double*>(data));
    case Dtype::bfloat16: return f(static_cast<const BFloat16*>(data));
    case Dtype::float16: return f(static_cast<const Float16*>(data));
  }
}

template <class F>
inline void visit(Dtype dtype, void* data, F f) {
  switch (dtype) {
    case Dtype::float32: return f(static_cast<float*>(data));
    case Dtype::float64: return f(static_cast<double*>(data));
    case Dtype::bfloat16: return f(static_cast<BFloat16*>(data));
    case Dtype::float16: return f(static_cast<Float16*>(data));
  }
}

template <class T>
inline constexpr Dtype DTYPE = sizeof(T) == 8 ? Dtype::float64 : Dtype::float32;

// Row `row` from column `from` on, `count` numbers, times a factor, to `to`.
template <class T>
inline void read_row(const Matrix& m, int64_t row, int64_t from, int64_t count, T* to) {
  visit(m.dtype, m.data, [&](auto data) {
    const auto* source = data + row * m.row_stride + from * m.column_stride;
    if (m.column_stride == 1) {
      for (int64_t i = 0; i < count; ++i) to[i] = static_cast<T>(widen(source[i]));
    } else {
      for (int64_t i = 0; i < count; ++i)
        to[i] = static_cast<T>(widen(source[i * m.column_stride]));
    }
  });
}

template <class T>
inline void write_row(const MutableMatrix& m, int64_t row, int64_t from, int64_t count,
                      const T* values) {
  visit(m.dtype, m.data, [&](auto data) {
    auto* target = data + row * m.row_stride + from * m.column_stride;
    if (m.column_stride == 1) {
      for (int64_t i = 0; i < count; ++i) narrow(values[i], target[i]);
    } else {
      for (int64_t i = 0; i < count; ++i) narrow(values[i], target[i * m.column_stride]);
    }
  });
}

// Row `row` of a matrix as contiguous T: in place if it is that already, else copied to `buffer`.
template <class T>
inline const T* row_of(const Matrix& m, int64_t row, T* buffer) {
  if (m.dtype == DTYPE<T> && m.column_stride == 1)
    return static_cast<const T*>(m.data) + row * m.row_stride;
  read_row<T>(m, row, 0, m.columns, buffer);
  return buffer;
}

}  // namespace lossbench::LOSSBENCH_TARGET
