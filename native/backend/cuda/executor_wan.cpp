// The Wan2.1 decoder (docs/flashvsr-full.md).
#include <algorithm>
#include <cmath>

#include "backend/cuda/executor.h"
#include "kernels/convolution.h"
#include "kernels/norm.h"
#include "kernels/wan.h"

namespace flashvsr::cuda {

using kernels::DataType;
using kernels::SizeOf;

namespace {

// What the Hopper kernel is for: 3x3 taps (or 2x2 phases) and enough channels; the entry and the head have few.
bool Counted(const kernels::ConvolutionParams& params) {
  return params.kernelX > 1 && params.channels[0] >= 64 && params.outChannels >= 96;
}

void SetSteps(kernels::ConvolutionParams& params, const Tensor& earlier, const Tensor& previous, const Tensor& x) {
  int count = 0;
  if (earlier) {
    params.input[0][count++] = earlier.data;
    params.input[0][count++] = previous.data;
  }
  params.input[0][count++] = x.data;
  params.kernelT = count;
  params.channels[0] = static_cast<int>(x.shape[3]);
  params.height = static_cast<int>(x.shape[1]);
  params.width = static_cast<int>(x.shape[2]);
  params.frames = 1;
}

}  // namespace

void CudaExecutor::run(const WanInput& op) {
  enter();
  kernels::WanInputParams params;
  params.latent = static_cast<const float*>(op.latent.data);
  params.latentFrames = static_cast<int>(op.latent.shape[1]);
  params.latentFrame = op.latentFrame;
  params.weight = model_->weights().wanInput;
  params.bias = model_->weights().wanInputBias;
  std::copy(kWanMean.begin(), kWanMean.end(), params.mean);
  std::copy(kWanDeviation.begin(), kWanDeviation.end(), params.deviation);
  params.out = op.out.data;
  params.positions = geometry_.latentHeight() * geometry_.latentWidth();
  params.type = type_;
  Check(kernels::LaunchWanInput(params, stream_), "Wan decoder input");
}

void CudaExecutor::wanNorm(const Tensor& x, const float* gamma, bool silu, void* out) {
  kernels::ChannelNormParams params;
  params.x = x.data;
  params.out = out;
  params.gamma = gamma;
  params.height = static_cast<int>(x.shape[1]);
  params.width = static_cast<int>(x.shape[2]);
  params.channels = static_cast<int>(x.shape[3]);
  params.silu = silu;
  params.type = type_;
  Check(kernels::LaunchChannelNorm(params, stream_), "Wan decoder norm");
}

void CudaExecutor::run(const WanNorm& op) {
  enter();
  wanNorm(op.x, wanLayer(op.block, op.part).gamma, true, op.out.data);
}

void CudaExecutor::run(const WanConvolution& op) {
  enter();
  const DeviceWanLayer& layer = wanLayer(op.block, op.part);
  const DeviceConvolution& convolution = layer.convolution;
  const int taps = layer.time * layer.side * layer.side;
  kernels::ConvolutionParams params;
  SetSteps(params, op.earlier, op.previous, op.x);
  if (params.kernelT != layer.time || params.channels[0] != convolution.inChannels)
    FailInternal("a Wan decoder convolution was given other inputs than it has weights for");
  params.outChannels = params.ldOut = static_cast<int>(op.out.shape[3]);
  const std::int64_t first = static_cast<std::int64_t>(op.half) * params.outChannels;
  params.weight = static_cast<const std::byte*>(convolution.weight) +
                  first * kernels::PackedConvolutionDepth(taps, convolution.inChannels, 0) * SizeOf(type_);
  params.bias = convolution.bias + first;
  params.residual[0] = op.residual.data;
  params.output[0] = op.out.data;
  params.kernelY = params.kernelX = layer.side;
  params.padY = params.padX = layer.side == 1 ? 0 : 1;
  if (op.part == WanPart::Enlarge) params.phases = 4, params.outStep = 2;
  params.type = params.outputType = type_;
  params.path = model_->path();
  const kernels::Launched launched = kernels::LaunchConvolution(params, stream_);
  if (!Counted(params)) return Check(launched.error, "Wan decoder convolution");
  paths_.ran(launched, Operation::WanConvolution,
             static_cast<std::int64_t>(params.phases) * params.height * params.width, params.outChannels,
             taps * params.channels[0]);
}

void CudaExecutor::product(const void* a, std::int64_t lda, const void* b, std::int64_t ldb, std::int64_t m,
                           std::int64_t n, std::int64_t k, const float* bias, const void* residual, void* d,
                           std::int64_t ldd, DataType outputType) {
  kernels::LinearParams params;
  params.a = a;
  params.lda = lda;
  params.b = b;
  params.ldb = ldb;
  params.m = static_cast<int>(m);
  params.n = static_cast<int>(n);
  params.k = static_cast<int>(k);
  params.bias = bias;
  params.residual = residual;
  params.d = d;
  params.ldd = ldd;
  params.type = type_;
  params.outputType = outputType;
  params.path = model_->path();
  Check(kernels::LaunchLinear(params, stream_).error, "Wan decoder attention");
}

// Products and a softmax over blocks of rows. Values come out transposed, as the second product wants them; their bias
// is added after it, since every row's weights sum to one.
void CudaExecutor::run(const WanAttention& op) {
  enter();
  const DeviceWanLayer &query = wanLayer(op.block, WanPart::Query), &project = wanLayer(op.block, WanPart::Project);
  const std::int64_t positions = op.x.shape[1] * op.x.shape[2], width = op.x.shape[3], element = SizeOf(type_),
                     depth = kernels::PackedConvolutionDepth(1, static_cast<int>(width), 0);
  const auto* const weight = static_cast<const std::byte*>(query.convolution.weight);
  auto* const queryKeys = static_cast<std::byte*>(scratch_.wanQueryKeys);
  wanNorm(op.x, query.gamma, false, scratch_.wanNormed);
  product(scratch_.wanNormed, width, weight, depth, positions, 2 * width, width, query.convolution.bias, nullptr,
          queryKeys, 2 * width, type_);
  product(weight + 2 * width * depth * element, depth, scratch_.wanNormed, width, width, positions, width, nullptr,
          nullptr, scratch_.wanValues, positions, type_);
  for (std::int64_t first = 0; first < positions; first += scratch_.wanRows) {
    const std::int64_t rows = std::min(scratch_.wanRows, positions - first);
    product(queryKeys + first * 2 * width * element, 2 * width, queryKeys + width * element, 2 * width, rows, positions,
            width, nullptr, nullptr, scratch_.wanScores, positions, DataType::kFloat32);
    kernels::SoftmaxRowsParams softmax;
    softmax.scores = scratch_.wanScores;
    softmax.out = scratch_.wanProbabilities;
    softmax.rows = rows;
    softmax.columns = positions;
    softmax.scale = 1.0F / std::sqrt(static_cast<float>(width));
    softmax.type = type_;
    Check(kernels::LaunchSoftmaxRows(softmax, stream_), "Wan decoder attention");
    product(scratch_.wanProbabilities, positions, scratch_.wanValues, positions, rows, width, positions,
            query.convolution.bias + 2 * width, nullptr,
            static_cast<std::byte*>(scratch_.wanAttended) + first * width * element, width, type_);
  }
  product(scratch_.wanAttended, width, project.convolution.weight, depth, positions, width, width,
          project.convolution.bias, op.x.data, op.out.data, width, type_);
}

void CudaExecutor::run(const WanOutput& op) {
  enter();
  const DeviceConvolution& convolution = wanLayer(kWanHead, WanPart::First).convolution;
  kernels::ConvolutionParams params;
  SetSteps(params, op.earlier, op.previous, op.x);
  params.weight = convolution.weight;
  params.bias = convolution.bias;
  params.output[0] = scratch_.wanPicture;
  params.outChannels = 3;
  params.ldOut = 4;
  params.type = type_;
  params.outputType = DataType::kFloat32;
  params.path = model_->path();
  Check(kernels::LaunchConvolution(params, stream_).error, "Wan decoder output");
  kernels::PlanarClampParams planes;
  planes.in = scratch_.wanPicture;
  planes.out = static_cast<float*>(op.out.data);
  planes.pixels = geometry_.height * geometry_.width;
  Check(kernels::LaunchPlanarClamp(planes, stream_), "Wan decoder output");
}

}  // namespace flashvsr::cuda
