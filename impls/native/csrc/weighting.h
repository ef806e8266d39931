// The softmax-weighted means of the distances to positives and negatives, of many anchors at once.
#pragma once

#include "math.h"
#include "samples.h"

namespace lossbench::LOSSBENCH_TARGET {

// Lower than any distance, and higher: the shifts before there is a positive, or a negative.
template <class T>
constexpr T NEAREST = 0;
template <class T>
constexpr T FARTHEST = static_cast<T>(1e30);

// Sums over the samples so far, one anchor a lane; `[padded]` each, in float or double. A power is
// e^(d - far) of a positive, and e^(near - d) of a negative.
template <class T>
struct WeightedSums {
  T *far, *far_powers, *far_products, *near, *near_powers, *near_products;
  Integer<T>* furthest;  // The sample at the distance `far`, the first of equals.

  WeightedSums(int64_t count, Arena& arena) {
    T** const all[] = {&far, &far_powers, &far_products, &near, &near_powers, &near_products};
    for (T** sums : all) *sums = arena.take<T>(count);
    furthest = arena.take<Integer<T>>(count);
  }

  void clear(int64_t from, int64_t count) {
    for (int64_t i = from; i < from + count; ++i) {
      far[i] = NEAREST<T>, near[i] = FARTHEST<T>;
      far_powers[i] = far_products[i] = near_powers[i] = near_products[i] = 0, furthest[i] = 0;
    }
  }

  // Adds the samples of panel `q`, at `distances [count][PANEL]`, to the sums of a vector of
  // anchors of panel `p`, from `at` on. Unless shifted, `near` is 0 for every anchor.
  void add(const ClassNumbers<T>& classes, int64_t q, int64_t count, int64_t p, int v, bool shifted,
           const T* distances, int64_t at) {
    distances += v * WIDTH<T>;
    const Vec<T> old_far = load<T>(far + at), old_near = load<T>(near + at), none = {};
    Vec<T> furthest_yet = old_far, closest_yet = old_near;
    Ints<T> index = load_integers<T>(furthest + at);
    for (int64_t i = 0; i < count; ++i) {
      const Vec<T> d = load<T>(distances + i * PANEL<T>);
      const Ints<T> same = classes.same(q * PANEL<T> + i, p, v);
      const Ints<T> is_further = same & (d > furthest_yet);
      furthest_yet = is_further ? d : furthest_yet;
      index = is_further ? Ints<T>{} + static_cast<Integer<T>>(q * PANEL<T> + i) : index;
      closest_yet = ~same & (d < closest_yet) ? d : closest_yet;
    }
    const Vec<T> shift = shifted ? closest_yet : none;
    const Vec<T> far_scale = exp<T>(old_far - furthest_yet);
    const Vec<T> near_scale = shifted ? exp<T>(shift - old_near) : splat<T>(1);
    Vec<T> fp = load<T>(far_powers + at) * far_scale, fd = load<T>(far_products + at) * far_scale;
    Vec<T> np = load<T>(near_powers + at) * near_scale;
    Vec<T> nd = load<T>(near_products + at) * near_scale;
    for (int64_t i = 0; i < count; ++i) {
      const Vec<T> d = load<T>(distances + i * PANEL<T>);
      const Ints<T> same = classes.same(q * PANEL<T> + i, p, v);
      const Vec<T> power = exp<T>(same ? d - furthest_yet : shift - d);
      const Vec<T> of_positive = same ? power : none, of_negative = same ? none : power;
      fp += of_positive, fd += of_positive * d, np += of_negative, nd += of_negative * d;
    }
    store<T>(far + at, furthest_yet), store<T>(near + at, closest_yet);
    store<T>(far_powers + at, fp), store<T>(far_products + at, fd);
    store<T>(near_powers + at, np), store<T>(near_products + at, nd);
    store_integers<T>(furthest + at, index);
  }
};

}  // namespace lossbench::LOSSBENCH_TARGET
