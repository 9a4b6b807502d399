// Linear layers on the device: whether cuBLASLt or a kernel of ours computes them is decided here and nowhere else.
#pragma once

#include <memory>

#include "backend/cuda/support.h"
#include "kernels/linear.h"

namespace flashvsr::cuda {

class CublasLt;  // cublaslt.h

// A weight (n, k) with its bias, as prepared. `biasStored`: the bias rounded to the activations' type, which cuBLASLt
// wants.
struct DeviceLinear {
  void* weight = nullptr;
  float* bias = nullptr;
  void* biasStored = nullptr;
  int n = 0, k = 0;
  // The operands' type: the model's, e4m3 (backend/float8.h) or int8 (backend/int8.h). e4m3 layers take inputScale * x
  // rounded to e4m3, int8 layers rows turned by Hadamard blocks of `rotation` and rounded with a scale a row.
  kernels::DataType type = kernels::DataType::kBfloat16;
  float inputScale = 1.0F;
  float scale = 1.0F;  // of the sums: undoes the operands' scales
  // Results in e4m3, times outputScale, for the layers whose reader wants them so.
  bool float8Out = false;
  float outputScale = 1.0F;
  float* outputScaleStored = nullptr;  // the same on the device, which cuBLASLt wants

  // int8
  float* columnScales = nullptr;  // (n)
  int rotation = 1;

  bool float8() const { return type == kernels::DataType::kFloat8; }
  bool int8() const { return type == kernels::DataType::kInt8; }
  bool eightBits() const { return float8() || int8(); }  // what a norm in front of it has is folded into it
};

// out (m, n) = [residual +] activation(a (m, k) * weight^T + bias), a as the weight wants it.
struct LinearCall {
  const void* a = nullptr;
  std::int64_t lda = 0;
  std::int64_t rows = 0;
  const DeviceLinear* weight = nullptr;
  kernels::Activation activation = kernels::Activation::kNone;
  const void* residual = nullptr;  // rows ldd apart, or null; may be out
  void* out = nullptr;
  std::int64_t ldd = 0;
  bool floatOut = false;
  const float* rowScales = nullptr;  // int8: (rows), of a
};

// Whether the vendor product may be asked for this call: what cuBLASLt refuses (scales of int8's rows and columns; e4m3
// wants everything in 16 elements and no fp32 result) or does badly (few rows) goes to our own, which takes any number
// of rows.
inline bool VendorSuits(const LinearCall& call) {
  const DeviceLinear& w = *call.weight;
  if (w.type == kernels::DataType::kFloat32 || w.int8()) return false;
  if (call.activation != kernels::Activation::kNone && call.activation != kernels::Activation::kGeluTanh) return false;
  if (call.residual != nullptr && (call.activation != kernels::Activation::kNone || w.float8Out)) return false;
  const int unit = w.float8() ? 16 : 8;
  if (w.k % unit != 0 || w.n % unit != 0 || call.lda % unit != 0 || call.ldd % unit != 0 || call.rows < 64)
    return false;
  return !w.float8() || (!call.floatOut && call.rows % unit == 0);
}

// One per executor: cuBLASLt's workspace belongs to one queue.
class LinearRunner {
 public:
  // `lt` may be nullptr. `workspace`: kWorkspaceBytes of the executor's scratch.
  LinearRunner(kernels::DataType type, kernels::Path path, CublasLt* lt, void* workspace)
      : type_(type),
        path_(path),
        lt_(lt),
        workspace_(workspace) {}
  // cuBLASLt, or what kernels::LaunchLinear chooses.
  kernels::Launched run(const LinearCall& call, cudaStream_t stream) const;

  static constexpr std::int64_t kWorkspaceBytes = 32 << 20;

 private:
  kernels::DataType type_;
  kernels::Path path_;
  CublasLt* lt_;
  void* workspace_;
};

}  // namespace flashvsr::cuda
