// The online softmax of the Hopper attentions, on a warpgroup's 64x128 scores as wgmma leaves them.
#pragma once

#include "kernels/common/epilogue.cuh"
#include "kernels/sm90/wgmma.cuh"

namespace flashvsr::kernels {

/// One tile in place: s becomes 2^kBias * exp2(scale * (s - maximum)). Each thread holds parts of two rows; totals stay
/// parts until the end. `maximum` moves only when a row's scores have outgrown it by more than 2^kSlack (always, below
/// 0): then earlier sums must be multiplied by shrink; the result says whether, the same for all of a warp; with some
/// slack that is one tile in dozens. Maxima and sums are taken in four parts, so that no chain of 32 waits for itself.
template <int kBias, int kSlack>
__device__ __forceinline__ bool Softmax(float (&s)[16][4], float (&maximum)[2], float (&total)[2], float (&shrink)[2],
                                        float scale) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float tops[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      tops[i] = fmaxf(s[i][2 * half], s[i][2 * half + 1]);
#pragma unroll
      for (int j = i + 4; j < 16; j += 4) tops[i] = fmaxf(tops[i], fmaxf(s[j][2 * half], s[j][2 * half + 1]));
    }
    float top = fmaxf(fmaxf(tops[0], tops[1]), fmaxf(tops[2], tops[3]));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
    const bool moves = kSlack < 0 ? top > maximum[half] : (top - maximum[half]) * scale > static_cast<float>(kSlack);
    const float reference = moves ? top : maximum[half];
    shrink[half] = moves ? Exp2((maximum[half] - reference) * scale) : 1.0f;
    maximum[half] = reference;
    const float offset = kBias - reference * scale;
    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int j = 0; j < 16; ++j) {
#pragma unroll
      for (int c = 2 * half; c < 2 * half + 2; ++c) {
        s[j][c] = Exp2(fmaf(s[j][c], scale, offset));
        sums[(j * 2 + c) & 3] += s[j][c];
      }
    }
    total[half] = total[half] * shrink[half] + ((sums[0] + sums[1]) + (sums[2] + sums[3]));
  }
  return kSlack < 0 || __any_sync(0xffffffffu, shrink[0] != 1.0f || shrink[1] != 1.0f);
}

/// A warpgroup's finished rows: acc / total * outputScale, 16 of them a warp, `ld` apart, as Out.
template <typename Out>
__device__ __forceinline__ void StoreAttention(const float (&acc)[16][4], const float (&total)[2], float outputScale,
                                               Out* out, int64_t ld, int lane) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = total[half];
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    const float factor = sum > 0.0f ? outputScale / sum : 0.0f;
    Out* const row = out + (half * 8 + (lane >> 2)) * ld;
#pragma unroll
    for (int part = 0; part < 4; ++part) {
      float2 e[4];
#pragma unroll
      for (int j = 0; j < 4; ++j)
        e[j] = make_float2(acc[part * 4 + j][2 * half] * factor, acc[part * 4 + j][2 * half + 1] * factor);
      TransposeQuad(e, lane);
      const float v[8] = {e[0].x, e[0].y, e[1].x, e[1].y, e[2].x, e[2].y, e[3].x, e[3].y};
      Store8(row + (part * 4 + (lane & 3)) * 8, v);
    }
  }
}

}  // namespace flashvsr::kernels
