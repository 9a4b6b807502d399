// The Hopper linear layer: bf16 products of many rows, whose epilogue runs under the next tile's products.
#pragma once

#include "kernels/linear.h"

namespace flashvsr::kernels {

/// Whether the kernel can compute this: bf16 in and out, n and all strides % 8 == 0, 16-byte aligned (bias: 8), k >
/// 1088, no residual beside an activation, GELU at most; and whether it is worth it: m >= 1024. False off Hopper, or
/// without sm_90a code.
bool Sm90SuitsLinear(const LinearParams& params);

/// Only after Sm90SuitsLinear. Deterministic: a tile's sums go over the whole of k in order. `mostBlocks`: upper bound
/// of the grid (tests), 0 for the card's.
cudaError_t LaunchLinearSm90(const LinearParams& params, cudaStream_t stream, int mostBlocks = 0);

}  // namespace flashvsr::kernels
