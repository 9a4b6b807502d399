// Host side of the tensor copy engine: maps of bf16 tensors, 128-byte swizzle. The driver is asked for the encoder at
// run time, so that nothing links against it.
#pragma once

#include <cuda.h>
#include <cudaTypedefs.h>
#include <cuda_runtime_api.h>

namespace flashvsr::kernels {

/// Null where the driver has none.
inline PFN_cuTensorMapEncodeTiled_v12000 TensorMapEncoder() {
  static const PFN_cuTensorMapEncodeTiled_v12000 encode = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    const cudaError_t error =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result);
    return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(
        error == cudaSuccess && result == cudaDriverEntryPointSuccess ? found : nullptr);
  }();
  return encode;
}

/// bf16, at most 5 dimensions, innermost first. `strides`: bytes between neighbours along each but the innermost,
/// multiples of 16, as `data` is. Outside reads zero and is not written. Only where TensorMapEncoder() is not null.
inline bool EncodeTensorMap(CUtensorMap& map, const void* data, int rank, const cuuint64_t* dims,
                            const cuuint64_t* strides, const cuuint32_t* box) {
  const cuuint32_t ones[5] = {1, 1, 1, 1, 1};
  return TensorMapEncoder()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, static_cast<cuuint32_t>(rank),
                            const_cast<void*>(data), dims, strides, box, ones, CU_TENSOR_MAP_INTERLEAVE_NONE,
                            CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                            CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

/// The same without gaps between the innermost rows.
inline bool EncodeDenseTensorMap(CUtensorMap& map, const void* data, int rank, const cuuint64_t* dims,
                                 const cuuint32_t* box) {
  cuuint64_t strides[4];
  cuuint64_t stride = 2;
  for (int i = 0; i + 1 < rank; ++i) strides[i] = stride *= dims[i];
  return EncodeTensorMap(map, data, rank, dims, strides, box);
}

}  // namespace flashvsr::kernels
