// The least candidates of many anchors at once, and which of them have equals.
#pragma once

#include "samples.h"

namespace lossbench::LOSSBENCH_TARGET {

// One anchor a lane. Furthest positives are found as the least of negative distances.
template <class T>
struct Least {
  Vec<T> value;
  Ints<T> index, tied;  // tied: -1 or 0.

  void clear() { value = splat<T>(INFINITE<T>), index = tied = Ints<T>{}; }

  void offer(Vec<T> candidate, Ints<T> candidate_index) {
    const Ints<T> less = candidate < value;
    tied = less ? Ints<T>{} : tied | (candidate == value);
    value = less ? candidate : value;
    index = less ? candidate_index : index;
  }
};

template <class T>
struct Partner {
  T value;
  Integer<T> index, tied;

  // The first of equals stays, and knows that it has one.
  void offer(const Partner& other) {
    if (other.value < value) {
      *this = other;
    } else if (other.value == value) {
      tied |= 1;
      if (other.index < index) index = other.index;
    }
  }
};

// The furthest positive and the closest negative, so far.
template <class T>
struct Hardest {
  Least<T> furthest, closest;

  void clear() { furthest.clear(), closest.clear(); }

  void offer(Vec<T> distance, Ints<T> same, Ints<T> index) {
    const Vec<T> none = splat<T>(INFINITE<T>);
    furthest.offer(same ? -distance : none, index);
    closest.offer(same ? none : distance, index);
  }
};

// Combines all lanes by a function of two vectors, in halves; every lane has the result.
template <class T, class V, class F>
inline V over_lanes(V v, const F& f) {
#pragma GCC unroll 8
  for (int half = WIDTH<T> / 2; half > 0; half /= 2)
    v = f(v, __builtin_shuffle(v, lane_numbers<T>() ^ half));
  return v;
}

// The least of all lanes, of one anchor; the first of equals.
template <class T>
inline Partner<T> least_of_lanes(const Least<T>& least) {
  const auto smaller = [](auto a, auto b) { return b < a ? b : a; };
  const Vec<T> value = over_lanes<T>(least.value, smaller);
  const Ints<T> chosen = value == least.value, none = {}, last = none + INT32_MAX;
  const Ints<T> index = over_lanes<T>(chosen ? least.index : last, smaller);
  const Ints<T> equals =
      over_lanes<T>(chosen ? 1 - least.tied : none, [](auto a, auto b) { return a + b; });
  return {value[0], index[0], equals[0] > 1};
}

template <class T>
inline void write_lanes(const Least<T>& least, Partner<T>* to) {
  T values[WIDTH<T>];
  Integer<T> indices[WIDTH<T>], tied[WIDTH<T>];
  store<T>(values, least.value);
  store_integers<T>(indices, least.index), store_integers<T>(tied, least.tied);
  for (int i = 0; i < WIDTH<T>; ++i) to[i] = {values[i], indices[i], tied[i]};
}

}  // namespace lossbench::LOSSBENCH_TARGET
