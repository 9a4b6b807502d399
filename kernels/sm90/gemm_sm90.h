// The Hopper product (wgmma): same operands, epilogue and results' order of sums per block as smxx/product.cuh.
#pragma once

#include "kernels/common/epilogue.cuh"
#include "kernels/common/operand_rows.cuh"

namespace flashvsr::kernels {

/// True when the library was built with sm_90a code, the current device is a Hopper and the shape fills it with large tiles.
bool Sm90Suits(int m, int n, int k);

/// bf16 in and out. Only after Sm90Suits.
cudaError_t LaunchProductSm90(const MatrixParams& rows, const ProductWeight& weight, const ProductEpilogue& epilogue, int m,
                              cudaStream_t stream);
cudaError_t LaunchProductSm90(const PixelParams& rows, const ProductWeight& weight, const ProductEpilogue& epilogue, int m,
                              cudaStream_t stream);

}  // namespace flashvsr::kernels
