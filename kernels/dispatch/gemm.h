// Which gemm computes a linear layer or a convolution: describe (GemmCall) -> choose -> launch.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/common/gemm_operands.h"
#include "kernels/launched.h"
#include "kernels/linear.h"

namespace flashvsr::kernels {

/// What the choice depends on besides the left operand.
struct GemmCall {
  GemmWeight weight;
  GemmEpilogue epilogue;
  DataType type, outputType;
  bool vectors;  ///< every operand can be read 16 bytes at a time
  Path path;
};

/// Deterministic: one block computes one tile of d over the whole of k, in order.
Launched LaunchGemm(const MatrixOperand& rows, const GemmCall& call, cudaStream_t stream);
Launched LaunchGemm(const PixelOperand& rows, const GemmCall& call, cudaStream_t stream);

/// A linear layer by a gemm, whatever its shape: LaunchLinear without the Hopper layer kernel.
Launched LaunchGemm(const LinearParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
