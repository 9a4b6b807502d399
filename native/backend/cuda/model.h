// The weights as the CUDA backend holds them: one allocation, gates folded into the layers before them, TGrow and the
// nearest x2 folded into the convolutions after them. Immutable once made.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/linear_runner.h"
#include "backend/float8.h"
#include "kernels/pack.h"

namespace flashvsr::cuda {

// What of the model is held and multiplied in 8 bits; nothing in bf16 and fp32.
struct EightBitPlan {
  bool int8 = false;  // all linear layers of the blocks in int8 (backend/int8.h), and nothing in e4m3
  // e4m3; attention only on the path and the card that have it.
  bool feedForward = false, linear = false, attention = false;
};
EightBitPlan EightBitPlanOf(Precision precision, kernels::Path path);
kernels::DataType TypeOf(Precision precision);  // of activations
kernels::DataType CacheTypeOf(Precision precision, kernels::Path path);

struct DeviceConvolution {
  void* weight = nullptr;               // packed (convolution.h)
  float* bias = nullptr;                // null: none
  int inChannels = 0, outChannels = 0;  // inChannels of one source
};

// One transformer block. `one + scale` is folded: the scales here are the factors themselves.
struct DeviceBlock {
  DeviceLinear qk;                                   // (2*dim, dim): q's rows, then k's
  DeviceLinear v, o, crossQ, crossO, ffnIn, ffnOut;  // o and ffnOut: gate_a, gate_m folded into weight and bias
  float *scaleA = nullptr, *shiftA = nullptr, *scaleM = nullptr, *shiftM = nullptr;
  float *normQ = nullptr, *normK = nullptr, *crossNormQ = nullptr, *norm3Weight = nullptr, *norm3Bias = nullptr;
  void *promptKeys = nullptr, *promptValues = nullptr;  // (textLen, dim)
  // fp8: what queries and keys are multiplied by before they are rounded. In front of 8-bit layers norms have no
  // vectors: scaleA .. norm3Bias are then folded into the layers.
  float queryScale = 1.0F, keyScale = 1.0F;
};

// A convolution of the Wan2.1 decoder with the norm in front of it. WanPart::Enlarge: folded with the nearest x2, four
// phases one after the other.
struct DeviceWanLayer {
  DeviceConvolution convolution;
  float* gamma = nullptr;  // null: none
  int time = 1, side = 1;  // taps
};

struct DeviceWeights {
  DeviceLinear patchEmbedding, head;
  float *headScale = nullptr, *headShift = nullptr;
  std::vector<DeviceBlock> blocks;
  std::array<DeviceConvolution, 2> causal;
  std::array<float*, 2> gamma{};
  std::vector<DeviceLinear> projected;
  DeviceConvolution first, second;                                        // decoder layers 1, 3
  std::array<std::array<std::array<DeviceConvolution, 3>, 3>, 3> memory;  // [stage][block][part / 2]
  std::array<std::array<DeviceConvolution, 2>, 3> grow;  // [stage][step]; weight: 4 phases one after the other
  DeviceConvolution beforeLast, last;                    // layers 24, 26
  std::map<std::pair<int, WanPart>, DeviceWanLayer> wan;
  float *wanInput = nullptr, *wanInputBias = nullptr;  // conv2 (16, 16) and its bias, fp32

  // Assigns every pointer from `bump`; with a counting bump this is the plan.
  void layOut(const ModelDims& dims, const EightBitPlan& plan, kernels::DataType type, Bump& bump);

 private:
  void layOutWan(const ModelDims& dims, kernels::DataType type, Bump& bump);
};

class CudaModel final : public PreparedModel, public std::enable_shared_from_this<CudaModel> {
 public:
  CudaModel(int device, kernels::Path path, std::shared_ptr<CublasLt> lt, const ModelWeights& weights,
            const ModelConstants& constants, Precision precision, const LoadProgress& progress);
  ~CudaModel() override;

  const ModelDims& dims() const override { return dims_; }
  std::int64_t bytes() const override { return memory_.bytes(); }
  bool hasWan() const override { return dims_.wanWidth > 0; }
  std::int64_t scratchBytes(const Geometry& geometry, const ExecutorLimits& limits) const override;
  std::unique_ptr<Executor> createExecutor(const Geometry& geometry, const ExecutorLimits& limits,
                                           std::int64_t arenaBytes) override;
  std::vector<float> readConstant(const std::string& name) const override;

  int device() const { return device_; }
  kernels::DataType type() const { return type_; }
  const DeviceWeights& weights() const { return weights_; }
  kernels::Path path() const { return path_; }
  CublasLt* lt() const { return lt_.get(); }

  const EightBitPlan& eightBits() const { return eightBits_; }
  // Of cached keys and values, and of q as sparse attention reads it.
  kernels::DataType cacheType() const { return eightBits_.attention ? kernels::DataType::kFloat8 : type_; }

  static std::int64_t Bytes(const ModelDims& dims, const EightBitPlan& plan, kernels::DataType type);

 private:
  template <typename Load>
  void loadWan(Load& load, const TensorSource& wan);

  int device_;
  kernels::Path path_;
  std::shared_ptr<CublasLt> lt_;
  ModelDims dims_;
  kernels::DataType type_;
  EightBitPlan eightBits_;
  ModelConstants constants_;
  DeviceMemory memory_;
  DeviceWeights weights_;
};

// fp32 from device elements of `type`.
std::vector<float> ReadDevice(const void* data, kernels::DataType type, std::int64_t count);

}  // namespace flashvsr::cuda
