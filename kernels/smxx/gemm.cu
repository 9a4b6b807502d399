#include "../gemm.h"

#include "product.cuh"

namespace flashvsr::kernels {

cudaError_t LaunchGemm(const GemmParams& p, cudaStream_t stream) {
  if (p.m <= 0 || p.n <= 0 || p.k <= 0 || p.a == nullptr || p.b == nullptr || p.d == nullptr || p.lda < p.k || p.ldb < p.k ||
      p.ldd < p.n)
    return cudaErrorInvalidValue;
  const MatrixParams rows{p.a, p.lda, p.m, p.k, p.d, p.residual, p.ldd};
  const ProductWeight weight{p.b, p.ldb, p.n, p.k};
  const auto aligned = [](const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; };
  const ProductEpilogue epilogue{p.bias, p.activation, false,
                                 p.ldd % 8 == 0 && aligned(p.d) && aligned(p.residual) && aligned(p.bias)};
  const bool vectors = p.k % 8 == 0 && p.lda % 8 == 0 && p.ldb % 8 == 0 && aligned(p.a) && aligned(p.b);
  return DispatchProduct<MatrixRows>(rows, weight, epilogue, p.m, p.type, p.outputType, vectors, p.path, stream);
}

}  // namespace flashvsr::kernels
