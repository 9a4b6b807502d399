#include "backend/reference/decoder_ops.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/reference/projector_ops.h"

namespace flashvsr::reference {
namespace {

float SoftClamp(float x) { return std::tanh(x / 3.0F) * 3.0F; }

}  // namespace

void DecoderInputRows(Threads& threads, std::span<const std::uint8_t* const, 4> frames, const float* latent,
                      std::int64_t channels, std::int64_t latentFrames, std::int64_t latentFrame, std::int64_t height,
                      std::int64_t width, float* out) {
  std::array<float, 256> unit{};
  for (int i = 0; i < 256; ++i) unit[static_cast<std::size_t>(i)] = SoftClamp(PixelToUnit(static_cast<std::uint8_t>(i)));
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
  const std::int64_t inputs = past != nullptr ? 2 : 1, outChannels = weight.n();
  RowSource source;
  source.rows = rows * columns;
  source.segments = 9 * inputs;
  source.length = channels;
  source.at = [&](std::int64_t row, std::int64_t segment) -> const float* {
    const std::int64_t tap = segment / inputs;
    const std::int64_t y = row / columns + tap / 3 - 1, xx = row % columns + tap % 3 - 1;
    if (y < 0 || y >= rows || xx < 0 || xx >= columns) return nullptr;
    return (segment % inputs == 0 ? x : past) + (y * columns + xx) * channels;
  };
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
  const RowSource points{rows * columns, 1, channels, [&](std::int64_t row, std::int64_t) { return x + row * channels; }};
  Multiply(threads, points, grow, [&](std::int64_t row, std::int64_t column, std::int64_t count, float* values) {
    for (std::int64_t i = 0; i < count; ++i)
      if ((column + i) / channels == step) grown[static_cast<std::size_t>(row * channels + (column + i) % channels)] = values[i];
  });
  RowSource source;
  source.rows = 4 * rows * columns;
  source.segments = 9;
  source.length = channels;
  source.at = [&](std::int64_t row, std::int64_t tap) -> const float* {
    const std::int64_t y = row / (2 * columns) + tap / 3 - 1, xx = row % (2 * columns) + tap % 3 - 1;
    if (y < 0 || y >= 2 * rows || xx < 0 || xx >= 2 * columns) return nullptr;
    return grown.data() + ((y / 2) * columns + xx / 2) * channels;
  };
  Multiply(threads, source, weight, [&](std::int64_t row, std::int64_t column, std::int64_t count, float* values) {
    for (std::int64_t i = 0; i < count; ++i) out[row * outChannels + column + i] = relu ? std::max(values[i], 0.0F) : values[i];
  });
}

void OutputConvolve(Threads& threads, const float* x, std::int64_t rows, std::int64_t columns, std::int64_t channels,
                    const PackedMatrix& weight, const float* bias, float* out) {
  const std::int64_t plane = rows * columns;
  RowSource source;
  source.rows = plane;
  source.segments = 9;
  source.length = channels;
  source.at = [&](std::int64_t row, std::int64_t tap) -> const float* {
    const std::int64_t y = row / columns + tap / 3 - 1, xx = row % columns + tap % 3 - 1;
    if (y < 0 || y >= rows || xx < 0 || xx >= columns) return nullptr;
    return x + (y * columns + xx) * channels;
  };
  Multiply(threads, source, weight, [&](std::int64_t row, std::int64_t column, std::int64_t count, float* values) {
    for (std::int64_t i = 0; i < count; ++i) out[(column + i) * plane + row] = (values[i] + bias[column + i]) * 2.0F - 1.0F;
  });
}

}  // namespace flashvsr::reference
