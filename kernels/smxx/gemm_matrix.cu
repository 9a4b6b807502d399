#include "kernels/linear.h"

#include "kernels/smxx/gemm.cuh"

namespace flashvsr::kernels {
namespace {

bool Aligned(const void* pointer, uintptr_t bytes = 16) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

/// Two e4m3 are one element to the copies. Few rows take small tiles, like bf16.
template <typename Out>
cudaError_t LaunchFloat8(const GemmParams& p, cudaStream_t stream) {
  const MatrixParams rows{p.a, p.lda / 2, p.m, p.k / 2, p.d, p.residual, p.ldd};
  const ProductWeight weight{p.b, p.ldb / 2, p.n, p.k / 2};
  const uintptr_t bytes = 8 * sizeof(Out) < 16 ? 8 : 16;
  const ProductEpilogue epilogue{p.bias, p.activation, false,
                                 p.ldd % 8 == 0 && Aligned(p.d, bytes) && Aligned(p.residual, bytes) && Aligned(p.bias), p.scale, p.outputScale};
  if (p.n > 64 && CeilDiv(p.m, 256) * CeilDiv(p.n, 128) >= 64)
    return LaunchTile<LargeTile, MatrixRows, Out, true>(rows, weight, epilogue, p.m, stream);
  return LaunchTile<SmallTile, MatrixRows, Out, true>(rows, weight, epilogue, p.m, stream);
}

}  // namespace

bool Float8Suits() {
  int device = 0, major = 0, minor = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess && major * 10 + minor >= 89;
}

cudaError_t LaunchGemm(const GemmParams& p, cudaStream_t stream) {
  if (p.m <= 0 || p.n <= 0 || p.k <= 0 || p.a == nullptr || p.b == nullptr || p.d == nullptr || p.lda < p.k || p.ldb < p.k ||
      p.ldd < p.n)
    return cudaErrorInvalidValue;
  if (p.type == DataType::kFloat8) {
    if (p.k % 16 != 0 || p.lda % 16 != 0 || p.ldb % 16 != 0 || !Aligned(p.a) || !Aligned(p.b) || p.outputType == DataType::kFloat32 ||
        (p.outputType == DataType::kFloat8 && p.residual != nullptr))
      return cudaErrorInvalidValue;
    if (!Float8Suits()) return cudaErrorNotSupported;
    return p.outputType == DataType::kFloat8 ? LaunchFloat8<Fp8>(p, stream) : LaunchFloat8<Bf16>(p, stream);
  }
  if (p.outputType == DataType::kFloat8) return cudaErrorInvalidValue;
  const MatrixParams rows{p.a, p.lda, p.m, p.k, p.d, p.residual, p.ldd};
  const ProductWeight weight{p.b, p.ldb, p.n, p.k};
  const ProductEpilogue epilogue{p.bias, p.activation, false,
                                 p.ldd % 8 == 0 && Aligned(p.d) && Aligned(p.residual) && Aligned(p.bias)};
  const bool vectors = p.k % 8 == 0 && p.lda % 8 == 0 && p.ldb % 8 == 0 && Aligned(p.a) && Aligned(p.b);
  return DispatchProduct<MatrixRows>(rows, weight, epilogue, p.m, p.type, p.outputType, vectors, p.path, stream);
}

}  // namespace flashvsr::kernels
