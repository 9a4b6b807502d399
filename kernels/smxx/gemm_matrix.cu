// The portable gemm on the rows of a matrix, in bf16, e4m3 and int8.
#include "kernels/smxx/gemm.cuh"

namespace flashvsr::kernels {
namespace {

template <typename Out>
cudaError_t LaunchFloat8(const MatrixOperand& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                         GemmTile tile, cudaStream_t stream) {
  return tile == GemmTile::kLarge
             ? LaunchTile<LargeTile, MatrixRows, Out, Float8Product>(rows, weight, epilogue, stream)
             : LaunchTile<SmallTile, MatrixRows, Out, Float8Product>(rows, weight, epilogue, stream);
}

}  // namespace

cudaError_t LaunchGemmSmxx(const MatrixOperand& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                           DataType outputType, GemmTile tile, cudaStream_t stream) {
  return outputType == DataType::kFloat32 ? LaunchTileOf<MatrixRows, float>(tile, rows, weight, epilogue, stream)
                                          : LaunchTileOf<MatrixRows, Bf16>(tile, rows, weight, epilogue, stream);
}

cudaError_t LaunchGemmPlain(const MatrixOperand& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                            DataType type, DataType outputType, cudaStream_t stream) {
  return LaunchPlain<MatrixRows>(rows, weight, epilogue, type, outputType, stream);
}

cudaError_t LaunchGemmFloat8Smxx(const MatrixOperand& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                                 DataType outputType, GemmTile tile, cudaStream_t stream) {
  return outputType == DataType::kFloat8 ? LaunchFloat8<Fp8>(rows, weight, epilogue, tile, stream)
                                         : LaunchFloat8<Bf16>(rows, weight, epilogue, tile, stream);
}

cudaError_t LaunchGemmInt8Smxx(const MatrixOperand& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                               GemmTile tile, cudaStream_t stream) {
  return tile == GemmTile::kLarge
             ? LaunchTile<LargeTile, MatrixRows, Bf16, Int8Product>(rows, weight, epilogue, stream)
             : LaunchTile<SmallTile, MatrixRows, Bf16, Int8Product>(rows, weight, epilogue, stream);
}

}  // namespace flashvsr::kernels
