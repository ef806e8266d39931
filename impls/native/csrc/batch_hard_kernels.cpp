// The batch-hard triplet loss; compiled for each target.
//
// Pairs are mined in square tiles of one half of the matrix, each for the anchors of its rows and
// of its columns. A tile writes what it finds to places of its own, so the number of threads
// changes no result. The chosen distances are computed again, from differences.
#include "mining.h"
#include "rows.h"
#include "triplets.h"

namespace lossbench::LOSSBENCH_TARGET {
namespace {

constexpr int KINDS = 2;  // Of partners: the furthest positive, the closest negative.

template <class T>
struct BatchHard {
  const Triplets& job;
  Arena arena;
  Panels<T> samples;
  ClassNumbers<T> classes;
  Tiling tiling;
  int64_t batch, dim, padded, slots;
  T* halves;
  Partner<T>* found;     // [blocks][KINDS][B padded]: of an anchor, among the samples of a block.
  Hardest<T>* of_rows;   // [slots][rows of a block]
  double* coefficients;  // [KINDS][B]
  Partner<T>* chosen;    // [KINDS][B]
  double* hinges;        // [B]
  int64_t* correct;      // [B], 0 or 1
  T* gradient;           // [B, D]

  explicit BatchHard(const Triplets& asked)
      : job(asked),
        arena(asked.scratch),
        samples(asked.x, arena),
        classes(asked.x.rows, samples.padded(), arena),
        tiling(samples.count),
        batch(samples.batch),
        dim(samples.dim),
        padded(samples.padded()) {
    slots = slots_for(tiling.count, static_cast<double>(batch) * batch * dim);
    halves = arena.take<T>(padded);
    found = arena.take<Partner<T>>(tiling.blocks * KINDS * padded);
    of_rows = arena.take<Hardest<T>>(slots * tiling.size * PANEL<T>);
    coefficients = arena.take<double>(KINDS * batch);
    chosen = arena.take<Partner<T>>(KINDS * batch);
    hinges = arena.take<double>(batch);
    correct = arena.take<int64_t>(batch);
    const bool in_place = job.gradient == nullptr || job.dtype == DTYPE<T>;
    gradient = in_place ? static_cast<T*>(job.gradient) : arena.take<T>(batch * dim);
  }

  bool run() {
    for_each(samples.count, 4.0 * batch * dim, [&](int64_t p) {
      samples.fill(p);
      fill_halves<T>(samples, p, halves);
    });
    if (!all_finite<T>(samples, halves)) return false;
    classes.fill(job.labels);
    spread(slots, tiling.count, [&](int64_t slot, int64_t begin, int64_t end) {
      for (int64_t number = begin; number < end; ++number) mine_tile(slot, tiling[number]);
    });
    for_each(batch, 8.0 * batch * dim, [&](int64_t anchor) { choose(anchor); });
    write_values();
    if (job.gradient != nullptr) differentiate();
    return true;
  }

  void mine_tile(int64_t slot, const Tile& tile) {
    const int64_t first = tile.first_row, last = tile.last_row;
    // A tile on the diagonal has all its pairs, so its columns are enough.
    Hardest<T>* rows = tile.row == tile.column ? nullptr : of_rows + slot * tiling.size * PANEL<T>;
    for (int64_t i = 0; rows != nullptr && i < (last - first) * PANEL<T>; ++i) rows[i].clear();
    for (int64_t p = tile.first_column; p < tile.last_column; ++p)
      mine_panel(first, last, p, rows, place(tile.row, 0, p * PANEL<T>));
    if (rows == nullptr) return;
    for (int64_t i = first * PANEL<T>; i < lesser(last * PANEL<T>, batch); ++i) {
      const Hardest<T>& hardest = rows[i - first * PANEL<T>];
      *place(tile.column, 0, i) = least_of_lanes<T>(hardest.furthest);
      *place(tile.column, 1, i) = least_of_lanes<T>(hardest.closest);
    }
  }

  Partner<T>* place(int64_t block, int64_t kind, int64_t anchor) const {
    return found + (block * KINDS + kind) * padded + anchor;
  }

  // Anchors of the panel `p` among the samples of the panels `first : last`, and the other way.
  void mine_panel(int64_t first, int64_t last, int64_t p, Hardest<T>* rows, Partner<T>* to) {
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
                            classes.same(q * PANEL<T> + i, p, v), lane_indices(p, v));
    }
    for (int v = 0; v < 2; ++v) {
      write_lanes<T>(columns[v].furthest, to + v * WIDTH<T>);
      write_lanes<T>(columns[v].closest, to + padded + v * WIDTH<T>);
    }
  }

  // Overwrites products by half the squared distances, and mines them for the lanes.
  void mine_vector(int64_t q, int64_t count, int64_t p, int v, T* products, Hardest<T>& best) {
    const Vec<T> own = load<T>(halves + p * PANEL<T> + v * WIDTH<T>);
    Hardest<T> hardest = best;
    for (int64_t i = 0; i < count; ++i) {
      T* at = products + i * PANEL<T> + v * WIDTH<T>;
      const Vec<T> distance = (own + halves[q * PANEL<T> + i]) - load<T>(at);
      store<T>(at, distance);
      hardest.offer(distance, classes.same(q * PANEL<T> + i, p, v),
                    Ints<T>{} + static_cast<Integer<T>>(q * PANEL<T> + i));
    }
    best = hardest;
  }

  static Ints<T> lane_indices(int64_t p, int v) {
    return lane_numbers<T>() + static_cast<Integer<T>>(p * PANEL<T> + v * WIDTH<T>);
  }

  // The partners of an anchor, its hinge, and its factors of the differences in the gradient.
  void choose(int64_t anchor) {
    double lengths[KINDS];
    for (int kind = 0; kind < KINDS; ++kind) {
      Partner<T>& partner = chosen[kind * batch + anchor];
      partner = *place(0, kind, anchor);
      for (int64_t block = 1; block < tiling.blocks; ++block)
        partner.offer(*place(block, kind, anchor));
      lengths[kind] =
          __builtin_sqrt(squared_distance<T>(samples.row(anchor), samples.row(partner.index), dim));
    }
    const double furthest = lengths[0] > LEAST_DISTANCE ? lengths[0] : LEAST_DISTANCE;
    // Without a negative in the batch there is no loss.
    const bool alone = !(chosen[batch + anchor].value < INFINITE<T>);
    const double least = lengths[1] > LEAST_DISTANCE ? lengths[1] : LEAST_DISTANCE;
    const double closest = alone ? __builtin_inf() : least;
    correct[anchor] = closest >= furthest;
    hinges[anchor] = furthest - closest + job.margin;
    for (int kind = 0; kind < KINDS; ++kind) {
      Partner<T>& partner = chosen[kind * batch + anchor];
      const bool flat = hinges[anchor] < 0 || lengths[kind] <= CLAMPED_DISTANCE;
      const double sign = kind == 0 ? 1 : -1;
      double& coefficient = coefficients[kind * batch + anchor];
      coefficient = flat ? 0 : sign / (lengths[kind] * static_cast<double>(batch));
      if (partner.tied && !flat) {
        // The gradient of a maximum is shared by equals.
        int64_t equals = 0;
        each_equal(anchor, kind, [&](int64_t) { ++equals; });
        coefficient /= static_cast<double>(equals > 0 ? equals : 1);
        partner.tied = equals > 1;
      }
    }
  }

  // Calls `f` with every partner of a kind that is as far as the chosen one.
  template <class F>
  void each_equal(int64_t anchor, int kind, const F& f) const {
    const Partner<T>& partner = chosen[kind * batch + anchor];
    const int64_t q = anchor / PANEL<T>, lane = anchor % PANEL<T>;
    alignas(64) T products[PANEL<T>];
    for (int64_t p = 0; p < samples.count; ++p) {
      multiply_panels<T>(samples, q, lane, 1, samples, p, products);
      for (int64_t i = 0; i < samples.lanes(p); ++i) {
        const int64_t other = p * PANEL<T> + i;
        const bool same = classes.ids[other] == classes.ids[anchor];
        const T distance = (halves[other] + halves[anchor]) - products[i];
        if (same == (kind == 0) && (same ? -distance : distance) == partner.value) f(other);
      }
    }
  }

  void write_values() {
    double total = 0;
    *job.correct = 0;
    for (int64_t b = 0; b < batch; ++b) {
      total += hinges[b] > 0 ? hinges[b] : 0;
      *job.correct += correct[b];
    }
    total /= static_cast<double>(batch);
    visit(job.dtype, job.loss, [&](auto* to) { narrow(total, *to); });
  }

  // Each slot has columns of its own, so that anchors add to their partners in order.
  void differentiate() {
    const int64_t parts = (dim + PANEL<T> - 1) / PANEL<T>;
    spread(slots_for(parts, 16.0 * batch * dim), parts, [&](int64_t, int64_t begin, int64_t end) {
      const int64_t from = begin * PANEL<T>, count = lesser(end * PANEL<T>, dim) - from;
      for (int64_t b = 0; b < batch; ++b)
        for (int64_t d = from; d < from + count; ++d) gradient[b * dim + d] = 0;
      for (int64_t b = 0; b < batch; ++b) pull(b, from, count);
      if (job.dtype == DTYPE<T>) return;
      const MutableMatrix out{job.gradient, dim, 1, job.dtype};
      for (int64_t b = 0; b < batch; ++b)
        write_row<T>(out, b, from, count, gradient + b * dim + from);
    });
  }

  void pull(int64_t anchor, int64_t from, int64_t count) {
    for (int kind = 0; kind < KINDS; ++kind) {
      const double coefficient = coefficients[kind * batch + anchor];
      if (coefficient == 0) continue;
      const Partner<T>& partner = chosen[kind * batch + anchor];
      const T factor = static_cast<T>(coefficient);
      if (partner.tied)
        each_equal(anchor, kind,
                   [&](int64_t other) { pull_pair(anchor, other, factor, from, count); });
      else
        pull_pair(anchor, partner.index, factor, from, count);
    }
  }

  void pull_pair(int64_t anchor, int64_t other, T factor, int64_t from, int64_t count) {
    pull_apart<T>(samples.row(anchor) + from, samples.row(other) + from, factor, count,
                  gradient + anchor * dim + from, gradient + other * dim + from);
  }
};

}  // namespace

int64_t batch_hard_scratch(const Triplets& job, bool wide) {
  return wide ? BatchHard<double>(job).arena.used() : BatchHard<float>(job).arena.used();
}
bool batch_hard(const Triplets& job, bool wide) {
  return wide ? BatchHard<double>(job).run() : BatchHard<float>(job).run();
}

}  // namespace lossbench::LOSSBENCH_TARGET
