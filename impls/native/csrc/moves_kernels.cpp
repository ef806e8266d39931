// The move of class centres, in place; compiled for each target.
//
// A centre belongs to one thread, and takes the sum of its samples, in their order, at once: it is
// rounded only once, and the number of threads changes no bit.
#include "distinct.h"
#include "moves.h"
#include "parallel.h"
#include "rows.h"

namespace lossbench::LOSSBENCH_TARGET {
namespace {

template <class T>
struct Mover {
  const Moves& job;
  int64_t batch, dim, classes;
  Arena arena;
  Distinct distinct;
  int64_t *numbers, *ends, *members;  // Of each sample; of each class; the samples by class.
  int64_t slots;
  double* sums;  // [slots][D]
  T* rows;       // [slots][2][D]

  explicit Mover(const Moves& asked)
      : job(asked),
        batch(asked.x.rows),
        dim(asked.x.columns),
        classes(asked.centers.rows),
        arena(asked.scratch),
        distinct(batch, arena) {
    numbers = arena.take<int64_t>(batch);
    ends = arena.take<int64_t>(batch);
    members = arena.take<int64_t>(batch);
    slots = slots_for(classes, 2.0 * (batch + (job.momentum != 1 ? classes : 0)) * dim);
    sums = arena.take<double>(slots * dim);
    rows = arena.take<T>(slots * 2 * dim);
  }

  void run() {
    distinct.fill(job.labels, [&](int64_t b, int64_t number) { numbers[b] = number; });
    sort();
    // Without a momentum the other centres stay, and are not read.
    const bool all = job.momentum != 1;
    const int64_t tasks = all ? classes : distinct.count;
    spread(slots < tasks ? slots : tasks, tasks, [&](int64_t slot, int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task)
        all ? move(slot, task, distinct.find(job.labels, task))
            : move(slot, job.labels[distinct.first[task]], task);
    });
  }

 private:
  // Sorts the samples by their classes' numbers, stably.
  void sort() {
    int64_t end = 0;
    for (int64_t u = 0; u < distinct.count; ++u) ends[u] = end, end += distinct.number[u];
    for (int64_t b = 0; b < batch; ++b) members[ends[numbers[b]]++] = b;
  }

  // Moves one centre; `number` is that of its class, -1 without samples.
  void move(int64_t slot, int64_t c, int64_t number) const {
    double* sum = sums + slot * dim;
    T *own = rows + 2 * slot * dim, *other = own + dim;
    read_row<T>(job.centers, c, 0, dim, own);
    const double count = number < 0 ? 0 : static_cast<double>(distinct.number[number]);
    for (int64_t d = 0; d < dim; ++d) sum[d] = 0;
    for (int64_t i = 0; i < static_cast<int64_t>(count); ++i) {
      const T* x = row_of<T>(job.x, members[ends[number] - distinct.number[number] + i], other);
      if (job.differences)
        for (int64_t d = 0; d < dim; ++d)
          sum[d] += static_cast<double>(x[d]) - static_cast<double>(own[d]);
      else
        add_to<T>(sum, x, 1, dim);
    }
    const double factor = number < 0 ? 0 : job.share / (job.added + count);
    for (int64_t d = 0; d < dim; ++d)
      own[d] = static_cast<T>(job.momentum * static_cast<double>(own[d]) + factor * sum[d]);
    write_row<T>(job.to, c, 0, dim, own);
  }
};

}  // namespace

int64_t moves_scratch(const Moves& job, bool wide) {
  return wide ? Mover<double>(job).arena.used() : Mover<float>(job).arena.used();
}
void move(const Moves& job, bool wide) {
  wide ? Mover<double>(job).run() : Mover<float>(job).run();
}

}  // namespace lossbench::LOSSBENCH_TARGET
