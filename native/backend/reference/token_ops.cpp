#include "backend/reference/token_ops.h"

#include <algorithm>
#include <cmath>

#include "backend/backend.h"
#include "backend/float8.h"
#include "backend/int8.h"
#include "kernels/common/philox.h"

namespace flashvsr::reference {
namespace {
constexpr double kEpsilon = 1e-6;
}  // namespace

void LayerNorm(Threads& threads, const float* x, std::int64_t rows, std::int64_t width, const float* weight,
               const float* bias, const float* scale, const float* shift, float* out) {
  threads.runRanges(rows, 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* from = x + row * width;
      float* to = out + row * width;
      double sum = 0;
      for (std::int64_t i = 0; i < width; ++i) sum += from[i];
      const double mean = sum / static_cast<double>(width);
      double squares = 0;
      for (std::int64_t i = 0; i < width; ++i) squares += (from[i] - mean) * (from[i] - mean);
      const double factor = 1.0 / std::sqrt(squares / static_cast<double>(width) + kEpsilon);
      for (std::int64_t i = 0; i < width; ++i) {
        double value = (from[i] - mean) * factor;
        if (weight != nullptr) value = value * weight[i] + bias[i];
        if (scale != nullptr) value = value * (1.0 + scale[i]) + shift[i];
        to[i] = static_cast<float>(value);
      }
    }
  });
}

void RmsNorm(Threads& threads, float* x, std::int64_t rows, std::int64_t width, const float* weight) {
  threads.runRanges(rows, 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      float* at = x + row * width;
      double squares = 0;
      for (std::int64_t i = 0; i < width; ++i) squares += static_cast<double>(at[i]) * at[i];
      const double factor = 1.0 / std::sqrt(squares / static_cast<double>(width) + kEpsilon);
      for (std::int64_t i = 0; i < width; ++i) at[i] = static_cast<float>(at[i] * factor * weight[i]);
    }
  });
}

void Rope(Threads& threads, float* x, std::int64_t frames, std::int64_t tokenRows, std::int64_t tokenColumns,
          std::int64_t width, const float* frameTable, const float* rowTable, const float* columnTable) {
  constexpr int kFramePairs = 22, kSidePairs = 21;
  const std::int64_t windows = (tokenRows / 8) * (tokenColumns / 8);
  threads.runRanges(frames * tokenRows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t line = begin; line < end; ++line) {
      const std::int64_t frame = line / tokenRows, row = line % tokenRows;
      for (std::int64_t column = 0; column < tokenColumns; ++column) {
        float* token = x + TokenIndex(tokenColumns, windows, frame, row, column) * width;
        for (std::int64_t head = 0; head < width / ModelDims::kHeadWidth; ++head) {
          float* pair = token + head * ModelDims::kHeadWidth;
          const auto turn = [&](const float* table, int pairs) {
            for (int i = 0; i < pairs; ++i, pair += 2) {
              const double c = table[2 * i], s = table[2 * i + 1], re = pair[0], im = pair[1];
              pair[0] = static_cast<float>(re * c - im * s);
              pair[1] = static_cast<float>(re * s + im * c);
            }
          };
          turn(frameTable + frame * kFramePairs * 2, kFramePairs);
          turn(rowTable + row * kSidePairs * 2, kSidePairs);
          turn(columnTable + column * kSidePairs * 2, kSidePairs);
        }
      }
    }
  });
}

float GeluTanh(float x) {
  const double v = x;
  return static_cast<float>(0.5 * v * (1.0 + std::tanh(0.79788456080286535588 * (v + 0.044715 * v * v * v))));
}

float Silu(float x) { return static_cast<float>(x / (1.0 + std::exp(-static_cast<double>(x)))); }

void Linear(Threads& threads, const float* x, std::int64_t rows, const PackedMatrix& weight, const float* bias,
            Activation activation, float* out) {
  const std::int64_t n = weight.n();
  Multiply(threads, PlainRows(x, rows, weight.k()), weight,
           [&](std::int64_t row, std::int64_t column, std::int64_t count, float* values) {
             float* to = out + row * n + column;
             for (std::int64_t i = 0; i < count; ++i) {
               const float value = values[i] + (bias != nullptr ? bias[column + i] : 0.0F);
               to[i] = activation == Activation::None       ? value
                       : activation == Activation::GeluTanh ? GeluTanh(value)
                                                            : Silu(value);
             }
           });
}

void LinearGatedResidual(Threads& threads, const float* y, std::int64_t rows, const PackedMatrix& weight,
                         const float* bias, const float* gate, float* x) {
  const std::int64_t n = weight.n();
  Multiply(threads, PlainRows(y, rows, weight.k()), weight,
           [&](std::int64_t row, std::int64_t column, std::int64_t count, float* values) {
             float* to = x + row * n + column;
             for (std::int64_t i = 0; i < count; ++i) {
               const float value = values[i] + (bias != nullptr ? bias[column + i] : 0.0F);
               to[i] += gate != nullptr ? gate[column + i] * value : value;
             }
           });
}

void RoundFloat8(Threads& threads, float* x, std::int64_t count, float scale) {
  if (scale == 0.0F) return;
  constexpr std::int64_t kRun = 4096;
  threads.runRanges((count + kRun - 1) / kRun, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * kRun; i < std::min(end * kRun, count); ++i)
      x[i] = float8::Round(x[i] * scale) / scale;
  });
}

void RotateRows(Threads& threads, float* x, std::int64_t rows, std::int64_t width, std::int64_t length) {
  const float factor = 1.0F / std::sqrt(static_cast<float>(length));
  threads.runRanges(rows, 8, [&](std::int64_t begin, std::int64_t end) {
    for (float* block = x + begin * width; block < x + end * width; block += length) {
      for (std::int64_t span = 1; span < length; span *= 2)
        for (std::int64_t i = 0; i < length; ++i) {
          if ((i & span) != 0) continue;
          const float low = block[i], high = block[i + span];
          block[i] = low + high;
          block[i + span] = low - high;
        }
      for (std::int64_t i = 0; i < length; ++i) block[i] *= factor;
    }
  });
}

void RoundInt8(Threads& threads, float* x, std::int64_t rows, std::int64_t width, float* scales) {
  threads.runRanges(rows, 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      float* const at = x + row * width;
      float largest = 0;
      for (std::int64_t i = 0; i < width; ++i) largest = std::max(largest, std::abs(at[i]));
      const float scale = int8::ScaleFor(largest);
      for (std::int64_t i = 0; i < width; ++i) at[i] = int8::Round(at[i], scale) * scale;
      if (scales != nullptr) scales[row] = scale;
    }
  });
}

void PatchRows(Threads& threads, const float* latent, std::int64_t channels, std::int64_t frames, std::int64_t height,
               std::int64_t width, float* rows) {
  const std::int64_t tokenRows = height / 2, tokenColumns = width / 2, windows = (tokenRows / 8) * (tokenColumns / 8);
  threads.runRanges(frames * tokenRows, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t line = begin; line < end; ++line) {
      const std::int64_t frame = line / tokenRows, row = line % tokenRows;
      for (std::int64_t column = 0; column < tokenColumns; ++column) {
        float* to = rows + TokenIndex(tokenColumns, windows, frame, row, column) * channels * 4;
        for (std::int64_t c = 0; c < channels; ++c)
          for (std::int64_t i = 0; i < 2; ++i)
            for (std::int64_t j = 0; j < 2; ++j)
              *to++ = latent[((c * frames + frame) * height + row * 2 + i) * width + column * 2 + j];
      }
    }
  });
}

void SubtractPatches(Threads& threads, const float* rows, const float* base, std::int64_t channels, std::int64_t frames,
                     std::int64_t height, std::int64_t width, float* out) {
  const std::int64_t tokenRows = height / 2, tokenColumns = width / 2, windows = (tokenRows / 8) * (tokenColumns / 8);
  threads.runRanges(frames * tokenRows, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t line = begin; line < end; ++line) {
      const std::int64_t frame = line / tokenRows, row = line % tokenRows;
      for (std::int64_t column = 0; column < tokenColumns; ++column) {
        const float* from = rows + TokenIndex(tokenColumns, windows, frame, row, column) * channels * 4;
        for (std::int64_t i = 0; i < 2; ++i)
          for (std::int64_t j = 0; j < 2; ++j)
            for (std::int64_t c = 0; c < channels; ++c) {
              const std::int64_t at = ((c * frames + frame) * height + row * 2 + i) * width + column * 2 + j;
              out[at] = base[at] - *from++;
            }
      }
    }
  });
}

void NoiseFill(Threads& threads, std::uint64_t seed, std::int64_t position, std::int64_t channels, std::int64_t frames,
               std::int64_t height, std::int64_t width, float* out) {
  const std::int64_t plane = height * width;  // a multiple of 256, so four normals never straddle a channel
  threads.runRanges(channels * frames, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t channel = i / frames, frame = i % frames;
      float* to = out + i * plane;
      for (std::int64_t e = 0; e < plane; e += 4)
        NoiseNormals(seed, position + frame, static_cast<std::uint32_t>((channel * plane + e) / 4), to + e);
    }
  });
}

}  // namespace flashvsr::reference
