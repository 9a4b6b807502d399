// Convolutions as implicit products over NHWC frames: the projector's causal 3-D ones, the decoder's 3x3 and 1x1 ones.
#pragma once

#include "kernels/launched.h"
#include "kernels/types.h"

namespace flashvsr::kernels {

inline constexpr int kMaxConvolutionFrames = 32;

/// out[o] = activation(sum over taps and sources of weight * in + bias + residual[o]), for `frames` output frames.
/// Output frame o reads input frames o*strideT .. o*strideT + kernelT - 1 of each source, all of them pointers: a
/// window over time, a cached frame or the previous step costs no copy.
struct ConvolutionParams {
  const void* input[2][kMaxConvolutionFrames] =
      {};                        ///< per source and input frame: (inHeight, inWidth, channels[source]) of `type`
  int channels[2] = {0, 0};      ///< channels[1] = 0 when there is one source; multiples of 8 for tensor cores
  const void* weight = nullptr;  ///< (outChannels, PackedConvolutionDepth) of `type`, packed by PackedConvolutionIndex
  const float* bias = nullptr;   ///< (outChannels) or null
  const void* residual[kMaxConvolutionFrames] =
      {};  ///< per output frame (outStep*height, outStep*width, ldOut), all null or none
  void* output[kMaxConvolutionFrames] =
      {};  ///< per output frame (outStep*height, outStep*width, ldOut) of `outputType`
  int frames = 0;
  int height = 0, width = 0;  ///< of the input and of the grid of output positions
  int outChannels = 0;
  int ldOut = 0;  ///< elements between two output pixels, >= outChannels
  int kernelT = 1, kernelY = 3, kernelX = 3, strideT = 1;
  int padY = 1, padX = 1;  ///< tap (dy, dx) of position (y, x) reads input pixel (y + dy - padY, x + dx - padX)
  bool replicate = false;  ///< edges: replicate the border pixel, otherwise zeros
  /// Position (y, x) writes output pixel (y*outStep + outY, x*outStep + outX) of a picture outStep times as large: with
  /// outStep 2, one of the four phases of a 3x3 convolution on a nearest-x2 picture, which is a 2x2 one on the small
  /// picture.
  int outStep = 1, outY = 0, outX = 0;
  /// 4: all four of those phases at once (outStep 2, 2x2 taps). `weight` holds their weights one after the other,
  /// (phases, outChannels, PackedConvolutionDepth); phase py*2 + px writes outY = py, outX = px and pads padY - py,
  /// padX - px.
  int phases = 1;
  DataType type = DataType::kBfloat16;
  DataType outputType = DataType::kBfloat16;
  Activation activation = Activation::kNone;  ///< applied last, after bias and residual
  Path path = Path::kAuto;
};

/// Channels of one source as packed: whole 64-byte k blocks, so that a block never straddles a tap or a source.
constexpr int PackedChannels(int channels) { return static_cast<int>(RoundUp(channels, 32)); }

/// Length of the packed reduction axis: taps, then sources, then padded channels (the padding is zero).
constexpr int64_t PackedConvolutionDepth(int taps, int channels0, int channels1) {
  return static_cast<int64_t>(taps) * (PackedChannels(channels0) + PackedChannels(channels1));
}

/// Position of (tap = (t*kernelY + y)*kernelX + x, channel of the concatenated input) on the packed axis.
constexpr int64_t PackedConvolutionIndex(int tap, int channel, int channels0, int channels1) {
  const int64_t start = static_cast<int64_t>(tap) * (PackedChannels(channels0) + PackedChannels(channels1));
  return start + (channel < channels0 ? channel : PackedChannels(channels0) + channel - channels0);
}

/// Deterministic, like LaunchLinear.
Launched LaunchConvolution(const ConvolutionParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
