// The batch-hard triplet loss; compiled for each target.
//
// Pairs are mined in square tiles of one half of the matrix, each for the anchors of its rows and of
// its columns. A tile writes what it finds to places of its own, so the number of threads changes
// no result. The chosen distances are computed again, from differences.
#include "math.h"
#include "mining.h"
#include "triplets.h"

namespace lossbench::LOSSBENCH_TARGET {
namespace {

// Rows of tiles. More would need more memory; fewer would compute more pairs twice.
constexpr int64_t MOST_BLOCKS = 16;
// A distance up to this was clamped and has no gradient; the root of 1e-12 may round upwards.
constexpr double CLAMPED_DISTANCE = 1.000001e-6;
constexpr double LEAST_DISTANCE = 1e-6;
constexpr int KINDS = 2;  // Of partners: the furthest positive, the closest negative.

template <class T>
struct BatchHard {
  const Triplets& job;
  Arena arena;
  Panels<T> samples;
  ClassNumbers<T> classes;
  int64_t batch, dim, padded, block_panels, blocks, tiles, slots;
  T* halves;
  Partner<T>* found;      // [blocks][KINDS][B padded]: of an anchor, among the samples of a block.
  Hardest<T>* of_rows;    // [slots][rows of a block]
  double* coefficients;   // [KINDS][B]
  Partner<T>* chosen;     // [KINDS][B]
  double* hinges;         // [B]
  int64_t* correct;       // [B], 0 or 1
  T* gradient;            // [B, D]

  explicit BatchHard(const Triplets& asked)
      : job(asked),
        arena(asked.scratch),
        samples(asked.x, arena),
        classes(asked.x.rows, samples.padded(), arena),
        batch(samples.batch),
        dim(samples.dim),
        padded(samples.padded()) {
    block_panels = (samples.count + MOST_BLOCKS - 1) / MOST_BLOCKS;
    if (block_panels < 1) block_panels = 1;
    blocks = (samples.count + block_panels - 1) / block_panels, tiles = blocks * (blocks + 1) / 2;
    slots = slots_for(tiles, static_cast<double>(batch) * batch * dim);
    halves = arena.take<T>(padded);
    found = arena.take<Partner<T>>(blocks * KINDS * padded);
    of_rows = arena.take<Hardest<T>>(slots * block_panels * PANEL<T>);
    coefficients = arena.take<double>(KINDS * batch);
    chosen = arena.take<Partner<T>>(KINDS * batch);
    hinges = arena.take<double>(batch);
    correct = arena.take<int64_t>(batch);
    const bool in_place = job.gradient == nullptr || job.dtype == DTYPE<T>;
    gradient = in_place ? static_cast<T*>(job.gradient) : arena.take<T>(batch * dim);
  }

  bool run() {
    each_slot(samples.count, 4.0 * batch * dim, [&](int64_t p) {
      samples.fill(p);
      fill_halves<T>(samples, p, halves);
    });
    if (!all_finite<T>(samples, halves)) return false;
    classes.fill(job.labels);
    spread(slots, tiles, [&](int64_t slot, int64_t begin, int64_t end) {
      for (int64_t tile = begin; tile < end; ++tile) mine_tile(slot, tile);
    });
    each_slot(batch, 8.0 * batch * dim, [&](int64_t anchor) { choose(anchor); });
    write_values();
    if (job.gradient != nullptr) differentiate();
    return true;
  }

  template <class F>
  void each_slot(int64_t tasks, double operations, const F& f) {
    spread(slots_for(tasks, operations), tasks, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) f(task);
    });
  }

  // Tiles are numbered column by column, from the first row to the diagonal.
  void mine_tile(int64_t slot, int64_t tile) {
    int64_t column = 0;
    while ((column + 1) * (column + 2) / 2 <= tile) ++column;
    const int64_t row = tile - column * (column + 1) / 2;
    const int64_t first = row * block_panels, last = lesser(first + block_panels, samples.count);
    Hardest<T>* rows = row == column ? nullptr : of_rows + slot * block_panels * PANEL<T>;
    for (int64_t i = 0; rows != nullptr && i < (last - first) * PANEL<T>; ++i) rows[i].clear();
    const int64_t from = column * block_panels, to = lesser(from + block_panels, samples.count);
    for (int64_t p = from; p < to; ++p) mine_panel(first, last, p, rows, place(row, 0, p * PANEL<T>));
    if (rows == nullptr) return;
    for (int64_t i = first * PANEL<T>; i < lesser(last * PANEL<T>, batch); ++i) {
      const Hardest<T>& hardest = rows[i - first * PANEL<T>];
      *place(column, 0, i) = least_of_lanes<T>(hardest.furthest);
      *place(column, 1, i) = least_of_lanes<T>(hardest.closest);
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
      for (int v = 0; v < samples.vectors(p); ++v) mine_vector(q, count, p, v, distances, columns[v]);
      if (rows == nullptr) continue;
      Hardest<T>* of_panel = rows + (q - first) * PANEL<T>;
      for (int v = 0; v < samples.vectors(p); ++v)
        for (int64_t i = 0; i < count; ++i)
          of_panel[i].offer(load<T>(distances + i * PANEL<T> + v * WIDTH<T>), same(q, i, p, v),
                            lane_indices(p, v));
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
      hardest.offer(distance, same(q, i, p, v),
                    Ints<T>{} + static_cast<Integer<T>>(q * PANEL<T> + i));
    }
    best = hardest;
  }

  Ints<T> same(int64_t q, int64_t i, int64_t p, int v) const {
    return load_integers<T>(classes.ids + p * PANEL<T> + v * WIDTH<T>) ==
           Ints<T>{} + classes.ids[q * PANEL<T> + i];
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
      for (int64_t block = 1; block < blocks; ++block) partner.offer(*place(block, kind, anchor));
      lengths[kind] = length(anchor, partner.index);
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

  double length(int64_t a, int64_t b) const {
    constexpr int W = WIDTH<double>;
    const T *first = samples.row(a), *second = samples.row(b);
    Vec<double> sum = {};
    int64_t d = 0;
    for (; d + W <= dim; d += W) {
      const Vec<double> diff = load_wide(first + d) - load_wide(second + d);
      sum += diff * diff;
    }
    double rest = 0;
    for (; d < dim; ++d) {
      const double diff = static_cast<double>(first[d]) - static_cast<double>(second[d]);
      rest += diff * diff;
    }
    return __builtin_sqrt(sum_of<double>(sum) + rest);
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
      for (int64_t b = 0; b < batch; ++b) write_row<T>(out, b, from, count, gradient + b * dim + from);
    });
  }

  void pull(int64_t anchor, int64_t from, int64_t count) {
    for (int kind = 0; kind < KINDS; ++kind) {
      const double coefficient = coefficients[kind * batch + anchor];
      if (coefficient == 0) continue;
      const Partner<T>& partner = chosen[kind * batch + anchor];
      const T factor = static_cast<T>(coefficient);
      if (partner.tied)
        each_equal(anchor, kind, [&](int64_t other) { pull_pair(anchor, other, factor, from, count); });
      else
        pull_pair(anchor, partner.index, factor, from, count);
    }
  }

  void pull_pair(int64_t anchor, int64_t other, T factor, int64_t from, int64_t count) {
    const T *a = samples.row(anchor) + from, *b = samples.row(other) + from;
    T *to_a = gradient + anchor * dim + from, *to_b = gradient + other * dim + from;
#pragma GCC ivdep
    for (int64_t d = 0; d < count; ++d) {
      const T part = factor * (a[d] - b[d]);
      to_a[d] += part, to_b[d] -= part;
    }
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
