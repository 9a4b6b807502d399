// The transformer's and the projector's operations.
#include <algorithm>

#include "backend/cuda/executor.h"
#include "kernels/attention_input.h"
#include "kernels/convolution.h"
#include "kernels/norm.h"
#include "kernels/patch.h"
#include "kernels/select.h"
#include "kernels/shuffle.h"

namespace flashvsr::cuda {

using kernels::DataType;
using kernels::SizeOf;

namespace {

void* Row(void* data, std::int64_t row, std::int64_t width, DataType type) {
  return static_cast<std::byte*>(data) + row * width * SizeOf(type);
}

const float* Floats(const Tensor& tensor) { return static_cast<const float*>(tensor.data); }

// Attention whose output `reader` takes. An int8 reader's operand is made of what attention leaves as `type`.
void WriteFor(const DeviceLinear& reader, DataType type, kernels::AttentionParams& params) {
  params.outputType = reader.int8() ? type : reader.type;
  params.outputScale = reader.inputScale;
}

}  // namespace

void CudaExecutor::run(const UnshuffleFrame& op) {
  enter();
  kernels::UnshuffleParams params;
  params.frame = static_cast<const std::uint8_t*>(op.frame.data);
  params.out = op.out.data;
  params.height = static_cast<int>(geometry_.height);
  params.width = static_cast<int>(geometry_.width);
  params.type = type_;
  Check(kernels::LaunchUnshuffle(params, stream_), "unshuffle");
}

void CudaExecutor::run(const CausalConvolution& op) {
  enter();
  const bool second = op.index == 2;
  const DeviceConvolution& convolution = model_->weights().causal[second ? 1 : 0];
  const std::int64_t frameBytes =
      geometry_.tokenRows() * geometry_.tokenColumns() * convolution.outChannels * SizeOf(type_);
  // Every output names its four inputs, so a launch takes 4 pointers an output; the second convolution goes through
  // scratch for two frames, because its norm also moves the rows into window order.
  const std::size_t most = second ? 2 : kernels::kMaxConvolutionFrames / 4;
  for (std::size_t first = 0; first < op.taps.size(); first += most) {
    const std::size_t count = std::min(most, op.taps.size() - first);
    kernels::ConvolutionParams params;
    for (std::size_t o = 0; o < count; ++o) {
      for (std::size_t t = 0; t < 4; ++t)
        params.input[0][o * 4 + t] = op.inputs[static_cast<std::size_t>(op.taps[first + o][t])].data;
      params.output[o] = second
                             ? static_cast<std::byte*>(scratch_.convolved) + static_cast<std::int64_t>(o) * frameBytes
                             : op.outputs[first + o].data;
    }
    params.channels[0] = convolution.inChannels;
    params.weight = convolution.weight;
    params.bias = convolution.bias;
    params.frames = static_cast<int>(count);
    params.height = static_cast<int>(geometry_.tokenRows());
    params.width = static_cast<int>(geometry_.tokenColumns());
    params.outChannels = params.ldOut = convolution.outChannels;
    params.kernelT = params.strideT = 4;
    params.replicate = true;
    params.type = params.outputType = type_;
    params.path = model_->path();
    paths_.ran(kernels::LaunchConvolution(params, stream_), Operation::ProjectorConvolution,
               static_cast<std::int64_t>(count) * params.height * params.width, params.outChannels,
               36 * params.channels[0]);
    for (std::size_t o = 0; o < count; ++o) {
      kernels::ChannelNormParams norm;
      norm.x = params.output[o];
      norm.out = second ? op.tokens.data : params.output[o];
      norm.gamma = model_->weights().gamma[second ? 1 : 0];
      norm.height = params.height;
      norm.width = params.width;
      norm.channels = convolution.outChannels;
      norm.tokenFrame = second ? static_cast<int>(first + o) : -1;
      norm.type = type_;
      Check(kernels::LaunchChannelNorm(norm, stream_), "projector norm");
    }
  }
}

void CudaExecutor::run(const PatchEmbed& op) {
  enter();
  kernels::PatchRowsParams params;
  params.latent = Floats(op.noise);
  params.rows = scratch_.patchRows;
  params.channels = static_cast<int>(op.noise.shape[0]);
  params.frames = static_cast<int>(op.noise.shape[1]);
  params.height = static_cast<int>(geometry_.latentHeight());
  params.width = static_cast<int>(geometry_.latentWidth());
  params.type = type_;
  Check(kernels::LaunchPatchRows(params, stream_), "patches");
  linear(scratch_.patchRows, op.x.shape[2], model_->weights().patchEmbedding, op.x.data);
}

void CudaExecutor::run(const AddProjected& op) {
  enter();
  const DeviceLinear& weight = model_->weights().projected.at(static_cast<std::size_t>(op.index));
  const std::int64_t tokens = op.features.shape[2];
  if (op.projected) {
    linear(op.features.data, tokens, weight, op.projected.data, kernels::Activation::kNone, nullptr, true);
  } else {
    linear(op.features.data, tokens, weight, op.x.data, kernels::Activation::kNone, op.x.data);
  }
}

void CudaExecutor::run(const AttentionInput& op) {
  enter();
  const DeviceBlock& weights = block(op.layer);
  const std::int64_t group = geometry_.groupTokens(), groups = op.x.shape[2] / group, windows = geometry_.windows();
  const bool float8 = model_->eightBits().attention;
  for (std::int64_t g = 0; g < groups; ++g) {
    const KvSlot& slot = op.slots[static_cast<std::size_t>(g)];
    layerNorm(Row(op.x.data, g * group, dim_, type_), scratch_.normed, group, weights.qk, nullptr, nullptr,
              weights.scaleA, weights.shiftA);
    linear(scratch_.normed, group, weights.qk, scratch_.queryKeys);
    linear(scratch_.normed, group, weights.v, float8 ? scratch_.values : slot.values.data);
    if (float8) {
      const kernels::TransposeValuesParams values{scratch_.values, slot.values.data, static_cast<int>(windows),
                                                  static_cast<int>(model_->dims().heads)};
      Check(kernels::LaunchTransposeValues(values, stream_), "values");
    }
    kernels::QueryKeyParams params;
    params.x = scratch_.queryKeys;
    params.ldx = 2 * dim_;
    params.parts[0] = {weights.normQ, Row(op.q.data, g * group, dim_, model_->cacheType()),
                       static_cast<float*>(op.queryMeans.data) + g * windows * dim_, weights.queryScale};
    params.parts[1] = {weights.normK, slot.keys.data, static_cast<float*>(slot.means.data), weights.keyScale};
    params.frames = Floats(op.rope.frames) + g * 2 * 22 * 2;
    params.rows = Floats(op.rope.rows);
    params.columns = Floats(op.rope.columns);
    params.windows = static_cast<int>(windows);
    params.tokenRows = static_cast<int>(geometry_.tokenRows());
    params.tokenColumns = static_cast<int>(geometry_.tokenColumns());
    params.width = static_cast<int>(dim_);
    params.type = type_;
    params.float8 = float8;
    Check(kernels::LaunchQueryKey(params, stream_), "RMS, rope and means of queries and keys");
  }
}

void CudaExecutor::run(const SelectBlocks& op) {
  enter();
  kernels::SelectParams params;
  if (op.keys.size() > kernels::kMaxKeyGroups) FailInternal("more key groups than the kernels take");
  params.queryMeans = Floats(op.queryMeans);
  for (std::size_t g = 0; g < op.keys.size(); ++g) params.keyMeans[g] = Floats(op.keys[g].means);
  params.heads = static_cast<int>(model_->dims().heads);
  params.windowRows = static_cast<int>(geometry_.windowRows());
  params.windowColumns = static_cast<int>(geometry_.windowColumns());
  params.queryGroups = static_cast<int>(op.queryMeans.shape[2] / geometry_.windows());
  params.keyGroups = static_cast<int>(op.keys.size());
  params.localRange = op.localRange;
  params.topk = op.topk;
  params.probabilities = scratch_.probabilities;
  params.mask = static_cast<std::uint8_t*>(op.mask.data);
  Check(kernels::LaunchSelect(params, stream_), "mask selection");
}

void CudaExecutor::run(const SparseAttention& op) {
  enter();
  const int heads = static_cast<int>(model_->dims().heads), queryWindows = static_cast<int>(op.q.shape[2] / 128);
  const int columns = static_cast<int>(static_cast<std::int64_t>(op.keys.size()) * geometry_.windows());
  kernels::KeptWindowsParams kept;
  kept.mask = static_cast<const std::uint8_t*>(op.mask.data);
  kept.rows = heads * queryWindows;
  kept.columns = columns;
  kept.windows = static_cast<int>(geometry_.windows());
  kept.entries = scratch_.entries;
  kept.counts = scratch_.counts;
  Check(kernels::LaunchKeptWindows(kept, stream_), "kept windows");
  const DeviceBlock& weights = block(op.layer);
  kernels::AttentionParams params;
  params.q = op.q.data;
  for (std::size_t g = 0; g < op.keys.size(); ++g) {
    params.keys[g] = op.keys[g].keys.data;
    params.values[g] = op.keys[g].values.data;
  }
  params.entries = scratch_.entries;
  params.counts = scratch_.counts;
  params.columns = columns;
  params.queryWindows = queryWindows;
  params.heads = heads;
  params.out = op.out.data;
  params.type = model_->cacheType();
  // e4m3 values carry their own scale already; their averages are what the next layer reads, or are brought to its
  // scale here.
  if (params.type == DataType::kFloat8) params.scoreScale = 1.0F / (weights.queryScale * weights.keyScale);
  WriteFor(weights.o, type_, params);
  params.outputScale /= weights.v.float8Out ? weights.v.outputScale : 1.0F;
  params.path = model_->path();
  paths_.ran(kernels::LaunchAttention(params, stream_), Operation::SparseAttention, op.q.shape[2], dim_, columns * 128);
}

void CudaExecutor::run(const AttentionOutput& op) {
  enter();
  addLinear(op.attention.data, op.x.shape[2], block(op.layer).o, op.x.data);
}

void CudaExecutor::run(const CrossAttention& op) {
  enter();
  const DeviceBlock& weights = block(op.layer);
  const std::int64_t tokens = op.x.shape[2];
  layerNorm(op.x.data, op.a.data, tokens, weights.crossQ, weights.norm3Weight, weights.norm3Bias, nullptr, nullptr);
  linear(op.a.data, tokens, weights.crossQ, op.b.data);
  kernels::RmsNormParams rms;
  rms.x = rms.out = op.b.data;
  rms.weight = weights.crossNormQ;
  rms.rows = tokens;
  rms.width = static_cast<int>(dim_);
  rms.inputType = rms.type = type_;
  Check(kernels::LaunchRmsNorm(rms, stream_), "RMS of queries");
  kernels::AttentionParams params;
  params.q = op.b.data;
  params.keys[0] = weights.promptKeys;
  params.values[0] = weights.promptValues;
  params.keyLength = static_cast<int>(model_->dims().textLen);
  params.queryWindows = static_cast<int>(tokens / 128);
  params.heads = static_cast<int>(model_->dims().heads);
  params.out = op.a.data;
  params.type = type_;
  WriteFor(weights.crossO, type_, params);
  params.path = model_->path();
  paths_.ran(kernels::LaunchAttention(params, stream_), Operation::CrossAttention, tokens, dim_, params.keyLength);
  addLinear(op.a.data, tokens, weights.crossO, op.x.data);
}

void CudaExecutor::run(const FeedForward& op) {
  enter();
  const DeviceBlock& weights = block(op.layer);
  const std::int64_t tokens = op.x.shape[2];
  layerNorm(op.x.data, op.a.data, tokens, weights.ffnIn, nullptr, nullptr, weights.scaleM, weights.shiftM);
  linear(op.a.data, tokens, weights.ffnIn, op.hidden.data, kernels::Activation::kGeluTanh);
  addLinear(op.hidden.data, tokens, weights.ffnOut, op.x.data);
}

void CudaExecutor::run(const Head& op) {
  enter();
  const DeviceWeights& weights = model_->weights();
  const std::int64_t group = geometry_.groupTokens(), groups = op.x.shape[2] / group, width = weights.head.n;
  for (std::int64_t g = 0; g < groups; ++g) {
    layerNorm(Row(op.x.data, g * group, dim_, type_), scratch_.normed, group, weights.head, nullptr, nullptr,
              weights.headScale, weights.headShift);
    linear(scratch_.normed, group, weights.head, scratch_.headRows + g * group * width, kernels::Activation::kNone,
           nullptr, true);
  }
  kernels::SubtractPatchesParams params;
  params.rows = scratch_.headRows;
  params.base = Floats(op.noise);
  params.out = static_cast<float*>(op.latent.data);
  params.channels = static_cast<int>(op.noise.shape[0]);
  params.frames = static_cast<int>(op.noise.shape[1]);
  params.height = static_cast<int>(geometry_.latentHeight());
  params.width = static_cast<int>(geometry_.latentWidth());
  Check(kernels::LaunchSubtractPatches(params, stream_), "head");
}

void CudaExecutor::run(const Noise& op) {
  enter();
  kernels::NoiseParams params;
  params.seed = op.seed;
  params.position = op.position;
  params.out = static_cast<float*>(op.out.data);
  params.channels = static_cast<int>(op.out.shape[0]);
  params.frames = static_cast<int>(op.out.shape[1]);
  params.height = static_cast<int>(op.out.shape[2]);
  params.width = static_cast<int>(op.out.shape[3]);
  Check(kernels::LaunchNoise(params, stream_), "noise");
}

}  // namespace flashvsr::cuda
