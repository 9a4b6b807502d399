// The Hopper convolution: every pixel of a tile is read once, with its halo, for all the kernel's taps.
#pragma once

#include "kernels/convolution.h"

namespace flashvsr::kernels {

/// Whether the halo kernel can compute this convolution on the current device: bf16, 3x3 or 2x2 pictures of 8-channel
/// steps, at most 32 input frames, bias + ReLU at most. False where the library was built without sm_90a code.
bool Sm90HasConvolution(const ConvolutionParams& params);

/// Whether it is also the fastest: enough tiles to fill the card, whole 64-channel blocks or nearly so.
bool Sm90SuitsConvolution(const ConvolutionParams& params);

/// Epilogue variant; results are bit-identical.
enum class ConvolutionVariant {
  kDeep,   ///< from registers to memory; all shared memory holds pixels and weights, whose copies may be late
  kShort,  ///< through shared memory and the copy engine while the next tile is multiplied; fewer stages of weights
};

/// Whether the short variant can compute what Sm90HasConvolution accepted: one output frame, zeros around the picture.
bool Sm90HasShortConvolution(const ConvolutionParams& params);

/// Which of the two is faster, by the length of a tile's sum. Only after Sm90HasConvolution.
ConvolutionVariant Sm90ChooseConvolution(const ConvolutionParams& params);

/// LaunchConvolutionSm90 with the variant given; kShort only after Sm90HasShortConvolution (cudaErrorInvalidValue
/// otherwise).
cudaError_t LaunchConvolutionSm90As(const ConvolutionParams& params, ConvolutionVariant variant, cudaStream_t stream);

/// Only after Sm90HasConvolution. Deterministic: one block sums a tile over the whole of k, in order.
cudaError_t LaunchConvolutionSm90(const ConvolutionParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
