// The weights as the reference backend holds them: fp32, products packed into panels, nothing folded. In fp8 mode the
// layers that are e4m3 there hold rounded numbers (int8 the same), with norms, modulation and gates folded in as
// backend/float8.h says.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "backend/reference/matrix.h"

namespace flashvsr::reference {

struct LinearWeights {
  PackedMatrix weight;
  std::vector<float> bias;  // empty: none

  const float* biasData() const { return bias.empty() ? nullptr : bias.data(); }
};

// One transformer block. `modulation` is block modulation + time modulation: shift_a, scale_a, gate_a, shift_m,
// scale_m, gate_m, each (dim).
struct BlockWeights {
  std::array<std::vector<float>, 6> modulation;
  LinearWeights q, k, v, o;
  std::vector<float> normQ, normK;
  LinearWeights crossQ, crossO;
  std::vector<float> crossNormQ, norm3Weight, norm3Bias;
  std::vector<float> promptKeys, promptValues;  // (textLen, dim)
  LinearWeights ffnIn, ffnOut;
  // fp8: what operands are multiplied by before they are rounded to e4m3; 0: not rounded.
  float normedScale = 0, feedForwardScale = 0, hiddenScale = 0, queryScale = 0, keyScale = 0, valueScale = 0,
        attentionScale = 0, promptScale = 0;
  // int8: operands of the linear layers are turned by Hadamard blocks and rounded, a scale a token.
  bool int8 = false;
};

// A convolution of the Wan2.1 decoder and the norm in front of it.
struct WanWeights {
  PackedMatrix weight;
  std::vector<float> bias, gamma;  // gamma: empty without a norm
};

struct CausalWeights {
  PackedMatrix weight;
  std::vector<float> bias, gamma;
};

class ReferenceModel final : public PreparedModel, public std::enable_shared_from_this<ReferenceModel> {
 public:
  ReferenceModel(std::shared_ptr<Threads> threads, const ModelWeights& weights, const ModelConstants& constants,
                 Precision precision, const LoadProgress& progress);

  const ModelDims& dims() const override { return dims_; }
  std::int64_t bytes() const override { return bytes_; }
  bool hasWan() const override { return dims_.wanWidth > 0; }
  std::int64_t scratchBytes(const Geometry& geometry, const ExecutorLimits& limits) const override;
  std::unique_ptr<Executor> createExecutor(const Geometry& geometry, const ExecutorLimits& limits,
                                           std::int64_t arenaBytes) override;
  std::vector<float> readConstant(const std::string& name) const override;

  // Read by the executor.
  Threads& threads() const { return *threads_; }
  // int8: turns and rounds rows of a linear layer's operand in place.
  void roundInt8(float* x, std::int64_t rows, std::int64_t width) const;
  LinearWeights patchEmbedding;
  std::vector<BlockWeights> blocks;
  LinearWeights head;
  std::vector<float> headShift, headScale;  // head.modulation + time
  std::array<CausalWeights, 2> causal;
  std::vector<LinearWeights> projected;                  // by index j < lqLayers
  std::map<std::pair<int, int>, LinearWeights> decoder;  // (layer, part), part -1 outside MemBlocks
  std::array<PackedMatrix, 3> grow;                      // layers 9, 15, 21
  std::map<std::pair<int, WanPart>, WanWeights> wan;

 private:
  ModelDims dims_;
  ModelConstants constants_;
  std::shared_ptr<Threads> threads_;
  std::int64_t bytes_ = 0;
  bool rotate_ = true;
};

// Layers of the decoder by stage: TGrow and the convolution after it.
inline constexpr std::array<int, 3> kGrowLayer{9, 15, 21};
inline constexpr std::array<int, 3> kGrowConvolution{10, 16, 22};

}  // namespace flashvsr::reference
