#include "../gemm.h"

#include "product.cuh"

namespace flashvsr::kernels {
namespace {

struct MatrixParams {
  const void* a;
  int64_t lda;
  int m, k;
  void* d;
  const void* residual;
  int64_t ldd;
};

/// Rows of a plain matrix.
struct MatrixRows {
  using Params = MatrixParams;
  // Passes of one tile at most: 256 rows, 64 a pass.
  const Bf16* pointer[4];
  unsigned valid;

  template <typename Tile>
  __device__ __forceinline__ void Start(const Params& p, int row, int chunk) {
    static_assert(Tile::kPassesA <= 4);
    valid = 0;
#pragma unroll
    for (int i = 0; i < Tile::kPassesA; ++i) {
      const int m = row + i * Tile::kRowsPerPass;
      const bool inside = m < p.m;
      valid |= inside ? 1u << i : 0u;
      pointer[i] = static_cast<const Bf16*>(p.a) + (inside ? m : 0) * p.lda + chunk * 8;
    }
  }

  template <typename Tile>
  __device__ __forceinline__ void Copy(const Params& p, uint32_t shared, int row, int chunk, int block) {
    const bool column = block * kBlockK + chunk * 8 < p.k;
#pragma unroll
    for (int i = 0; i < Tile::kPassesA; ++i) {
      const bool copy = column && (valid >> i & 1u);
      CopyAsync16(shared + SwizzledOffset<4>(row + i * Tile::kRowsPerPass, chunk),
                  copy ? pointer[i] + block * kBlockK : static_cast<const Bf16*>(p.a), copy);
    }
  }

  template <typename Out>
  static __device__ __forceinline__ bool OutputRow(const Params& p, int m, Out*& out, const Out*& residual) {
    if (m >= p.m) return false;
    out = static_cast<Out*>(p.d) + m * p.ldd;
    residual = p.residual != nullptr ? static_cast<const Out*>(p.residual) + m * p.ldd : nullptr;
    return true;
  }

  template <typename In>
  static __device__ __forceinline__ float At(const Params& p, int m, int k) {
    return m < p.m && k < p.k ? ToFloat(static_cast<const In*>(p.a)[m * p.lda + k]) : 0.0f;
  }
};

}  // namespace

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
  return DispatchProduct<MatrixRows>(rows, weight, epilogue, p.m, p.type, p.outputType, vectors, stream);
}

}  // namespace flashvsr::kernels
