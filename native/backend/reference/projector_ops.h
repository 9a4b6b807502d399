// The LQ projector's operations (flashvsr-model.md section 5), fp32.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "backend/reference/matrix.h"

namespace flashvsr::reference {

// Byte pixel to the network's scale.
inline float PixelToUnit(std::uint8_t x) { return static_cast<float>(x) / 255.0F * 2.0F - 1.0F; }

// frame (H, W, 3) bytes -> out (H/16, W/16, 768), channel (c*16 + row)*16 + column.
void UnshuffleBy16(Threads& threads, const std::uint8_t* frame, std::int64_t height, std::int64_t width, float* out);

// Weights (Cout, Cin, 4, 3, 3) as the right side of the product below: K = (time, row, column, channel).
PackedMatrix PackCausalWeights(std::span<const float> weight, std::int64_t outChannels, std::int64_t inChannels,
                               Threads* threads = nullptr);

// out[t] (h*w rows of Cout, row stride Cout) = SiLU(norm(conv + bias) * gamma): output t convolves
// inputs[taps[t][0..3]], each (h, w, Cin), edges replicated. rowOf(t, y, x) gives the place of an output row.
void CausalConvolve(Threads& threads, std::span<const float* const> inputs, std::span<const std::array<int, 4>> taps,
                    std::int64_t rows, std::int64_t columns, const PackedMatrix& weight, const float* bias,
                    const float* gamma,
                    const std::function<float*(std::int64_t t, std::int64_t y, std::int64_t x)>& rowOf);

}  // namespace flashvsr::reference
