#include "kernels/dispatch/gemm.h"

#include "kernels/sm90/gemm_sm90.h"
#include "kernels/smxx/gemm_smxx.h"

namespace flashvsr::kernels {
namespace {

enum class GemmKernel { kRefused, kPlain, kFloat8, kInt8, kSm90, kSmxx };

GemmKernel Choose(int m, const GemmCall& call) {
  const bool floatOut = call.outputType == DataType::kFloat32;
  if (call.type == DataType::kFloat8) return GemmKernel::kFloat8;
  if (call.type == DataType::kInt8) return GemmKernel::kInt8;
  if (call.type == DataType::kFloat32) return floatOut ? GemmKernel::kPlain : GemmKernel::kRefused;
  if (!call.vectors) return GemmKernel::kPlain;
  if (call.path == Path::kAuto && !floatOut && Sm90SuitsGemm(m, call.weight.n, call.weight.k)) return GemmKernel::kSm90;
  return GemmKernel::kSmxx;
}

/// The large tile needs enough tiles to fill the card; below that smaller tiles spread better.
GemmTile ChooseTile(int m, const GemmCall& call) {
  if (SizeOf(call.type) > 1 && call.weight.n <= 16 && m >= 4096) return GemmTile::kThin;
  return call.weight.n > 64 && CeilDiv(m, 256) * CeilDiv(call.weight.n, 128) >= 64 ? GemmTile::kLarge
                                                                                   : GemmTile::kSmall;
}

cudaError_t LaunchFloat8(const MatrixOperand& rows, const GemmCall& call, cudaStream_t stream) {
  return LaunchGemmFloat8Smxx(rows, call.weight, call.epilogue, call.outputType, ChooseTile(rows.m, call), stream);
}
cudaError_t LaunchFloat8(const PixelOperand&, const GemmCall&, cudaStream_t) { return cudaErrorInvalidValue; }

cudaError_t LaunchInt8(const MatrixOperand& rows, const GemmCall& call, cudaStream_t stream) {
  return LaunchGemmInt8Smxx(rows, call.weight, call.epilogue, ChooseTile(rows.m, call), stream);
}
cudaError_t LaunchInt8(const PixelOperand&, const GemmCall&, cudaStream_t) { return cudaErrorInvalidValue; }

template <typename Operand>
Launched Launch(const Operand& rows, const GemmCall& call, cudaStream_t stream) {
  switch (Choose(rows.m, call)) {
    case GemmKernel::kRefused:
      return {cudaErrorInvalidValue, Taken::kPortable};
    case GemmKernel::kPlain:
      return {LaunchGemmPlain(rows, call.weight, call.epilogue, call.type, call.outputType, stream), Taken::kPortable};
    case GemmKernel::kFloat8:
      return {LaunchFloat8(rows, call, stream), Taken::kPortable};
    case GemmKernel::kInt8:
      return {LaunchInt8(rows, call, stream), Taken::kPortable};
    case GemmKernel::kSm90:
      return {LaunchGemmSm90(rows, call.weight, call.epilogue, stream), Taken::kSm90};
    case GemmKernel::kSmxx:
      return {LaunchGemmSmxx(rows, call.weight, call.epilogue, call.outputType, ChooseTile(rows.m, call), stream),
              Taken::kPortable};
  }
  return {cudaErrorInvalidValue, Taken::kPortable};
}

}  // namespace

Launched LaunchGemm(const MatrixOperand& rows, const GemmCall& call, cudaStream_t stream) {
  return Launch(rows, call, stream);
}
Launched LaunchGemm(const PixelOperand& rows, const GemmCall& call, cudaStream_t stream) {
  return Launch(rows, call, stream);
}

}  // namespace flashvsr::kernels
