#include "backend/reference/projector_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/reference/token_ops.h"

namespace flashvsr::reference {

void UnshuffleBy16(Threads& threads, const std::uint8_t* frame, std::int64_t height, std::int64_t width, float* out) {
  const std::int64_t tokenColumns = width / 16;
  threads.runRanges(height / 16, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t y = begin; y < end; ++y)
      for (std::int64_t x = 0; x < tokenColumns; ++x) {
        float* to = out + (y * tokenColumns + x) * 768;
        for (std::int64_t c = 0; c < 3; ++c)
          for (std::int64_t i = 0; i < 16; ++i)
            for (std::int64_t j = 0; j < 16; ++j)
              *to++ = PixelToUnit(frame[((y * 16 + i) * width + x * 16 + j) * 3 + c]);
      }
  });
}

PackedMatrix PackCausalWeights(std::span<const float> weight, std::int64_t outChannels, std::int64_t inChannels,
                               Threads* threads) {
  return PackedMatrix::FromConvolution(weight, outChannels, inChannels, 36, threads);
}

void CausalConvolve(Threads& threads, std::span<const float* const> inputs, std::span<const std::array<int, 4>> taps,
                    std::int64_t rows, std::int64_t columns, const PackedMatrix& weight, const float* bias,
                    const float* gamma,
                    const std::function<float*(std::int64_t t, std::int64_t y, std::int64_t x)>& rowOf) {
  const std::int64_t inChannels = weight.k() / 36, outChannels = weight.n(),
                     outputs = static_cast<std::int64_t>(taps.size());
  RowSource source;
  source.rows = outputs * rows * columns;
  source.segments = 36;
  source.length = inChannels;
  source.locate = [&](std::int64_t row, std::int64_t count, const float** pointers, std::int64_t stride) {
    for (std::int64_t r = 0; r < count; ++r) {
      const std::int64_t t = (row + r) / (rows * columns), y = (row + r) / columns % rows, x = (row + r) % columns;
      for (std::int64_t segment = 0; segment < 36; ++segment) {
        const std::int64_t fromY = std::clamp<std::int64_t>(y + segment / 3 % 3 - 1, 0, rows - 1);
        const std::int64_t fromX = std::clamp<std::int64_t>(x + segment % 3 - 1, 0, columns - 1);
        const int slot = taps[static_cast<std::size_t>(t)][static_cast<std::size_t>(segment / 9)];
        pointers[segment * stride + r] =
            inputs[static_cast<std::size_t>(slot)] + (fromY * columns + fromX) * inChannels;
      }
    }
  };
  Multiply(threads, source, weight, [&](std::int64_t row, std::int64_t column, std::int64_t count, float* values) {
    float* to = rowOf(row / (rows * columns), row / columns % rows, row % columns) + column;
    for (std::int64_t i = 0; i < count; ++i) to[i] = values[i] + bias[column + i];
  });
  const double root = std::sqrt(static_cast<double>(outChannels));
  threads.runRanges(source.rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      float* at = rowOf(row / (rows * columns), row / columns % rows, row % columns);
      double squares = 0;
      for (std::int64_t i = 0; i < outChannels; ++i) squares += static_cast<double>(at[i]) * at[i];
      const double factor = root / std::max(std::sqrt(squares), 1e-12);
      for (std::int64_t i = 0; i < outChannels; ++i) at[i] = Silu(static_cast<float>(at[i] * factor * gamma[i]));
    }
  });
}

}  // namespace flashvsr::reference
