#include "backend/reference/wan_ops.h"

#include <algorithm>
#include <cmath>

#include "backend/reference/token_ops.h"
#include "weights/wan_layers.h"

namespace flashvsr::reference {
namespace {

constexpr std::int64_t kAttentionRows = 64;

// Where the taps of a convolution over time steps lie: segment = (step * side + row) * side + column, as the weight has
// them.
RowSource Taps(const std::vector<const float*>& steps, std::int64_t rows, std::int64_t columns, std::int64_t channels,
               std::int64_t side, bool halve) {
  const std::int64_t times = static_cast<std::int64_t>(steps.size()), reach = side / 2;
  const int shift = halve ? 1 : 0;
  const std::int64_t stored = columns >> shift;
  return {rows * columns, times * side * side, channels,
          [=](std::int64_t row, std::int64_t count, const float** pointers, std::int64_t stride) {
            const float* zero = ZeroRun();
            std::int64_t y = row / columns, x = row % columns;
            for (std::int64_t i = 0; i < count; ++i) {
              for (std::int64_t tap = 0; tap < side * side; ++tap) {
                const std::int64_t fromY = y + tap / side - reach, fromX = x + tap % side - reach;
                const bool inside = fromY >= 0 && fromY < rows && fromX >= 0 && fromX < columns;
                const std::int64_t at = ((fromY >> shift) * stored + (fromX >> shift)) * channels;
                for (std::int64_t t = 0; t < times; ++t)
                  pointers[(t * side * side + tap) * stride + i] =
                      inside ? steps[static_cast<std::size_t>(t)] + at : zero;
              }
              if (++x == columns) {
                x = 0;
                ++y;
              }
            }
          }};
}

// Rows of `positions` numbers, which may be more than a run holds: pictures of whole blocks of 128 pixels have a
// multiple of 256 positions.
RowSource ScoreRows(const float* scores, std::int64_t rows, std::int64_t positions) {
  constexpr std::int64_t kRun = 256;
  return {rows, positions / kRun, kRun,
          [=](std::int64_t row, std::int64_t count, const float** pointers, std::int64_t stride) {
            for (std::int64_t run = 0; run < positions / kRun; ++run)
              for (std::int64_t i = 0; i < count; ++i)
                pointers[run * stride + i] = scores + (row + i) * positions + run * kRun;
          }};
}

std::int64_t SideOf(const PackedMatrix& weight, std::int64_t channels, std::size_t steps) {
  return weight.k() == channels * static_cast<std::int64_t>(steps) ? 1 : 3;
}

}  // namespace

void WanInputRows(Threads& threads, const float* latent, std::int64_t channels, std::int64_t latentFrames,
                  std::int64_t latentFrame, std::int64_t positions, const PackedMatrix& weight, const float* bias,
                  float* out) {
  std::vector<float> z(static_cast<std::size_t>(positions * channels));
  for (std::int64_t c = 0; c < channels; ++c) {
    const float* from = latent + (c * latentFrames + latentFrame) * positions;
    const std::size_t at = static_cast<std::size_t>(c);
    for (std::int64_t i = 0; i < positions; ++i)
      z[static_cast<std::size_t>(i * channels + c)] = from[i] * kWanDeviation[at] + kWanMean[at];
  }
  Linear(threads, z.data(), positions, weight, bias, Activation::None, out);
}

void WanNormalize(Threads& threads, const float* x, std::int64_t rows, std::int64_t width, const float* gamma,
                  bool silu, float* out) {
  const float root = std::sqrt(static_cast<float>(width));
  threads.runRanges(rows, 256, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* from = x + row * width;
      float* to = out + row * width;
      double squares = 0;
      for (std::int64_t i = 0; i < width; ++i) squares += static_cast<double>(from[i]) * from[i];
      const float factor = root / static_cast<float>(std::max(std::sqrt(squares), 1e-12));
      for (std::int64_t i = 0; i < width; ++i) {
        const float value = from[i] * factor * gamma[i];
        to[i] = silu ? Silu(value) : value;
      }
    }
  });
}

void WanConvolve(Threads& threads, const std::vector<const float*>& steps, std::int64_t rows, std::int64_t columns,
                 std::int64_t channels, bool enlarge, const PackedMatrix& weight, const float* bias, std::int64_t first,
                 std::int64_t count, const float* residual, float* out) {
  const RowSource source = Taps(steps, rows, columns, channels, SideOf(weight, channels, steps.size()), enlarge);
  Multiply(threads, source, weight, [&](std::int64_t row, std::int64_t column, std::int64_t width, float* values) {
    const std::int64_t end = std::min(column + width, first + count);
    for (std::int64_t c = std::max(column, first); c < end; ++c) {
      const std::int64_t at = row * count + c - first;
      const float value = values[c - column] + bias[c];
      out[at] = residual != nullptr ? value + residual[at] : value;
    }
  });
}

void WanAttend(Threads& threads, const float* x, std::int64_t positions, std::int64_t width, const float* gamma,
               const PackedMatrix& qkv, const float* qkvBias, const PackedMatrix& project, const float* projectBias,
               float* out) {
  const std::size_t plane = static_cast<std::size_t>(positions * width);
  std::vector<float> normed(plane), queries(plane), keys(plane), values(plane), attended(plane);
  WanNormalize(threads, x, positions, width, gamma, false, normed.data());
  Multiply(threads, PlainRows(normed.data(), positions, width), qkv,
           [&](std::int64_t row, std::int64_t column, std::int64_t count, float* sums) {
             for (std::int64_t c = column; c < column + count; ++c) {
               const float value = sums[c - column] + qkvBias[c];
               const std::size_t at = static_cast<std::size_t>(row * width + c % width);
               // Values lie transposed: they are the right side of the second product.
               if (c < width) queries[at] = value;
               else if (c < 2 * width) keys[at] = value;
               else values[static_cast<std::size_t>((c - 2 * width) * positions + row)] = value;
             }
           });
  const PackedMatrix packedKeys(keys, positions, width, &threads), packedValues(values, width, positions, &threads);
  const float scale = 1.0F / std::sqrt(static_cast<float>(width));
  std::vector<float> scores(static_cast<std::size_t>(kAttentionRows * positions));
  for (std::int64_t begin = 0; begin < positions; begin += kAttentionRows) {
    const std::int64_t rows = std::min(kAttentionRows, positions - begin);
    Multiply(threads, PlainRows(queries.data() + begin * width, rows, width), packedKeys,
             [&](std::int64_t row, std::int64_t column, std::int64_t count, float* sums) {
               for (std::int64_t i = 0; i < count; ++i)
                 scores[static_cast<std::size_t>(row * positions + column + i)] = sums[i] * scale;
             });
    threads.run(rows, [&](std::int64_t row) {
      float* line = scores.data() + row * positions;
      const float top = *std::max_element(line, line + positions);
      double total = 0;
      for (std::int64_t i = 0; i < positions; ++i) total += line[i] = std::exp(line[i] - top);
      for (std::int64_t i = 0; i < positions; ++i) line[i] = static_cast<float>(line[i] / total);
    });
    Multiply(threads, ScoreRows(scores.data(), rows, positions), packedValues,
             [&](std::int64_t row, std::int64_t column, std::int64_t count, float* sums) {
               std::copy_n(sums, count, attended.begin() + (begin + row) * width + column);
             });
  }
  Multiply(threads, PlainRows(attended.data(), positions, width), project,
           [&](std::int64_t row, std::int64_t column, std::int64_t count, float* sums) {
             for (std::int64_t i = 0; i < count; ++i) {
               const std::int64_t at = row * width + column + i;
               out[at] = x[at] + sums[i] + projectBias[column + i];
             }
           });
}

void WanOutputConvolve(Threads& threads, const std::vector<const float*>& steps, std::int64_t rows,
                       std::int64_t columns, std::int64_t channels, const PackedMatrix& weight, const float* bias,
                       float* out) {
  const std::int64_t plane = rows * columns;
  const RowSource source = Taps(steps, rows, columns, channels, 3, false);
  Multiply(threads, source, weight, [&](std::int64_t row, std::int64_t column, std::int64_t count, float* values) {
    for (std::int64_t i = 0; i < count; ++i)
      out[(column + i) * plane + row] = std::clamp(values[i] + bias[column + i], -1.0F, 1.0F);
  });
}

}  // namespace flashvsr::reference
