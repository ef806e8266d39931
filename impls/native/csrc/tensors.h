// torch's tensors, by its stable interface alone: one binary serves every version from 2.11 on.
//
// Tensors are made by the C functions, in a third of a microsecond; the operators of torch's
// stable headers go through the dispatcher.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <initializer_list>
#include <optional>
#include <tuple>
#include <vector>

#include "matrix.h"

namespace lossbench {

using torch::stable::Tensor;

inline int32_t type_number(Dtype dtype) {
  switch (dtype) {
    case Dtype::float64: return aoti_torch_dtype_float64();
    case Dtype::bfloat16: return aoti_torch_dtype_bfloat16();
    case Dtype::float16: return aoti_torch_dtype_float16();
    default: return aoti_torch_dtype_float32();
  }
}

inline int32_t type_number(const Tensor& tensor) {
  int32_t number;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(tensor.get(), &number));
  return number;
}

inline Dtype dtype_of(const Tensor& tensor) {
  const int32_t number = type_number(tensor);
  for (Dtype dtype : {Dtype::float32, Dtype::float64, Dtype::bfloat16, Dtype::float16})
    if (number == type_number(dtype)) return dtype;
  STD_TORCH_CHECK(false, "lossbench: expected float32, float64, bfloat16 or float16");
}

// Whether a computation with these tensors is in float64; else it is in float32.
template <class... Tensors>
inline bool is_wide(const Tensors&... tensors) {
  return ((dtype_of(tensors) == Dtype::float64) || ...);
}

// The dtype of a computation's results.
inline Dtype computed_in(bool wide) { return wide ? Dtype::float64 : Dtype::float32; }

// A contiguous tensor of up to two dimensions.
inline Tensor empty(std::initializer_list<int64_t> sizes, int32_t type) {
  int64_t strides[2] = {1, 1};
  if (sizes.size() == 2 && sizes.begin()[1] > 0) strides[0] = sizes.begin()[1];
  AtenTensorHandle handle;
  TORCH_ERROR_CODE_CHECK(
      aoti_torch_empty_strided(static_cast<int64_t>(sizes.size()), sizes.begin(), strides, type,
                               aoti_torch_device_type_cpu(), 0, &handle));
  return Tensor(handle);
}

inline Tensor empty(std::initializer_list<int64_t> sizes, Dtype dtype) {
  return empty(sizes, type_number(dtype));
}

// Memory of torch's allocator, so that its peak is counted.
inline Tensor bytes(int64_t count) { return empty({count}, aoti_torch_dtype_uint8()); }

// A tensor `[M, N]`, or `[N]` as one row, or a number.
inline Matrix matrix_of(const Tensor& tensor) {
  const int64_t dims = tensor.dim();
  STD_TORCH_CHECK(dims <= 2 && tensor.is_cpu(), "lossbench: expected a matrix on the CPU");
  Matrix m;
  m.data = tensor.const_data_ptr(), m.dtype = dtype_of(tensor);
  m.rows = dims == 2 ? tensor.size(0) : 1, m.columns = dims == 0 ? 1 : tensor.size(dims - 1);
  m.row_stride = dims == 2 ? tensor.stride(0) : 0;
  m.column_stride = dims == 0 ? 1 : tensor.stride(dims - 1);
  return m;
}

inline MutableMatrix output_of(const Tensor& tensor) {
  return {tensor.mutable_data_ptr(), tensor.stride(0), tensor.stride(1), dtype_of(tensor)};
}

// Labels `[batch]`, int64.
inline Labels labels_of(const Tensor& tensor, int64_t batch) {
  STD_TORCH_CHECK(type_number(tensor) == aoti_torch_dtype_int64() && tensor.dim() == 1 &&
                      tensor.size(0) == batch && tensor.is_cpu(),
                  "lossbench: expected labels [", batch, "], int64, on the CPU");
  return {static_cast<const int64_t*>(tensor.const_data_ptr()), tensor.stride(0)};
}

// A gradient of `like`'s shape and dtype; one without numbers where none is wanted.
inline Tensor empty_gradient(const Tensor& like, bool wanted) {
  if (!wanted) return empty({0}, dtype_of(like));
  return empty({like.size(0), like.size(1)}, dtype_of(like));
}

// A number in float32 or float64.
inline double number_of(const Tensor& tensor) {
  const Dtype dtype = dtype_of(tensor);
  STD_TORCH_CHECK(dtype == Dtype::float32 || dtype == Dtype::float64,
                  "lossbench: expected a number in float32 or float64");
  const void* data = tensor.const_data_ptr();
  return dtype == Dtype::float64 ? *static_cast<const double*>(data)
                                 : *static_cast<const float*>(data);
}

inline void check_labels(const Labels& labels, int64_t batch, int64_t classes,
                         std::optional<int64_t> ignored = std::nullopt) {
  for (int64_t b = 0; b < batch; ++b) {
    const bool fits = (labels[b] >= 0 && labels[b] < classes) || labels[b] == ignored;
    STD_TORCH_CHECK(fits, "labels must be from 0 to ", classes - 1, ", got ", labels[b]);
  }
}

}  // namespace lossbench
