// The portable gemm on the pixels of a convolution.
#include "kernels/smxx/gemm.cuh"

namespace flashvsr::kernels {

cudaError_t LaunchGemmSmxx(const PixelOperand& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                           DataType outputType, GemmTile tile, cudaStream_t stream) {
  return outputType == DataType::kFloat32 ? LaunchTileOf<PixelRows, float>(tile, rows, weight, epilogue, stream)
                                          : LaunchTileOf<PixelRows, Bf16>(tile, rows, weight, epilogue, stream);
}

cudaError_t LaunchGemmPlain(const PixelOperand& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                            DataType type, DataType outputType, cudaStream_t stream) {
  return LaunchPlain<PixelRows>(rows, weight, epilogue, type, outputType, stream);
}

}  // namespace flashvsr::kernels
