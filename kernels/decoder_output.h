// The decoder's last convolution: 3x3, zero padded, to 3 channels, * 2 - 1, written as planes.
#pragma once

#include "kernels/types.h"

namespace flashvsr::kernels {

struct DecoderOutputParams {
  const void* x = nullptr;       ///< (height, width, channels) of `type`
  const void* weight = nullptr;  ///< (3, PackedConvolutionDepth(9, channels, 0)) of `type`, packed by
                                 ///< PackedConvolutionIndex (convolution.h)
  const float* bias = nullptr;   ///< (3)
  float* out = nullptr;          ///< (3, height, width), not clamped
  int height = 0, width = 0, channels = 0;
  DataType type = DataType::kBfloat16;
};
cudaError_t LaunchDecoderOutput(const DecoderOutputParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
