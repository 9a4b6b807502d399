// One CUDA stream for operations, two for copies to and from the host, an arena and scratch: enqueues every operation
// of the network as kernels.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <vector>

#include "backend/cuda/fence.h"
#include "backend/cuda/model.h"
#include "backend/cuda/paths.h"
#include "kernels/attention.h"
#include "kernels/picture_conversion.h"

namespace flashvsr::cuda {

// Pictures on their way in at once, so that copies run ahead of the kernels that read them.
inline constexpr std::size_t kPicturesIn = 8;

// Scratch of one operation at a time; the parts overlap where they are never used together.
struct Scratch {
  void* workspace = nullptr;         // cuBLASLt
  void* normed = nullptr;            // (groupTokens, dim)
  void* queryKeys = nullptr;         // (groupTokens, 2*dim)
  void* values = nullptr;            // (groupTokens, dim) e4m3, before they are transposed; fp8 only
  float* headRows = nullptr;         // (tokens, 64)
  void* patchRows = nullptr;         // (tokens, 64)
  float* probabilities = nullptr;    // (heads, query windows, key windows)
  std::uint32_t* entries = nullptr;  // the same shape
  int* counts = nullptr;             // (heads, query windows)
  void* convolved = nullptr;         // (2, h, w, h2)
  float* rowScales = nullptr;        // (tokens): of an int8 layer's operand; int8 only, shares its room with nothing
  void* match = nullptr;             // colour match
  std::uint8_t* resized = nullptr;   // padded source
  // The Wan2.1 decoder's attention, a block of wanRows rows of scores at a time, and its output before it is planes.
  void *wanNormed = nullptr, *wanQueryKeys = nullptr, *wanValues = nullptr, *wanAttended = nullptr;
  float* wanScores = nullptr;        // (wanRows, positions)
  void* wanProbabilities = nullptr;  // the same
  std::int64_t wanRows = 0;
  float* wanPicture = nullptr;  // (H, W, 4)

  void layOut(const ModelDims& dims, kernels::DataType type, const EightBitPlan& eightBits, const Geometry& geometry,
              const ExecutorLimits& limits, Bump& bump);
};

class CudaExecutor final : public Executor {
 public:
  CudaExecutor(std::shared_ptr<const CudaModel> model, const Geometry& geometry, const ExecutorLimits& limits,
               std::int64_t arenaBytes);
  ~CudaExecutor() override;

  std::byte* arena() override { return memory_.data(); }
  std::shared_ptr<std::uint8_t[]> allocateHost(std::size_t bytes) override;
  void upload(const Tensor& to, const void* host) override;
  void download(void* host, const Tensor& from) override;
  void fill(const Tensor& tensor, std::uint8_t byte) override;
  void copy(const Tensor& to, const Tensor& from) override;
  std::vector<float> read(const Tensor& tensor) override;
  void write(const Tensor& tensor, std::span<const float> values) override;
  void mark(Stage stage) override;
  std::unique_ptr<Fence> fence() override;
  void after(const Fence& fence) override;

  void run(const ImportPicture& op) override;
  void run(const UnshuffleFrame& op) override;
  void run(const CausalConvolution& op) override;
  void run(const PatchEmbed& op) override;
  void run(const AddProjected& op) override;
  void run(const AttentionInput& op) override;
  void run(const SelectBlocks& op) override;
  void run(const SparseAttention& op) override;
  void run(const AttentionOutput& op) override;
  void run(const CrossAttention& op) override;
  void run(const FeedForward& op) override;
  void run(const Head& op) override;
  void run(const Noise& op) override;
  void run(const DecoderInput& op) override;
  void run(const DecoderConvolution& op) override;
  void run(const DecoderGrow& op) override;
  void run(const DecoderOutput& op) override;
  void run(const FinishPicture& op) override;
  void run(const WanInput& op) override;
  void run(const WanNorm& op) override;
  void run(const WanConvolution& op) override;
  void run(const WanAttention& op) override;
  void run(const WanOutput& op) override;

 private:
  // Tables and staging of the source size at hand.
  struct Source {
    int width = 0, height = 0;
    DeviceMemory memory;
    std::array<std::uint8_t*, kPicturesIn> pictures{};
    std::uint8_t *rgb = nullptr, *middle = nullptr;
    kernels::ResizeAxisView across, down;
  };

  void enter() const;  // makes the device current
  // What `later` gets from here on starts after what `earlier` has now.
  void order(cudaStream_t earlier, cudaStream_t later);
  std::int64_t bytesOf(const Tensor& tensor) const;
  void prepareSource(int width, int height);
  // LN of `rows` rows for `reader`: with the vectors that belong there, or, where the reader is in 8 bits and has them
  // folded in, without and as it wants its operand.
  void layerNorm(const void* x, void* out, std::int64_t rows, const DeviceLinear& reader, const float* weight,
                 const float* bias, const float* scale, const float* shift);
  void linear(const void* a, std::int64_t rows, const DeviceLinear& weight, void* out,
              kernels::Activation activation = kernels::Activation::kNone, const void* residual = nullptr,
              bool floatOut = false);
  // x += weight a, where a is as type_; an int8 layer's operand is made of it in its place.
  void addLinear(void* a, std::int64_t rows, const DeviceLinear& weight, void* x);
  void rotateRound(const void* x, void* out, std::int64_t ldOut, std::int64_t rows, const DeviceLinear& reader,
                   bool norm);
  void run(LinearCall call);
  void convolve(const DeviceConvolution& convolution, const Tensor& x, const Tensor& past, const Tensor& residual,
                bool relu, const Tensor& out);
  const DeviceWanLayer& wanLayer(int block, WanPart part) const { return model_->weights().wan.at({block, part}); }
  void wanNorm(const Tensor& x, const float* gamma, bool silu, void* out);
  // d (m, n) = a (m, k) * b (n, k)^T [+ bias] [+ residual].
  void product(const void* a, std::int64_t lda, const void* b, std::int64_t ldb, std::int64_t m, std::int64_t n,
               std::int64_t k, const float* bias, const void* residual, void* d, std::int64_t ldd,
               kernels::DataType outputType);
  const DeviceBlock& block(int layer) const { return model_->weights().blocks.at(static_cast<std::size_t>(layer)); }

  std::shared_ptr<const CudaModel> model_;
  Geometry geometry_;
  kernels::DataType type_;
  std::int64_t dim_;
  DeviceMemory memory_;  // the engine's arena, then the scratch
  Scratch scratch_;
  Source source_;
  cudaStream_t stream_ = nullptr;
  cudaStream_t in_ = nullptr, out_ = nullptr;    // copies from and to the host
  std::array<cudaEvent_t, kPicturesIn> read_{};  // when the kernels have read pictures[i]; null: not read by any kernel
  std::size_t nextIn_ = 0;
  std::map<void*, cudaEvent_t> downloads_;  // by device address: when the copy to the host has read it
  bool downloaded_ = false;                 // since the last fence
  LinearRunner linears_;
  PathAccount paths_{WishedPath()};
  std::shared_ptr<EventPool> events_;
  std::vector<StageMark> marks_;
};

// What reference::CoefficientsOf says, as the kernels take it.
kernels::YuvMatrix YuvMatrixOf(const PictureFormat& format);

}  // namespace flashvsr::cuda
