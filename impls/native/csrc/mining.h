// The hardest partners of anchors: the furthest positive, the closest negative, and which of them
// have equals.
#pragma once

#include "triplet_pass.h"

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

constexpr int KINDS = 2;  // Of partners: the furthest positive, the closest negative.

// Mines tiles of pairs, each for the anchors of its rows and of its columns. A tile writes what it
// finds to places of its own.
template <class T>
struct Miner {
  const TripletPass<T>& pass;
  Partner<T>* found;    // [blocks][KINDS][B padded]: of an anchor, among the samples of a block.
  Hardest<T>* of_rows;  // [slots][rows of a block]

  Miner(const TripletPass<T>& all, Arena& arena) : pass(all) {
    found = arena.take<Partner<T>>(pass.tiling.blocks * KINDS * pass.padded);
    of_rows = arena.take<Hardest<T>>(pass.slots * pass.tiling.size * PANEL<T>);
  }

  // The partner of an anchor, of all blocks.
  Partner<T> partner(int64_t kind, int64_t anchor) const {
    Partner<T> best = *place(0, kind, anchor);
    for (int64_t block = 1; block < pass.tiling.blocks; ++block)
      best.offer(*place(block, kind, anchor));
    return best;
  }

  void mine(int64_t slot, const Tile& tile) const {
    const int64_t first = tile.first_row, last = tile.last_row;
    // A tile on the diagonal has all its pairs, so its columns are enough.
    Hardest<T>* rows =
        tile.row == tile.column ? nullptr : of_rows + slot * pass.tiling.size * PANEL<T>;
    for (int64_t i = 0; rows != nullptr && i < (last - first) * PANEL<T>; ++i) rows[i].clear();
    for (int64_t p = tile.first_column; p < tile.last_column; ++p)
      mine_panel(first, last, p, rows, place(tile.row, 0, p * PANEL<T>));
    if (rows == nullptr) return;
    for (int64_t i = first * PANEL<T>; i < lesser(last * PANEL<T>, pass.batch); ++i) {
      const Hardest<T>& hardest = rows[i - first * PANEL<T>];
      *place(tile.column, 0, i) = least_of_lanes<T>(hardest.furthest);
      *place(tile.column, 1, i) = least_of_lanes<T>(hardest.closest);
    }
  }

 private:
  Partner<T>* place(int64_t block, int64_t kind, int64_t anchor) const {
    return found + (block * KINDS + kind) * pass.padded + anchor;
  }

  // Anchors of the panel `p` among the samples of the panels `first : last`, and the other way.
  void mine_panel(int64_t first, int64_t last, int64_t p, Hardest<T>* rows, Partner<T>* to) const {
    const Panels<T>& samples = pass.samples;
    alignas(64) T distances[PANEL<T> * PANEL<T>];
    Hardest<T> columns[2];
    columns[0].clear(), columns[1].clear();
    for (int64_t q = first; q < last; ++q) {
      const int64_t count = samples.lanes(q);
      multiply_panels<T>(samples, q, 0, count, samples, p, distances);
      for (int v = 0; v < samples.vectors(p); ++v)
        mine_vector(q, count, p, v, distances, columns[v]);
      if (rows == nullptr) continue;
      Hardest<T>* of_panel = rows + (q - first) * PANEL<T>;
      for (int v = 0; v < samples.vectors(p); ++v)
        for (int64_t i = 0; i < count; ++i)
          of_panel[i].offer(load<T>(distances + i * PANEL<T> + v * WIDTH<T>),
                            pass.classes.same(q * PANEL<T> + i, p, v), lane_indices(p, v));
    }
    for (int v = 0; v < 2; ++v) {
      write_lanes<T>(columns[v].furthest, to + v * WIDTH<T>);
      write_lanes<T>(columns[v].closest, to + pass.padded + v * WIDTH<T>);
    }
  }

  // Overwrites products by half the squared distances, and mines them for the lanes.
  void mine_vector(int64_t q, int64_t count, int64_t p, int v, T* products,
                   Hardest<T>& best) const {
    const T* halves = pass.halves;
    const Vec<T> own = load<T>(halves + p * PANEL<T> + v * WIDTH<T>);
    Hardest<T> hardest = best;
    for (int64_t i = 0; i < count; ++i) {
      T* at = products + i * PANEL<T> + v * WIDTH<T>;
      const Vec<T> distance = (own + halves[q * PANEL<T> + i]) - load<T>(at);
      store<T>(at, distance);
      hardest.offer(distance, pass.classes.same(q * PANEL<T> + i, p, v),
                    Ints<T>{} + static_cast<Integer<T>>(q * PANEL<T> + i));
    }
    best = hardest;
  }

  static Ints<T> lane_indices(int64_t p, int v) {
    return lane_numbers<T>() + static_cast<Integer<T>>(p * PANEL<T> + v * WIDTH<T>);
  }
};

}  // namespace lossbench::LOSSBENCH_TARGET
