// The rows as the left factor of the columns' gradient, which sums over the batch.
#pragma once

#include "linear_layer.h"

namespace lossbench::LOSSBENCH_TARGET {

// The rows for the gradient of columns: the scaled ones, or in pairs along the batch,
// `[B / PANEL][D][PANEL / 2]`, before factors.
template <class T>
struct TurnedRows {
  const ScaledRows<T>& rows;
  bool rows_are_filled;
  bool is_single;  // Whether the columns are one panel: then each slot turns a panel of rows.
  Pair* pairs;
  Pair* panel;  // A panel of rows for each slot, where the rows are not filled.

  TurnedRows(const ScaledRows<T>& scaled, bool filled, int64_t classes, bool wanted, Arena& arena)
      : rows(scaled), rows_are_filled(filled), is_single(classes <= PANEL<T>) {
    const bool used = wanted && rows.paired;
    pairs = arena.take<Pair>(used ? (is_single ? rows.slots : rows.panels) * panel_size() : 0);
    panel = arena.take<Pair>(used && !filled ? rows.slots * pairs_of(rows.dim) * PANEL<T> : 0);
  }

  int64_t panel_size() const { return rows.dim * PANEL<T> / 2; }

  void fill() {
    if constexpr (HAS_PAIRS<T>)
      if (rows.paired && !is_single)
        spread(rows.slots, rows.panels, [&](int64_t slot, int64_t begin, int64_t end) {
          for (int64_t p = begin; p < end; ++p) fill_panel(p, slot, pairs + p * panel_size());
        });
  }

  // Sets `sums [D][PANEL]` to some panels of rows times the derivatives of `lanes` classes,
  // `[panel][count][PANEL]`; `turned` takes a square for each panel.
  void multiply_by(int64_t first, int64_t last, int64_t slot, const T* derivatives, int64_t count,
                   int64_t lanes, T* turned, T* sums) const {
    const int64_t batch = smaller(last * PANEL<T>, rows.batch) - first * PANEL<T>;
    if constexpr (HAS_PAIRS<T>)
      if (rows.paired) {
        Pair* paired = reinterpret_cast<Pair*>(turned);
        for (int64_t p = first; p < last; ++p)
          pair_panel(p, derivatives + p * PANEL<T> * count, lanes,
                     paired + (p - first) * SQUARE / 2);
        if (!is_single)
          return multiply<T>(rows.dim, lanes, left(pairs), paired, pairs_of(batch), sums);
        Pair* mine = pairs + slot * panel_size();
        for (int64_t p = first; p < last; ++p) {
          fill_panel(p, slot, mine);
          multiply<T>(rows.dim, lanes, left(mine), paired + (p - first) * SQUARE / 2,
                      pairs_of(rows.lanes(p)), sums, p == first ? Store::set : Store::add);
        }
        return;
      }
    for (int64_t p = first; p < last; ++p)
      transpose<T>(derivatives + p * PANEL<T> * count, PANEL<T>, lanes, rows.lanes(p),
                   turned + (p - first) * SQUARE, PANEL<T>);
    multiply<T>(rows.dim, lanes, ByPanels<T>{rows.panel(first), rows.dim * PANEL<T>}, turned, batch,
                sums);
  }

 private:
  static constexpr int64_t SQUARE = PANEL<T> * PANEL<T>;

  ByPanels<Pair, PANEL<T> / 2> left(const Pair* from) const { return {from, panel_size()}; }

  void fill_panel(int64_t p, int64_t slot, Pair* turned) const {
    const Pair* from = rows.pair_panel(p);
    if (!rows_are_filled) {
      Pair* to = panel + slot * pairs_of(rows.dim) * PANEL<T>;
      rows.fill_pairs(p, slot, to);
      from = to;
    }
    for (int64_t d = 0; d < rows.dim; ++d)
      for (int64_t v = 0; v < PANEL<T>; v += WIDTH<T>) {
        const Vec<Pair> both = load<Pair>(from + d / 2 * PANEL<T> + v);
        store_low_halves(turned + (d * PANEL<T> + v) / 2, d % 2 == 0 ? both : both >> 16);
      }
  }

  // Writes a panel's derivatives, times the rows' factors, as pairs `[PANEL / 2][PANEL]`.
  void pair_panel(int64_t p, const T* derivatives, int64_t lanes, Pair* to) const {
    alignas(64) Pair by_class[SQUARE / 2] = {};
    const T* factors = rows.head.rows == Rows::given ? nullptr : rows.factors + p * PANEL<T>;
    round_rows(derivatives, lanes, PANEL<T>, factors, by_class, PANEL<T>);
    transpose<Pair>(by_class, PANEL<T> / 2, PANEL<T>, PANEL<T> / 2, to, PANEL<T>);
  }
};

}  // namespace lossbench::LOSSBENCH_TARGET
