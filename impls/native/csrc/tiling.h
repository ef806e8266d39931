// Square tiles of the pairs of a batch.
#pragma once

#include "samples.h"

namespace lossbench::LOSSBENCH_TARGET {

// Square tiles of one half of a matrix of pairs, the diagonal included, in at most MOST_BLOCKS
// rows. More rows would need more memory; fewer would compute more pairs twice.
constexpr int64_t MOST_BLOCKS = 16;

struct Tile {
  // Panels of rows and columns; the column is not before the row.
  int64_t row, column, first_row, last_row, first_column, last_column;
};

struct Tiling {
  int64_t panels, size, blocks, count;

  explicit Tiling(int64_t panel_count) : panels(panel_count) {
    size = panels <= MOST_BLOCKS ? 1 : (panels + MOST_BLOCKS - 1) / MOST_BLOCKS;
    blocks = (panels + size - 1) / size, count = blocks * (blocks + 1) / 2;
  }

  // Tiles are numbered column by column, from the first row to the diagonal.
  Tile operator[](int64_t number) const {
    int64_t column = 0;
    while ((column + 1) * (column + 2) / 2 <= number) ++column;
    const int64_t row = number - column * (column + 1) / 2;
    return {row,           column,
            row * size,    lesser((row + 1) * size, panels),
            column * size, lesser((column + 1) * size, panels)};
  }
};

}  // namespace lossbench::LOSSBENCH_TARGET
