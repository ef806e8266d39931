// The distinct labels of a batch, by a hash table in scratch memory.
#pragma once

#include "arena.h"
#include "matrix.h"

namespace lossbench::LOSSBENCH_TARGET {

struct Distinct {
  int64_t count = 0;
  int64_t* first;   // The first sample of each label, [count].
  int64_t* number;  // The samples of each label, [count].

  Distinct(int64_t batch, Arena& arena) : batch_(batch) {
    while (size_ < 2 * batch) size_ *= 2;
    first = arena.take<int64_t>(batch);
    number = arena.take<int64_t>(batch);
    table_ = arena.take<int64_t>(size_);
  }

  void fill(const Labels& labels) {
    fill(labels, [](int64_t, int64_t) {});
  }

  // Calls `each(sample, the number of its label)`, too.
  template <class F>
  void fill(const Labels& labels, const F& each) {
    count = 0;
    for (int64_t i = 0; i < size_; ++i) table_[i] = -1;
    for (int64_t b = 0; b < batch_; ++b) {
      const uint64_t at = place_of(labels, labels[b]);
      if (table_[at] < 0) {
        first[count] = b, number[count] = 0;
        table_[at] = count++;
      }
      ++number[table_[at]];
      each(b, table_[at]);
    }
  }

  // The number of a label, -1 if no sample has it.
  int64_t find(const Labels& labels, int64_t label) const { return table_[place_of(labels, label)]; }

 private:
  int64_t batch_, size_ = 4;
  int64_t* table_;

  // The entry of a label in the table, or the empty one where it belongs.
  uint64_t place_of(const Labels& labels, int64_t label) const {
    uint64_t at = (static_cast<uint64_t>(label) * 0x9e3779b97f4a7c15u) & (size_ - 1);
    while (table_[at] >= 0 && labels[first[table_[at]]] != label) at = (at + 1) & (size_ - 1);
    return at;
  }
};

}  // namespace lossbench::LOSSBENCH_TARGET
