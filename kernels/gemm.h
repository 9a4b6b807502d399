// Linear layers: d = residual + activation(a * b^T + bias) (gates are folded into b and bias), bf16 on tensor cores or fp32 for debugging.
#pragma once

#include "types.h"

namespace flashvsr::kernels {

struct GemmParams {
  const void* a = nullptr;         ///< (m, k) of `type`, rows `lda` elements apart
  const void* b = nullptr;         ///< (n, k) of `type` (a linear layer's weight as stored), rows `ldb` elements apart
  const float* bias = nullptr;     ///< (n) or null
  const void* residual = nullptr;  ///< (m, n) of `outputType`, rows `ldd` elements apart, or null; may be `d` itself
  void* d = nullptr;               ///< (m, n) of `outputType`
  int m = 0, n = 0, k = 0;         ///< tensor cores want k, lda, ldb % 8 == 0 and 16-byte aligned a, b
  int64_t lda = 0, ldb = 0, ldd = 0;
  DataType type = DataType::kBfloat16;
  DataType outputType = DataType::kBfloat16;
  Activation activation = Activation::kNone;
  Path path = Path::kAuto;
};

/// Deterministic: one block computes one tile of d over the whole of k, in order. cudaErrorInvalidValue names a broken shape rule.
cudaError_t LaunchGemm(const GemmParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
