// The Hopper gemm (wgmma): same operands, epilogue and results' order of sums per block as smxx/gemm.cuh.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/common/gemm_operands.h"

namespace flashvsr::kernels {

/// True when the library was built with sm_90a code, the current device is a Hopper and the shape fills it with large
/// tiles.
bool Sm90SuitsGemm(int m, int n, int k);

/// bf16 in and out. Only after Sm90SuitsGemm.
cudaError_t LaunchGemmSm90(const MatrixOperand& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                           cudaStream_t stream);
cudaError_t LaunchGemmSm90(const PixelOperand& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                           cudaStream_t stream);

}  // namespace flashvsr::kernels
