// torch's own parallel loop, by the C function of its stable interface.
//
// torch's header for it has inline functions, so kernels of several targets cannot include it.
#pragma once

#include <stdint.h>

extern "C" {
int32_t torch_parallel_for(int64_t begin, int64_t end, int64_t grain_size,
                           void (*body)(int64_t, int64_t, void*), void* context);
int32_t torch_get_num_threads(uint32_t* out);
}

namespace lossbench::LOSSBENCH_TARGET {

// Starting and joining a thread takes some microseconds, the time of so many operations.
constexpr double OPERATIONS_PER_SLOT = 1e6;

// The number of slots that work is spread over.
inline int64_t slots_for(int64_t tasks, double operations) {
  uint32_t threads = 1;
  if (operations < 2 * OPERATIONS_PER_SLOT || torch_get_num_threads(&threads) != 0) return 1;
  int64_t slots = static_cast<int64_t>(operations / OPERATIONS_PER_SLOT);
  if (slots > threads) slots = threads;
  return slots < tasks ? slots : (tasks > 1 ? tasks : 1);
}

// Calls `body(slot, begin, end)` for each slot, with its share of `tasks`, in order.
template <class F>
inline void spread(int64_t slots, int64_t tasks, const F& body) {
  if (slots <= 1) return body(int64_t{0}, int64_t{0}, tasks);
  struct Context {
    const F& body;
    int64_t slots, tasks;
  } context{body, slots, tasks};
  torch_parallel_for(
      0, slots, 1,
      [](int64_t begin, int64_t end, void* given) {
        const Context& c = *static_cast<const Context*>(given);
        for (int64_t slot = begin; slot < end; ++slot)
          c.body(slot, slot * c.tasks / c.slots, (slot + 1) * c.tasks / c.slots);
      },
      &context);
}

}  // namespace lossbench::LOSSBENCH_TARGET
