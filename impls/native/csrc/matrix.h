// Matrices of any floating dtype and strides, without torch.
#pragma once

#include <stdint.h>

namespace lossbench {

enum class Dtype { float32, float64, bfloat16, float16 };

struct Matrix {
  const void* data = nullptr;
  int64_t rows = 0, columns = 0;
  int64_t row_stride = 0, column_stride = 0;
  Dtype dtype = Dtype::float32;
};

struct MutableMatrix {
  void* data = nullptr;
  int64_t row_stride = 0, column_stride = 0;
  Dtype dtype = Dtype::float32;
};

struct Labels {
  const int64_t* data = nullptr;
  int64_t stride = 1;
  // Inlined in every target: the linker would keep the code of one of them.
  __attribute__((always_inline)) int64_t operator[](int64_t i) const { return data[i * stride]; }
};

}  // namespace lossbench
