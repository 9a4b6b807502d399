// The tiny conditional decoder's operations (flashvsr-model.md section 6), fp32, NHWC.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "backend/reference/matrix.h"

namespace flashvsr::reference {

// out (H/8, W/8, 768 + channels) = tanh(v/3)*3 of concat(4 frames unshuffled (4,8,8), latent frame). frames: (H, W, 3)
// bytes; latent (channels, f, H/8, W/8), of which frame `latentFrame`.
void DecoderInputRows(Threads& threads, std::span<const std::uint8_t* const, 4> frames, const float* latent,
                      std::int64_t channels, std::int64_t latentFrames, std::int64_t latentFrame, std::int64_t height,
                      std::int64_t width, float* out);

// (Cout, Cin, 3, 3) as the right side: K = (row, column, channel).
PackedMatrix PackConvolutionWeights(std::span<const float> weight, std::int64_t outChannels, std::int64_t inChannels,
                                    Threads* threads = nullptr);

// out (rows, columns, Cout) = [relu](conv3x3(concat(x, past)) [+ bias] [+ residual]), zero padded. x and past have
// `channels` each; past, bias and residual may be nullptr.
void Convolve3x3(Threads& threads, const float* x, const float* past, std::int64_t rows, std::int64_t columns,
                 std::int64_t channels, const PackedMatrix& weight, const float* bias, const float* residual, bool relu,
                 float* out);

// Nearest x2, TGrow (1x1: C -> steps*C), then conv3x3, of time step `step`. x (rows, columns, C); grow: (steps*C, C),
// the first C rows are step 0; out (2*rows, 2*columns, Cout). TGrow is pointwise, so it runs before the nearest x2,
// which is never written out.
void GrowConvolve(Threads& threads, const float* x, std::int64_t rows, std::int64_t columns, const PackedMatrix& grow,
                  std::int64_t step, const PackedMatrix& weight, bool relu, float* out);

// out (3, rows, columns) = (conv3x3(x) + bias) * 2 - 1.
void OutputConvolve(Threads& threads, const float* x, std::int64_t rows, std::int64_t columns, std::int64_t channels,
                    const PackedMatrix& weight, const float* bias, float* out);

}  // namespace flashvsr::reference
