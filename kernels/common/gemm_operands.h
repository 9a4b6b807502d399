// The description of a gemm, for every kernel that can compute it: rows of the left operand, weight, epilogue.
// Plain C++.
#pragma once

#include "kernels/convolution.h"
#include "kernels/types.h"

namespace flashvsr::kernels {

inline constexpr int kBlockK = 32;  // elements: the unit convolution weights are packed in

/// Left operand and output of a linear layer: rows of a plain matrix.
struct MatrixOperand {
  const void* a;
  int64_t lda;
  int m, k;
  void* d;
  const void* residual;
  int64_t ldd;
};

/// Left operand and output of a convolution: pixels of frames under a moving tap.
/// A packed k position is (tap, source, channel); a segment is one (tap, source), whole k-blocks of its padded
/// channels.
struct PixelOperand {
  const void* input[2][kMaxConvolutionFrames];
  const void* residual[kMaxConvolutionFrames];
  void* output[kMaxConvolutionFrames];
  int channels[2];
  int blocks[2];  // k-blocks of a segment, per source
  int m;          // output pixels of all frames
  int height, width, pixels;
  int ldOut;
  int kernelT, kernelY, kernelX, padY, padX, strideT;
  int outStep, outY, outX;
  bool replicate;
};

/// The right operand: (n, k) rows, `ld` apart.
struct GemmWeight {
  const void* data;
  int64_t ld;
  int n;
  int k;
};

/// What happens to a finished sum, in this order: * scale, + bias, activation (unless last), + residual, activation (if
/// last),
/// * outputScale where the output is e4m3. The scales are 1 but for e4m3 operands (a fused multiply-add by 1 is an
/// add).
struct GemmEpilogue {
  const float* bias;
  Activation activation;
  bool activationLast;
  bool vectorised;  // every row of output and residual, and the bias, is 16-byte aligned (e4m3 output: 8)
  float scale = 1.0f;
  float outputScale = 1.0f;
  const float* rowScales = nullptr;     // int8: what a sum is multiplied by, together with its column's; (m)
  const float* columnScales = nullptr;  // int8: (n)
};

}  // namespace flashvsr::kernels
