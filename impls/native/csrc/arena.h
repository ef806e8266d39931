// Pieces of one allocation, each aligned to a cache line.
#pragma once

#include <stdint.h>

namespace lossbench::LOSSBENCH_TARGET {

class Arena {
 public:
  explicit Arena(void* memory) : memory_(static_cast<char*>(memory)) {}

  // The next piece; without memory it only counts.
  template <class T>
  T* take(int64_t count) {
    char* piece = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return reinterpret_cast<T*>(piece);
  }

  int64_t used() const { return used_; }

 private:
  char* memory_;
  int64_t used_ = 0;
};

}  // namespace lossbench::LOSSBENCH_TARGET
