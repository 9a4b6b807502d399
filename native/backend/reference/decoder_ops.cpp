#include "backend/reference/decoder_ops.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/reference/projector_ops.h"

namespace flashvsr::reference {
namespace {

float SoftClamp(float x) { return std::tanh(x / 3.0F) * 3.0F; }

// Where the nine taps of zero-padded 3x3 convolutions lie: segment = tap * pictures.size() + picture. `halve`: the
// pictures are half as large and seen through nearest x2.
RowSource Taps(std::vector<const float*> pictures, std::int64_t rows, std::int64_t columns, std::int64_t channels,
               bool halve) {
  const std::int64_t inputs = static_cast<std::int64_t>(pictures.size());
  const int shift = halve ? 1 : 0;
  const std::int64_t stored = columns >> shift;
  return {rows * columns, 9 * inputs, channels,
          [=, pictures = std::move(pictures)](std::int64_t row, std::int64_t count, const float** pointers,
                                              std::int64_t stride) {
            const float* zero = ZeroRun();
            std::int64_t y = row / columns, x = row % columns;
            for (std::int64_t i = 0; i < count; ++i) {
              for (std::int64_t tap = 0; tap < 9; ++tap) {
                const std::int64_t fromY = y + tap / 3 - 1, fromX = x + tap % 3 - 1;
                const bool inside = fromY >= 0 && fromY < rows && fromX >= 0 && fromX < columns;
                const std::int64_t at = ((fromY >> shift) * stored + (fromX >> shift)) * channels;
                for (std::int64_t p = 0; p < inputs; ++p)
                  pointers[(tap * inputs + p) * stride + i] =
                      inside ? pictures[static_cast<std::size_t>(p)] + at : zero;
              }
              if (++x == columns) {
                x = 0;
                ++y;
              }
            }
          }};
}

}  // namespace

void DecoderInputRows(Threads& threads, std::span<const std::uint8_t* const, 4> frames, const float* latent,
                      std::int64_t channels, std::int64_t latentFrames, std::int64_t latentFrame, std::int64_t height,
                      std::int64_t width, float* out) {
  std::array<float, 256> unit{};
  for (int i = 0; i < 256; ++i)
    unit[static_cast<std::size_t>(i)] = SoftClamp(PixelToUnit(static_cast<std::uint8_t>(i)));
  const std::int64_t rows = height / 8, columns = width / 8;
  threads.runRanges(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t y = begin; y < end; ++y)
      for (std::int64_t x = 0; x < columns; ++x) {
        float* to = out + (y * columns + x) * (768 + channels);
        for (std::int64_t c = 0; c < 3; ++c)
          for (const std::uint8_t* frame : frames)
            for (std::int64_t i = 0; i < 8; ++i)
              for (std::int64_t j = 0; j < 8; ++j) *to++ = unit[frame[((y * 8 + i) * width + x * 8 + j) * 3 + c]];
        for (std::int64_t c = 0; c < channels; ++c)
          *to++ = SoftClamp(latent[((c * latentFrames + latentFrame) * rows + y) * columns + x]);
      }
  });
}

PackedMatrix PackConvolutionWeights(std::span<const float> weight, std::int64_t outChannels, std::int64_t inChannels,
                                    Threads* threads) {
  return PackedMatrix::FromConvolution(weight, outChannels, inChannels, 9, threads);
}

void Convolve3x3(Threads& threads, const float* x, const float* past, std::int64_t rows, std::int64_t columns,
                 std::int64_t channels, const PackedMatrix& weight, const float* bias, const float* residual, bool relu,
                 float* out) {
  const std::int64_t outChannels = weight.n();
  std::vector<const float*> pictures{x};
  if (past != nullptr) pictures.push_back(past);
  const RowSource source = Taps(std::move(pictures), rows, columns, channels, false);
  Multiply(threads, source, weight, [&](std::int64_t row, std::int64_t column, std::int64_t count, float* values) {
    const std::int64_t at = row * outChannels + column;
    for (std::int64_t i = 0; i < count; ++i) {
      float value = values[i];
      if (bias != nullptr) value += bias[column + i];
      if (residual != nullptr) value += residual[at + i];
      out[at + i] = relu ? std::max(value, 0.0F) : value;
    }
  });
}

void GrowConvolve(Threads& threads, const float* x, std::int64_t rows, std::int64_t columns, const PackedMatrix& grow,
                  std::int64_t step, const PackedMatrix& weight, bool relu, float* out) {
  const std::int64_t channels = grow.k(), outChannels = weight.n();
  std::vector<float> grown(static_cast<std::size_t>(rows * columns * channels));
  const RowSource points = PlainRows(x, rows * columns, channels);
  Multiply(threads, points, grow, [&](std::int64_t row, std::int64_t column, std::int64_t count, float* values) {
    for (std::int64_t i = std::max<std::int64_t>(step * channels - column, 0);
         i < std::min((step + 1) * channels - column, count); ++i)
      grown[static_cast<std::size_t>(row * channels + column + i - step * channels)] = values[i];
  });
  const RowSource source = Taps({grown.data()}, 2 * rows, 2 * columns, channels, true);
  Multiply(threads, source, weight, [&](std::int64_t row, std::int64_t column, std::int64_t count, float* values) {
    for (std::int64_t i = 0; i < count; ++i)
      out[row * outChannels + column + i] = relu ? std::max(values[i], 0.0F) : values[i];
  });
}

void OutputConvolve(Threads& threads, const float* x, std::int64_t rows, std::int64_t columns, std::int64_t channels,
                    const PackedMatrix& weight, const float* bias, float* out) {
  const std::int64_t plane = rows * columns;
  const RowSource source = Taps({x}, rows, columns, channels, false);
  Multiply(threads, source, weight, [&](std::int64_t row, std::int64_t column, std::int64_t count, float* values) {
    for (std::int64_t i = 0; i < count; ++i)
      out[(column + i) * plane + row] = (values[i] + bias[column + i]) * 2.0F - 1.0F;
  });
}

}  // namespace flashvsr::reference
