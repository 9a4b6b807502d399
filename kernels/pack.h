// Weights into the form the products read. Sources are the tensors as stored in the files, copied to the device.
#pragma once

#include "kernels/types.h"

namespace flashvsr::kernels {

enum class SourceType : int { kFloat32 = 0, kFloat16 = 1, kBfloat16 = 2 };

/// out[n][k] = rowScale[n] * in[n][k] * columnScale[k], rounded once; columns k .. ldOut-1 become zero.
struct PackRowsParams {
  const void* in = nullptr;  ///< (rows, columns) of `source`
  SourceType source = SourceType::kBfloat16;
  const float* rowScale = nullptr;     ///< (rows) or null (1)
  const float* columnScale = nullptr;  ///< (columns) or null (1)
  void* out = nullptr;                 ///< (rows, ldOut) of `type`
  int64_t rows = 0, columns = 0, ldOut = 0;
  DataType type = DataType::kBfloat16;
};
cudaError_t LaunchPackRows(const PackRowsParams& params, cudaStream_t stream);

/// A linear layer on its way to e4m3: w[n][k] = rowScale[n] * in[n][k] * columnScale[k], with what stood between a norm
/// and the layer folded into its columns. LaunchRowStatistics says of every row what its scale and its results' bound
/// follow from; LaunchPackFloat8Rows writes out[n][k] = e4m3(scale * w[n][k]).
struct PackFloat8RowsParams {
  const void* in = nullptr;  ///< (rows, columns) of `source`
  SourceType source = SourceType::kBfloat16;
  const float* rowScale = nullptr;     ///< (rows) or null (1)
  const float* columnScale = nullptr;  ///< (columns) or null (1)
  int64_t rows = 0, columns = 0;
  // LaunchPackFloat8Rows
  float scale = 1.0f;
  void* out = nullptr;  ///< (rows, columns) e4m3
  // LaunchRowStatistics
  const float* columnShift = nullptr;  ///< (columns) or null (0)
  float* largest = nullptr;            ///< (rows): max |w|
  float* squares = nullptr;            ///< (rows): sum of w^2
  float* shifts = nullptr;             ///< (rows): sum of rowScale * in * columnShift
};
cudaError_t LaunchRowStatistics(const PackFloat8RowsParams& params, cudaStream_t stream);
cudaError_t LaunchPackFloat8Rows(const PackFloat8RowsParams& params, cudaStream_t stream);

/// A convolution's weight (outChannels, channels0 + channels1, taps) -> (outChannels, PackedConvolutionDepth), see
/// convolution.h.
struct PackConvolutionParams {
  const void* in = nullptr;
  SourceType source = SourceType::kBfloat16;
  void* out = nullptr;
  int outChannels = 0, channels[2] = {0, 0}, taps = 0;
  DataType type = DataType::kBfloat16;
};
cudaError_t LaunchPackConvolution(const PackConvolutionParams& params, cudaStream_t stream);

/// Nearest x2, a 1x1 convolution (one time step of TGrow) and a 3x3 convolution have nothing non-linear between them.
/// On output phase (py, px) of the doubled picture the 3x3 taps fall on 2x2 pixels of the small one: rows y-1+py and
/// y+py. So the three are one 2x2 convolution a phase, with weights sum over j, taps of w[o][j][tap] * grow[j][i], made
/// here in fp32 and rounded once. out (4 phases = py*2+px, outChannels, PackedConvolutionDepth(4, channels, 0)); tap
/// (dy, dx) reads pixel (y + dy - 1 + py, ...).
struct FoldGrowParams {
  const void* grow = nullptr;  ///< (channels, channels): the step's rows of TGrow; null: only nearest x2 and the 3x3
  SourceType growSource = SourceType::kBfloat16;
  const void* weight = nullptr;  ///< (outChannels, channels, 3, 3)
  SourceType weightSource = SourceType::kBfloat16;
  void* out = nullptr;
  int outChannels = 0, channels = 0;
  DataType type = DataType::kBfloat16;
};
cudaError_t LaunchFoldGrow(const FoldGrowParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
