// Where a token lies: window order (group of 2 frames > window row > window column > frame > row > column in the
// window).
#pragma once

#include <cstdint>

namespace flashvsr::kernels {

struct TokenPosition {
  int frame, row, column;  ///< latent frame of the chunk, token row and column of the picture
};

/// Row of a token among the tokens of a chunk. Inverse of PositionOfToken.
constexpr int64_t TokenOfPosition(int rows, int columns, int frame, int row, int column) {
  const int64_t windows = static_cast<int64_t>(rows / 8) * (columns / 8);
  const int64_t window = static_cast<int64_t>(row / 8) * (columns / 8) + column / 8;
  return (frame / 2 * windows + window) * 128 + frame % 2 * 64 + row % 8 * 8 + column % 8;
}

constexpr TokenPosition PositionOfToken(int rows, int columns, int64_t token) {
  const int windowColumns = columns / 8, windows = (rows / 8) * windowColumns;
  const int block = static_cast<int>(token / 128), inside = static_cast<int>(token % 128);
  const int group = block / windows, window = block % windows;
  return {group * 2 + inside / 64, window / windowColumns * 8 + inside / 8 % 8,
          window % windowColumns * 8 + inside % 8};
}

}  // namespace flashvsr::kernels
