// Rows of bfloat16 in pairs, ready to be compared with other rows or to pull at them.
#pragma once

#include "pairs.h"
#include "pulls.h"

namespace lossbench::LOSSBENCH_TARGET {

// What rows are paired for.
enum class Paired { to_compare, to_pull };

// To compare, `pairs [B / PANEL][D / 2][PANEL]`: lanes are samples, 0 beyond the batch. To pull,
// `pairs [B / 2][D]`, of neighbouring samples.
struct PairPanels {
  const Matrix& x;
  int64_t batch, dim, count;
  Paired use;
  Pair* pairs;

  PairPanels(const Matrix& matrix, Paired wanted, Arena& arena)
      : x(matrix),
        batch(x.rows),
        dim(x.columns),
        count((batch + PANEL<float> - 1) / PANEL<float>),
        use(wanted) {
    const bool compared = use == Paired::to_compare;
    pairs = arena.take<Pair>(compared ? padded() * pairs_of(dim) : pairs_of(batch) * dim);
    copies_ = arena.take<Pair>(compared && !pairs_in_place(x) ? padded() * pairs_of(dim) : 0);
  }

  const Pair* panel(int64_t p) const { return pairs + p * panel_size(); }
  // The samples of panel `p` and of those after it, to pull.
  const Pair* rows(int64_t p) const { return pairs + p * PANEL<float> / 2 * dim; }
  int64_t lanes(int64_t p) const { return lesser(PANEL<float>, batch - p * PANEL<float>); }
  int vectors(int64_t p) const { return lanes(p) <= WIDTH<float> ? 1 : 2; }
  int64_t padded() const { return count * PANEL<float>; }

  void fill(int64_t p) const {
    const int64_t first = p * PANEL<float>;
    if (use == Paired::to_compare)
      return pair_panel_of(x, first, lanes(p), copies_ + p * panel_size(),
                           pairs + p * panel_size());
    Matrix part = x;
    part.data = halves_at(x, first, 0), part.rows = lanes(p);
    pair_along_columns(part, 0, dim, pairs + first / 2 * dim);
  }

 private:
  int64_t panel_size() const { return pairs_of(dim) * PANEL<float>; }

  Pair* copies_;
};

#if defined(__AVX512F__)

// As for other panels.
inline void multiply_panels(const PairPanels& left, int64_t q, int64_t from, int64_t rows,
                            const PairPanels& right, int64_t p, float* out) {
  const int64_t depth = pairs_of(left.dim);
  for (int64_t k = 0; k < depth; k += DEPTH)
    multiply<float>(rows, right.lanes(p),
                    ByColumns<Pair>{left.panel(q) + k * PANEL<float> + from, PANEL<float>},
                    right.panel(p) + k * PANEL<float>, lesser(DEPTH, depth - k), out,
                    k == 0 ? Store::set : Store::add);
}

// In the order of the products, so that the distance of equal rows is 0.
LOSSBENCH_BF16 inline void fill_halves(const PairPanels& samples, int64_t p, float* halves) {
  const int64_t depth = pairs_of(samples.dim);
  for (int64_t v = 0; v < PANEL<float>; v += WIDTH<float>) {
    Vec<float> sum = {};
    for (int64_t k = 0; k < depth; k += DEPTH) {
      Vec<float> part = {};
      for (int64_t d = k; d < lesser(k + DEPTH, depth); ++d) {
        const __m512bh pair = (__m512bh)load<Pair>(samples.panel(p) + d * PANEL<float> + v);
        part = _mm512_dpbf16_ps(part, pair, pair);
      }
      sum += part;
    }
    store<float>(halves + p * PANEL<float> + v, sum * 0.5f);
  }
  for (int64_t lane = samples.lanes(p); lane < PANEL<float>; ++lane)
    halves[p * PANEL<float> + lane] = INFINITE<float>;
}

// Adds the columns' sums of pairs of derivatives.
LOSSBENCH_BF16 inline void add_pairs(const Pair* pairs, int64_t depth, float* totals) {
  const __m512bh ones = (__m512bh)_mm512_set1_epi32(0x3f803f80);
  for (int64_t v = 0; v < PANEL<float>; v += WIDTH<float>) {
    Vec<float> sum = load<float>(totals + v);
    for (int64_t k = 0; k < depth; ++k)
      sum = _mm512_dpbf16_ps(sum, (__m512bh)load<Pair>(pairs + k * PANEL<float> + v), ones);
    store<float>(totals + v, sum);
  }
}

// As for other panels, with h rounded to bfloat16. `derive` is called without totals: they are of
// the rounded numbers.
template <class G, class F>
inline void pull_panel(const PairPanels& own, int64_t p, const PairPanels& others, float scale,
                       const PullBuffers<float>& buffers, G* gradient, const F& derive) {
  constexpr int64_t SQUARE = PANEL<float> * PANEL<float>;
  alignas(64) float totals[PANEL<float>] = {};
  const int64_t dim = own.dim;
  Pair* pairs = reinterpret_cast<Pair*>(buffers.derivatives);
  if (others.count == 0)
    for (int64_t i = 0; i < dim * PANEL<float>; ++i) buffers.sums[i] = 0;
  for (int64_t first = 0; first < others.count; first += PANELS_AT_ONCE) {
    const int64_t last = lesser(first + PANELS_AT_ONCE, others.count);
    const int64_t end = lesser(last * PANEL<float>, others.batch);
    const int64_t depth = pairs_of(end - first * PANEL<float>);
    for (int64_t q = first; q < last; ++q) {
      float* square = buffers.derivatives + (q - first) * SQUARE;
      derive(q, square);
      pair_rows(square, others.lanes(q), pairs + (q - first) * SQUARE / 2);
    }
    add_pairs(pairs, depth, totals);
    multiply<float>(dim, own.lanes(p), ByColumns<Pair>{others.rows(first), dim}, pairs, depth,
                    buffers.sums, first == 0 ? Store::set : Store::add);
  }
  transpose<float>(buffers.sums, PANEL<float>, dim,
                   own.lanes(p) <= WIDTH<float> ? WIDTH<float> : PANEL<float>, buffers.rows, dim);
  float* x = buffers.sums;
  for (int64_t i = 0; i < own.lanes(p); ++i) {
    read_row<float>(own.x, p * PANEL<float> + i, 0, dim, x);
    G* to = gradient + (p * PANEL<float> + i) * dim;
    const float* pulled = buffers.rows + i * dim;
    for (int64_t d = 0; d < dim; ++d) narrow((x[d] * totals[i] - pulled[d]) * scale, to[d]);
  }
}

#endif

}  // namespace lossbench::LOSSBENCH_TARGET
