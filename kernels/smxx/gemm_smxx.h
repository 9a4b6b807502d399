// The portable gemm (instructions of sm_80) and its plain twin: launchers only, dispatch/gemm.cpp chooses.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/common/gemm_operands.h"

namespace flashvsr::kernels {

/// Tiles of d (rows x columns).
enum class GemmTile {
  kLarge,  ///< 256 x 128
  kSmall,  ///< 64 x 64: few rows, or narrow outputs
  kThin,   ///< 256 x 16: the decoder's last convolution (3 channels)
};

/// bf16 operands that can be read 16 bytes at a time, sums in fp32 on tensor cores; `outputType` kBfloat16 or kFloat32.
cudaError_t LaunchGemmSmxx(const MatrixOperand& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                           DataType outputType, GemmTile tile, cudaStream_t stream);
cudaError_t LaunchGemmSmxx(const PixelOperand& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                           DataType outputType, GemmTile tile, cudaStream_t stream);

/// e4m3 operands, two of them described as one bf16: k, lda and ldb are halves. `outputType` kBfloat16 or kFloat8;
/// kLarge or kSmall. Needs sm_89.
cudaError_t LaunchGemmFloat8Smxx(const MatrixOperand& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                                 DataType outputType, GemmTile tile, cudaStream_t stream);

/// int8 operands, two of them described as one bf16, sums in int32, times rowScales and columnScales; bf16 out. kLarge
/// or kSmall.
cudaError_t LaunchGemmInt8Smxx(const MatrixOperand& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                               GemmTile tile, cudaStream_t stream);

/// fp32 to fp32, or bf16 of any width and alignment to bf16 or fp32: one multiply-add at a time.
cudaError_t LaunchGemmPlain(const MatrixOperand& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                            DataType type, DataType outputType, cudaStream_t stream);
cudaError_t LaunchGemmPlain(const PixelOperand& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                            DataType type, DataType outputType, cudaStream_t stream);

}  // namespace flashvsr::kernels
