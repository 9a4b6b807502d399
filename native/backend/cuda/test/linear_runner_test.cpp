// Which linear layers go to cuBLASLt. Needs no GPU.
#include "backend/cuda/linear_runner.h"
#include "test/harness.h"

namespace flashvsr::cuda {
namespace {

using kernels::Activation;
using kernels::DataType;

TEST("linear layers: which shapes the vendor product is asked for") {
  const auto suits = [](DataType type, std::int64_t rows, int n, int k, Activation activation, bool residual,
                        bool floatOut, bool float8Out, int pad) {
    DeviceLinear weight;
    weight.type = type, weight.n = n, weight.k = k, weight.float8Out = float8Out;
    LinearCall call;
    call.weight = &weight, call.rows = rows, call.lda = k + pad, call.ldd = n, call.activation = activation,
    call.floatOut = floatOut;
    call.residual = residual ? &weight : nullptr;
    return VendorSuits(call);
  };
  constexpr DataType k8 = DataType::kFloat8, k16 = DataType::kBfloat16;
  constexpr Activation none = Activation::kNone, gelu = Activation::kGeluTanh;
  bool ok = suits(k8, 8448, 3072, 1536, none, false, false, false, 0) &&
            suits(k8, 8448, 8960, 1536, gelu, false, false, true, 0) &&
            suits(k8, 64, 16, 16, none, true, false, false, 16) && suits(k16, 65, 24, 40, none, true, true, false, 8);
  ok = ok && !suits(k8, 72, 16, 16, none, false, false, false, 0) &&
       !suits(k8, 64, 24, 16, none, false, false, false, 0) && !suits(k8, 64, 16, 40, none, false, false, false, 0) &&
       !suits(k8, 64, 16, 16, none, false, false, false, 8) && !suits(k8, 64, 16, 16, none, false, true, false, 0) &&
       !suits(k8, 64, 16, 16, none, true, false, true, 0);
  ok = ok && !suits(k16, 63, 24, 40, none, false, false, false, 0) &&
       !suits(k16, 64, 24, 42, none, false, false, false, 0) &&
       !suits(k16, 64, 24, 40, Activation::kSilu, false, false, false, 0) &&
       !suits(k16, 64, 24, 40, gelu, true, false, false, 0) &&
       !suits(DataType::kFloat32, 64, 24, 40, none, false, false, false, 0) &&
       !suits(DataType::kInt8, 8448, 3072, 1536, none, false, false, false, 0);
  CHECK(ok);
}

}  // namespace
}  // namespace flashvsr::cuda
