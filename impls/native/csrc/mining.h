// The hardest partners of anchors: the furthest positive, the closest negative, and which of them
// have equals.
#pragma once

#include "triplet_pass.h"

namespace lossbench::LOSSBENCH_TARGET {

// One anchor a lane. Furthest positives are found as the least of negative distances.
template <class T>
struct Least {
  Vec<T> value, second;  // The least value, and the least of all others.
  Ints<T> index;         // Of the first of the least values.

  void clear() { value = second = splat<T>(INFINITE<T>), index = Ints<T>{}; }

  void offer(Vec<T> candidate, Ints<T> candidate_index) {
    index = candidate < value ? candidate_index : index;
    second = smaller<T>(second, larger<T>(value, candidate));
    value = smaller<T>(value, candidate);
  }

  // Adds values of later indices.
  void merge(const Least& later) {
    offer(later.value, later.index);
    second = smaller<T>(second, later.second);
  }
};

constexpr int KINDS = 2;  // Of partners: the furthest positive, the closest negative.

template <class T>
struct Hardest {
  Least<T> kinds[KINDS];

  void clear() { kinds[0].clear(), kinds[1].clear(); }

  void offer(Vec<T> distance, Ints<T> same, Ints<T> index) {
    const Vec<T> none = splat<T>(INFINITE<T>);
    kinds[0].offer(same ? -distance : none, index);
    kinds[1].offer(same ? none : distance, index);
  }

  void merge(const Hardest& later) {
    for (int kind = 0; kind < KINDS; ++kind) kinds[kind].merge(later.kinds[kind]);
  }
};

// Mines tiles of pairs, each for the anchors of its rows and of its columns. A tile writes what it
// finds to places of its own.
template <class T>
struct Miner {
  const TripletPass<T>& pass;
  Hardest<T>* found;  // [blocks][B padded / WIDTH]: among the samples of a block.

  Miner(const TripletPass<T>& all, Arena& arena) : pass(all) {
    found = arena.take<Hardest<T>>(pass.tiling.blocks * vectors());
  }

  // The number of vectors of anchors.
  int64_t vectors() const { return pass.padded / WIDTH<T>; }

  // The partners among all samples, of the anchors of a vector.
  Hardest<T> hardest(int64_t vector) const {
    Hardest<T> best = found[vector];
    for (int64_t block = 1; block < pass.tiling.blocks; ++block)
      best.merge(found[block * vectors() + vector]);
    return best;
  }

  void mine(const Tile& tile) const {
    alignas(64) T distances[PANEL<T> * PANEL<T>], turned[PANEL<T> * PANEL<T>];
    for (int64_t p = tile.first_column; p < tile.last_column; ++p) clear(place(tile.row, p));
    for (int64_t q = tile.first_row; q < tile.last_row; ++q) clear(place(tile.column, q));
    for (int64_t p = tile.first_column; p < tile.last_column; ++p)
      for (int64_t q = tile.first_row; q < tile.last_row && q <= p; ++q) {
        measure(q, p, distances);
        offer(q, distances, p, place(tile.row, p));
        if (q == p) continue;
        // The last panel alone may lack samples, so that all lanes of `q` have numbers.
        transpose<T>(distances, PANEL<T>, pass.samples.lanes(q), pass.samples.lanes(p), turned,
                     PANEL<T>);
        offer(p, turned, q, place(tile.column, q));
      }
  }

 private:
  // Of the anchors of a panel, among the samples of a block: two vectors.
  Hardest<T>* place(int64_t block, int64_t panel) const {
    return found + block * vectors() + panel * (PANEL<T> / WIDTH<T>);
  }

  static void clear(Hardest<T>* panel) { panel[0].clear(), panel[1].clear(); }

  // Half the squared distances `[PANEL][PANEL]` of the samples of panel `q` to those of panel `p`.
  void measure(int64_t q, int64_t p, T* to) const {
    const Panels<T>& samples = pass.samples;
    const T* halves = pass.halves;
    if (q == p && samples.vectors(p) == 2)
      multiply_own(p, to);
    else
      multiply_panels<T>(samples, q, 0, samples.lanes(q), samples, p, to);
    for (int v = 0; v < samples.vectors(p); ++v) {
      const Vec<T> own = load<T>(halves + p * PANEL<T> + v * WIDTH<T>);
      for (int64_t i = 0; i < samples.lanes(q); ++i) {
        T* at = to + i * PANEL<T> + v * WIDTH<T>;
        store<T>(at, (own + halves[q * PANEL<T> + i]) - load<T>(at));
      }
    }
  }

  // The products of a panel's own samples. Those of its second half of samples with its first are
  // the others, turned.
  void multiply_own(int64_t p, T* to) const {
    constexpr int W = WIDTH<T>;
    const Panels<T>& samples = pass.samples;
    const int64_t rest = samples.lanes(p) - W;
    T* last = to + W * PANEL<T> + W;
    multiply_panels<T>(samples, p, 0, W, samples, p, to);
    for (int64_t k = 0; k < samples.dim; k += DEPTH) {
      const T* numbers = samples.panel(p) + k * PANEL<T> + W;
      multiply<T>(rest, W, ByColumns<T>{numbers, PANEL<T>}, numbers,
                  lesser(DEPTH, samples.dim - k), last, k == 0 ? Store::set : Store::add);
    }
    transpose<T>(to + W, PANEL<T>, W, rest, to + W * PANEL<T>, PANEL<T>);
  }

  // Offers the samples of panel `q` to the anchors of panel `p`, at distances `[PANEL][PANEL]`.
  void offer(int64_t q, const T* distances, int64_t p, Hardest<T>* best) const {
    for (int v = 0; v < pass.samples.vectors(p); ++v) {
      Hardest<T> hardest = best[v];
      for (int64_t i = 0; i < pass.samples.lanes(q); ++i) {
        const int64_t sample = q * PANEL<T> + i;
        hardest.offer(load<T>(distances + i * PANEL<T> + v * WIDTH<T>),
                      pass.classes.same(sample, p, v),
                      Ints<T>{} + static_cast<Integer<T>>(sample));
      }
      best[v] = hardest;
    }
  }
};

}  // namespace lossbench::LOSSBENCH_TARGET
