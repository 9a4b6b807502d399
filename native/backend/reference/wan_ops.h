// The Wan2.1 decoder's operations (docs/flashvsr-full.md), fp32, NHWC.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/reference/matrix.h"

namespace flashvsr::reference {

// out (positions, 16) = weight * (latent * deviation + mean) + bias. latent (channels, f, positions), frame
// `latentFrame`.
void WanInputRows(Threads& threads, const float* latent, std::int64_t channels, std::int64_t latentFrames,
                  std::int64_t latentFrame, std::int64_t positions, const PackedMatrix& weight, const float* bias,
                  float* out);

// out = x / max(||x||, 1e-12) * sqrt(width) * gamma [then SiLU], by row of `width`; the norm's sum in double.
void WanNormalize(Threads& threads, const float* x, std::int64_t rows, std::int64_t width, const float* gamma,
                  bool silu, float* out);

// out (rows, columns, count) = channels first .. first + count - 1 of conv(steps) + bias [+ residual], zero padded.
// `steps`: one time step, or three, the earliest first, of `channels` each; taps in space by the weight's K. `enlarge`:
// the steps are half as large and seen through nearest x2.
void WanConvolve(Threads& threads, const std::vector<const float*>& steps, std::int64_t rows, std::int64_t columns,
                 std::int64_t channels, bool enlarge, const PackedMatrix& weight, const float* bias, std::int64_t first,
                 std::int64_t count, const float* residual, float* out);

// out = x + proj(softmax(q k / sqrt(width)) v), (q, k, v) = qkv(norm(x)), over all `positions` of one frame. Scores are
// held for a block of rows at a time.
void WanAttend(Threads& threads, const float* x, std::int64_t positions, std::int64_t width, const float* gamma,
               const PackedMatrix& qkv, const float* qkvBias, const PackedMatrix& project, const float* projectBias,
               float* out);

// out (3, rows, columns) = clamp(conv(steps) + bias, -1, 1); `steps` as in WanConvolve, three of them.
void WanOutputConvolve(Threads& threads, const std::vector<const float*>& steps, std::int64_t rows,
                       std::int64_t columns, std::int64_t channels, const PackedMatrix& weight, const float* bias,
                       float* out);

}  // namespace flashvsr::reference
