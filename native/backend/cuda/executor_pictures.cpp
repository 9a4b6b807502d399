// Pictures in and out, and the decoder.
#include <algorithm>

#include "backend/cuda/executor.h"
#include "backend/reference/picture_ops.h"
#include "kernels/colour_match.h"
#include "kernels/convolution.h"
#include "kernels/decoder_output.h"
#include "kernels/shuffle.h"

namespace flashvsr::cuda {

using kernels::DataType;
using kernels::SizeOf;

kernels::YuvMatrix YuvMatrixOf(const PictureFormat& format) {
  const reference::YuvCoefficients c = reference::CoefficientsOf(format.matrix, format.range);
  return {c.yOffset, c.y, c.rv, c.gu, c.gv, c.bu, c.yr, c.yg, c.yb, c.ur, c.ug, c.ub, c.vr, c.vg, c.vb};
}

// A new source size waits for the queue, then replaces the tables: rare, and never inside a steady stream.
void CudaExecutor::prepareSource(int width, int height) {
  if (source_.width == width && source_.height == height) return;
  Check(cudaStreamSynchronize(stream_), "changing the source size");
  Check(cudaStreamSynchronize(in_), "changing the source size");
  const reference::ResizeAxis across = reference::BicubicAxis(width, geometry_.contentWidth);
  const reference::ResizeAxis down = reference::BicubicAxis(height, geometry_.contentHeight);
  Source next;
  kernels::ResizeAxisView* const views[2] = {&next.across, &next.down};
  const reference::ResizeAxis* const axes[2] = {&across, &down};
  int* tables[2][3] = {};
  const auto layOut = [&](Bump& bump) {
    const std::int64_t pixels = static_cast<std::int64_t>(width) * height;
    for (std::uint8_t*& picture : next.pictures) picture = static_cast<std::uint8_t*>(bump.bytes(pixels * 3));
    next.rgb = static_cast<std::uint8_t*>(bump.bytes(pixels * 3));
    next.middle = static_cast<std::uint8_t*>(bump.bytes(geometry_.contentWidth * height * 3));
    for (int i = 0; i < 2; ++i) {
      tables[i][0] = static_cast<int*>(bump.bytes(static_cast<std::int64_t>(axes[i]->first.size()) * 4));
      tables[i][1] = static_cast<int*>(bump.bytes(static_cast<std::int64_t>(axes[i]->count.size()) * 4));
      tables[i][2] = static_cast<int*>(bump.bytes(static_cast<std::int64_t>(axes[i]->weights.size()) * 4));
    }
  };
  Bump count(nullptr);
  layOut(count);
  source_ = Source();
  next.memory = DeviceMemory(count.used(), "The source's staging");
  Bump bump(next.memory.data());
  layOut(bump);
  for (int i = 0; i < 2; ++i) {
    const std::vector<std::int32_t>* const parts[3] = {&axes[i]->first, &axes[i]->count, &axes[i]->weights};
    for (int j = 0; j < 3; ++j)
      Check(cudaMemcpy(tables[i][j], parts[j]->data(), parts[j]->size() * 4, cudaMemcpyHostToDevice), "resize tables");
    *views[i] = {tables[i][0], tables[i][1], tables[i][2], static_cast<int>(axes[i]->taps)};
  }
  Check(cudaDeviceSynchronize(), "resize tables");
  next.width = width;
  next.height = height;
  source_ = std::move(next);
}

void CudaExecutor::run(const ImportPicture& op) {
  enter();
  prepareSource(op.width, op.height);
  const bool yuv = op.format.pixels == PixelFormat::I420;
  const std::size_t place = nextIn_++ % kPicturesIn;
  std::uint8_t* const picture = source_.pictures[place];
  std::uint8_t* const rgb = yuv ? source_.rgb : picture;
  cudaEvent_t& read = read_[place];
  if (read == nullptr) read = events_->take();
  else Check(cudaStreamWaitEvent(in_, read, 0), "importing a picture");
  Check(cudaMemcpyAsync(picture, op.host,
                        static_cast<std::size_t>(TightPictureBytes(op.format.pixels, op.width, op.height)),
                        cudaMemcpyHostToDevice, in_),
        "importing a picture");
  order(in_, stream_);
  if (yuv) {
    kernels::YuvToRgbParams params;
    params.picture = picture;
    params.rgb = rgb;
    params.width = op.width;
    params.height = op.height;
    params.matrix = YuvMatrixOf(op.format);
    Check(kernels::LaunchYuvToRgb(params, stream_), "YUV to RGB");
  }
  kernels::ResizeParams params;
  params.in = rgb;
  params.middle = source_.middle;
  params.out = static_cast<std::uint8_t*>(op.out.data);
  params.inWidth = op.width;
  params.inHeight = op.height;
  params.contentWidth = static_cast<int>(geometry_.contentWidth);
  params.contentHeight = static_cast<int>(geometry_.contentHeight);
  params.width = static_cast<int>(geometry_.width);
  params.height = static_cast<int>(geometry_.height);
  params.across = source_.across;
  params.down = source_.down;
  Check(kernels::LaunchResize(params, stream_), "resize");
  Check(cudaEventRecord(read, stream_), "importing a picture");
}

void CudaExecutor::run(const DecoderInput& op) {
  enter();
  kernels::DecoderInputParams params;
  for (std::size_t i = 0; i < 4; ++i) params.frames[i] = static_cast<const std::uint8_t*>(op.frames[i].data);
  params.latent = static_cast<const float*>(op.latent.data);
  params.channels = static_cast<int>(op.latent.shape[0]);
  params.latentFrames = static_cast<int>(op.latent.shape[1]);
  params.latentFrame = op.latentFrame;
  params.out = op.out.data;
  params.height = static_cast<int>(geometry_.height);
  params.width = static_cast<int>(geometry_.width);
  params.type = type_;
  Check(kernels::LaunchDecoderInput(params, stream_), "decoder input");
}

void CudaExecutor::convolve(const DeviceConvolution& convolution, const Tensor& x, const Tensor& past,
                            const Tensor& residual, bool relu, const Tensor& out) {
  kernels::ConvolutionParams params;
  params.input[0][0] = x.data;
  params.input[1][0] = past.data;
  params.channels[0] = convolution.inChannels;
  params.channels[1] = past ? convolution.inChannels : 0;
  params.weight = convolution.weight;
  params.bias = convolution.bias;
  params.residual[0] = residual.data;
  params.output[0] = out.data;
  params.frames = 1;
  params.height = static_cast<int>(x.shape[1]);
  params.width = static_cast<int>(x.shape[2]);
  params.outChannels = params.ldOut = convolution.outChannels;
  params.type = params.outputType = type_;
  params.path = model_->path();
  params.activation = relu ? kernels::Activation::kRelu : kernels::Activation::kNone;
  paths_.ran(kernels::LaunchConvolution(params, stream_), Operation::DecoderConvolution,
             static_cast<std::int64_t>(params.height) * params.width, params.outChannels,
             9 * (params.channels[0] + params.channels[1]));
}

void CudaExecutor::run(const DecoderConvolution& op) {
  enter();
  const DeviceWeights& weights = model_->weights();
  const DeviceConvolution* convolution = nullptr;
  if (op.layer == 1) convolution = &weights.first;
  if (op.layer == 3) convolution = &weights.second;
  if (op.layer == 24) convolution = &weights.beforeLast;
  const int stage = (op.layer - 5) / 6, index = (op.layer - 5) % 6;
  if (op.part >= 0 && op.layer >= 5 && stage < 3 && index < 3)
    convolution = &weights.memory[static_cast<std::size_t>(stage)][static_cast<std::size_t>(index)]
                                 [static_cast<std::size_t>(op.part / 2)];
  if (convolution == nullptr || op.x.shape[3] != convolution->inChannels || op.out.shape[3] != convolution->outChannels)
    FailInternal("decoder layer " + std::to_string(op.layer) + " is no convolution of these shapes");
  convolve(*convolution, op.x, op.past, op.residual, op.relu, op.out);
}

// TGrow and the nearest x2 are folded into the weights (pack.h): four 2x2 convolutions on the small picture, one a
// phase.
void CudaExecutor::run(const DecoderGrow& op) {
  enter();
  const DeviceConvolution& convolution =
      model_->weights().grow.at(static_cast<std::size_t>(op.stage)).at(static_cast<std::size_t>(op.step));
  kernels::ConvolutionParams params;
  params.input[0][0] = op.x.data;
  params.channels[0] = convolution.inChannels;
  params.weight = convolution.weight;
  params.output[0] = op.out.data;
  params.frames = 1;
  params.height = static_cast<int>(op.x.shape[1]);
  params.width = static_cast<int>(op.x.shape[2]);
  params.outChannels = params.ldOut = convolution.outChannels;
  params.kernelY = params.kernelX = 2;
  params.phases = 4;
  params.outStep = 2;
  params.type = params.outputType = type_;
  params.path = model_->path();
  params.activation = op.stage == 2 ? kernels::Activation::kRelu : kernels::Activation::kNone;
  paths_.ran(kernels::LaunchConvolution(params, stream_), Operation::DecoderGrow,
             4 * static_cast<std::int64_t>(params.height) * params.width, params.outChannels, 4 * params.channels[0]);
}

void CudaExecutor::run(const DecoderOutput& op) {
  enter();
  const DeviceConvolution& convolution = model_->weights().last;
  kernels::DecoderOutputParams params;
  params.x = op.x.data;
  params.weight = convolution.weight;
  params.bias = convolution.bias;
  params.out = static_cast<float*>(op.out.data);
  params.height = static_cast<int>(op.x.shape[1]);
  params.width = static_cast<int>(op.x.shape[2]);
  params.channels = convolution.inChannels;
  params.type = type_;
  Check(kernels::LaunchDecoderOutput(params, stream_), "decoder output");
}

void CudaExecutor::run(const FinishPicture& op) {
  enter();
  paths_.requireWish();  // everything that makes a picture has been enqueued by now
  if (const auto download = downloads_.find(op.out.data); download != downloads_.end())
    Check(cudaStreamWaitEvent(stream_, download->second, 0), "a picture that is still being downloaded");
  kernels::ColourMatchParams match;
  match.kind = op.match == ColourMatch::Adain     ? kernels::ColourMatchKind::kAdain
               : op.match == ColourMatch::Wavelet ? kernels::ColourMatchKind::kWavelet
                                                  : kernels::ColourMatchKind::kNone;
  match.decoded = static_cast<const float*>(op.decoded.data);
  match.frame = static_cast<const std::uint8_t*>(op.frame.data);
  match.out = static_cast<float*>(op.matched.data);
  match.width = static_cast<int>(geometry_.width);
  match.height = static_cast<int>(geometry_.height);
  match.contentWidth = static_cast<int>(geometry_.contentWidth);
  match.contentHeight = static_cast<int>(geometry_.contentHeight);
  match.scratch = scratch_.match;
  Check(kernels::LaunchColourMatch(match, stream_), "colour match");
  kernels::PackPictureParams pack;
  pack.planes = match.out;
  pack.out = static_cast<std::uint8_t*>(op.out.data);
  pack.width = match.width;
  pack.height = match.height;
  pack.contentWidth = match.contentWidth;
  pack.contentHeight = match.contentHeight;
  pack.yuv = op.format.pixels == PixelFormat::I420;
  pack.matrix = YuvMatrixOf(op.format);
  Check(kernels::LaunchPackPicture(pack, stream_), "packing a picture");
}

}  // namespace flashvsr::cuda
