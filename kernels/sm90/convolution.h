// The Hopper convolution: every pixel of a tile is read once, with its halo, for all the kernel's taps.
#pragma once

#include "../conv.h"

namespace flashvsr::kernels {

/// Whether the halo kernel can compute this convolution on the current device: bf16, 3x3 or 2x2 pictures of 8-channel steps, at
/// most 32 input frames, bias + ReLU at most. False where the library was built without sm_90a code.
bool Sm90HasConvolution(const ConvParams& params);

/// Whether it is also the fastest: enough tiles to fill the card, whole 64-channel blocks or nearly so.
bool Sm90SuitsConvolution(const ConvParams& params);

/// Only after Sm90HasConvolution. Deterministic: one block sums a tile over the whole of k, in order.
cudaError_t LaunchConvolutionSm90(const ConvParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
