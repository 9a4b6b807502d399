// Linear layers: checks the shape rules, describes the layer as a gemm and takes the Hopper layer kernel where it
// suits.
#include "kernels/linear.h"

#include "kernels/dispatch/gemm.h"
#include "kernels/sm90/linear_sm90.h"

namespace flashvsr::kernels {
namespace {

constexpr Launched kInvalid{cudaErrorInvalidValue, Taken::kPortable};

bool Aligned(const void* pointer, uintptr_t bytes = 16) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

Launched LaunchFloat8(const LinearParams& p, cudaStream_t stream) {
  if (p.k % 16 != 0 || p.lda % 16 != 0 || p.ldb % 16 != 0 || !Aligned(p.a) || !Aligned(p.b) ||
      p.outputType == DataType::kFloat32 || (p.outputType == DataType::kFloat8 && p.residual != nullptr))
    return kInvalid;
  if (!Float8Suits()) return {cudaErrorNotSupported, Taken::kPortable};
  // Two e4m3 are one element to the copies.
  const MatrixOperand rows{p.a, p.lda / 2, p.m, p.k / 2, p.d, p.residual, p.ldd};
  const uintptr_t bytes = p.outputType == DataType::kFloat8 ? 8 : 16;
  const bool vectorised = p.ldd % 8 == 0 && Aligned(p.d, bytes) && Aligned(p.residual, bytes) && Aligned(p.bias);
  const GemmCall call{{p.b, p.ldb / 2, p.n, p.k / 2},
                      {p.bias, p.activation, false, vectorised, p.scale, p.outputScale},
                      p.type,
                      p.outputType,
                      true,
                      p.path};
  return LaunchGemm(rows, call, stream);
}

Launched LaunchInt8(const LinearParams& p, cudaStream_t stream) {
  if (p.k % 16 != 0 || p.lda % 16 != 0 || p.ldb % 16 != 0 || !Aligned(p.a) || !Aligned(p.b) ||
      p.outputType != DataType::kBfloat16 || p.rowScales == nullptr || p.columnScales == nullptr)
    return kInvalid;
  // Two int8 are one element to the copies.
  const MatrixOperand rows{p.a, p.lda / 2, p.m, p.k / 2, p.d, p.residual, p.ldd};
  const bool vectorised = p.ldd % 8 == 0 && Aligned(p.d) && Aligned(p.residual) && Aligned(p.bias);
  const GemmCall call{{p.b, p.ldb / 2, p.n, p.k / 2},
                      {p.bias, p.activation, false, vectorised, 1.0F, 1.0F, p.rowScales, p.columnScales},
                      p.type,
                      p.outputType,
                      true,
                      p.path};
  return LaunchGemm(rows, call, stream);
}

}  // namespace

bool Float8Suits() {
  int device = 0, major = 0, minor = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess &&
         major * 10 + minor >= 89;
}

bool LinearOverlapsEpilogue(const LinearParams& p) { return p.path == Path::kAuto && Sm90SuitsLinear(p); }

Launched LaunchGemm(const LinearParams& p, cudaStream_t stream) {
  if (p.m <= 0 || p.n <= 0 || p.k <= 0 || p.a == nullptr || p.b == nullptr || p.d == nullptr || p.lda < p.k ||
      p.ldb < p.k || p.ldd < p.n)
    return kInvalid;
  if (p.type == DataType::kFloat8) return LaunchFloat8(p, stream);
  if (p.type == DataType::kInt8) return LaunchInt8(p, stream);
  if (SizeOf(p.outputType) == 1) return kInvalid;
  const MatrixOperand rows{p.a, p.lda, p.m, p.k, p.d, p.residual, p.ldd};
  const bool vectorised = p.ldd % 8 == 0 && Aligned(p.d) && Aligned(p.residual) && Aligned(p.bias);
  const bool vectors = p.k % 8 == 0 && p.lda % 8 == 0 && p.ldb % 8 == 0 && Aligned(p.a) && Aligned(p.b);
  const GemmCall call{
      {p.b, p.ldb, p.n, p.k}, {p.bias, p.activation, false, vectorised}, p.type, p.outputType, vectors, p.path};
  return LaunchGemm(rows, call, stream);
}

Launched LaunchLinear(const LinearParams& p, cudaStream_t stream) {
  if (LinearOverlapsEpilogue(p)) return {LaunchLinearSm90(p, stream), Taken::kSm90};
  return LaunchGemm(p, stream);
}

}  // namespace flashvsr::kernels
