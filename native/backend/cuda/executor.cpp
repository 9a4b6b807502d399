#include "backend/cuda/executor.h"

#include <algorithm>

#include "kernels/colour_match.h"
#include "kernels/norm.h"
#include "kernels/rotate_round.h"

namespace flashvsr::cuda {

using kernels::DataType;
using kernels::SizeOf;

namespace {
// Of scores of the Wan2.1 decoder's attention at a time.
constexpr std::int64_t kWanScoreBytes = 64 << 20;
}  // namespace

void Scratch::layOut(const ModelDims& dims, DataType type, const EightBitPlan& eightBits, const Geometry& geometry,
                     const ExecutorLimits& limits, Bump& bump) {
  workspace = bump.bytes(LinearRunner::kWorkspaceBytes);
  const std::int64_t group = geometry.groupTokens(), tokens = limits.maxGroups * group, element = SizeOf(type);
  const std::int64_t rows = dims.heads * limits.maxGroups * geometry.windows();
  const std::int64_t columns = std::max(limits.maxKeyGroups, limits.maxGroups) * geometry.windows();
  counts = static_cast<int*>(bump.bytes(rows * 4));
  if (eightBits.int8) rowScales = bump.floats(tokens);
  // Each of these sets is alive during one operation only, so they share the room of the largest.
  const std::int64_t start = bump.used();
  std::int64_t most = 0;
  std::byte* const base = static_cast<std::byte*>(bump.bytes(0));
  const auto set = [&](const auto& lay) {
    Bump part(base);
    lay(part);
    most = std::max(most, part.used());
  };
  set([&](Bump& part) {
    normed = part.bytes(group * dims.dim * element);
    queryKeys = part.bytes(group * 2 * dims.dim * element);
    if (eightBits.attention) values = part.bytes(group * dims.dim);
    headRows = part.floats(tokens * dims.latentChannels * 4);
  });
  set([&](Bump& part) { patchRows = part.bytes(tokens * dims.latentChannels * 4 * element); });
  set([&](Bump& part) { probabilities = part.floats(rows * columns); });
  set([&](Bump& part) { entries = static_cast<std::uint32_t*>(part.bytes(rows * columns * 4)); });
  set([&](Bump& part) {
    convolved = part.bytes(2 * geometry.tokenRows() * geometry.tokenColumns() * dims.lqHidden[1] * element);
  });
  set([&](Bump& part) {
    const int width = static_cast<int>(geometry.contentWidth), height = static_cast<int>(geometry.contentHeight);
    match = part.bytes(std::max(kernels::ColourMatchScratchBytes(kernels::ColourMatchKind::kAdain, width, height),
                                kernels::ColourMatchScratchBytes(kernels::ColourMatchKind::kWavelet, width, height)));
  });
  if (limits.wan)
    set([&](Bump& part) {
      const std::int64_t positions = geometry.latentHeight() * geometry.latentWidth(), width = 4 * dims.wanWidth;
      wanNormed = part.bytes(positions * width * element);
      wanQueryKeys = part.bytes(positions * 2 * width * element);
      wanValues = part.bytes(positions * width * element);
      wanAttended = part.bytes(positions * width * element);
      wanRows = std::clamp<std::int64_t>(kWanScoreBytes / (positions * 4) / 128 * 128, 128, positions);
      wanScores = part.floats(wanRows * positions);
      wanProbabilities = part.bytes(wanRows * positions * element);
    });
  if (limits.wan) set([&](Bump& part) { wanPicture = part.floats(geometry.height * geometry.width * 4); });
  bump.bytes(most - (bump.used() - start));
}

std::int64_t CudaModel::scratchBytes(const Geometry& geometry, const ExecutorLimits& limits) const {
  Bump bump(nullptr);
  Scratch plan;
  plan.layOut(dims_, type_, eightBits_, geometry, limits, bump);
  // Staging of a source of the planned size: picture, RGB, the half-resized picture and the two axes' tables.
  const std::int64_t source = static_cast<std::int64_t>(limits.maxSourceWidth) * limits.maxSourceHeight;
  const std::int64_t tables = (geometry.contentWidth + geometry.contentHeight) * 24 * 4;
  return bump.used() + source * 3 * (kPicturesIn + 1) + geometry.contentWidth * limits.maxSourceHeight * 3 + tables;
}

std::unique_ptr<Executor> CudaModel::createExecutor(const Geometry& geometry, const ExecutorLimits& limits,
                                                    std::int64_t arenaBytes) {
  Check(cudaSetDevice(device_), "choosing the device");
  return std::make_unique<CudaExecutor>(shared_from_this(), geometry, limits, arenaBytes);
}

CudaExecutor::CudaExecutor(std::shared_ptr<const CudaModel> model, const Geometry& geometry,
                           const ExecutorLimits& limits, std::int64_t arenaBytes)
    : model_(std::move(model)),
      geometry_(geometry),
      type_(model_->type()),
      dim_(model_->dims().dim),
      linears_(type_, model_->path(), nullptr, nullptr),
      events_(std::make_shared<EventPool>(model_->device())) {
  Bump count(nullptr);
  Scratch().layOut(model_->dims(), type_, model_->eightBits(), geometry, limits, count);
  const std::int64_t arena = (arenaBytes + 255) / 256 * 256;
  memory_ = DeviceMemory(arena + count.used(), "The stream's buffers");
  Bump bump(memory_.data() + arena);
  scratch_.layOut(model_->dims(), type_, model_->eightBits(), geometry, limits, bump);
  // Poison: a read of something that was never written must not look like a picture.
  Check(cudaMemset(memory_.data(), 0xFF, static_cast<std::size_t>(memory_.bytes())), "clearing the arena");
  Check(cudaDeviceSynchronize(), "clearing the arena");
  for (cudaStream_t* stream : {&stream_, &in_, &out_})
    Check(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), "cudaStreamCreate");
  linears_ = LinearRunner(type_, model_->path(), model_->lt(), scratch_.workspace);
  if (limits.maxSourceWidth > 0 && limits.maxSourceHeight > 0)
    prepareSource(limits.maxSourceWidth, limits.maxSourceHeight);
}

CudaExecutor::~CudaExecutor() {
  cudaSetDevice(model_->device());
  for (cudaStream_t stream : {stream_, in_, out_}) {
    if (stream == nullptr) continue;
    cudaStreamSynchronize(stream);
    cudaStreamDestroy(stream);
  }
  for (const StageMark& mark : marks_) events_->give(mark.event);
  for (cudaEvent_t event : read_)
    if (event != nullptr) events_->give(event);
  for (const auto& [address, event] : downloads_) events_->give(event);
}

void CudaExecutor::enter() const { Check(cudaSetDevice(model_->device()), "choosing the device"); }

std::int64_t CudaExecutor::bytesOf(const Tensor& tensor) const {
  switch (tensor.storage) {
    case Storage::Byte:
      return tensor.elements();
    case Storage::Float:
    case Storage::Picture:
      return tensor.elements() * 4;
    case Storage::Cache:
      return tensor.elements() * SizeOf(model_->cacheType());
    default:
      return tensor.elements() * SizeOf(type_);
  }
}

std::shared_ptr<std::uint8_t[]> CudaExecutor::allocateHost(std::size_t bytes) {
  enter();
  void* data = nullptr;
  Check(cudaHostAlloc(&data, std::max<std::size_t>(bytes, 1), cudaHostAllocPortable), "cudaHostAlloc");
  return {static_cast<std::uint8_t*>(data), [](std::uint8_t* p) { cudaFreeHost(p); }};
}

void CudaExecutor::upload(const Tensor& to, const void* host) {
  enter();
  Check(cudaMemcpyAsync(to.data, host, static_cast<std::size_t>(bytesOf(to)), cudaMemcpyHostToDevice, stream_),
        "upload");
}

void CudaExecutor::download(void* host, const Tensor& from) {
  enter();
  order(stream_, out_);
  Check(cudaMemcpyAsync(host, from.data, static_cast<std::size_t>(bytesOf(from)), cudaMemcpyDeviceToHost, out_),
        "download");
  cudaEvent_t& done = downloads_[from.data];
  if (done == nullptr) done = events_->take();
  Check(cudaEventRecord(done, out_), "cudaEventRecord");
  downloaded_ = true;
}

// A wait takes the event as it is recorded now, so the event can go back at once.
void CudaExecutor::order(cudaStream_t earlier, cudaStream_t later) {
  cudaEvent_t event = events_->take();
  const cudaError_t recorded = cudaEventRecord(event, earlier);
  const cudaError_t waiting = recorded == cudaSuccess ? cudaStreamWaitEvent(later, event, 0) : recorded;
  events_->give(event);
  Check(waiting, "ordering two queues");
}

void CudaExecutor::after(const Fence& fence) {
  enter();
  Check(cudaStreamWaitEvent(stream_, static_cast<const CudaFence&>(fence).end(), 0), "ordering two streams");
}

void CudaExecutor::fill(const Tensor& tensor, std::uint8_t byte) {
  enter();
  Check(cudaMemsetAsync(tensor.data, byte, static_cast<std::size_t>(bytesOf(tensor)), stream_), "fill");
}

void CudaExecutor::copy(const Tensor& to, const Tensor& from) {
  if (bytesOf(to) != bytesOf(from)) FailInternal("copy: sizes differ");
  enter();
  Check(cudaMemcpyAsync(to.data, from.data, static_cast<std::size_t>(bytesOf(from)), cudaMemcpyDeviceToDevice, stream_),
        "copy");
}

std::vector<float> CudaExecutor::read(const Tensor& tensor) {
  enter();
  Check(cudaStreamSynchronize(stream_), "reading a tensor");
  if (tensor.storage == Storage::Byte) {
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(tensor.elements()));
    Check(cudaMemcpy(bytes.data(), tensor.data, bytes.size(), cudaMemcpyDeviceToHost), "reading a tensor");
    return {bytes.begin(), bytes.end()};
  }
  if (tensor.storage == Storage::Cache && model_->eightBits().attention)
    FailInternal("the fp8 cache has no plain form to read");
  const bool floats = tensor.storage == Storage::Float || tensor.storage == Storage::Picture;
  return ReadDevice(tensor.data, floats ? DataType::kFloat32 : type_, tensor.elements());
}

void CudaExecutor::write(const Tensor& tensor, std::span<const float> values) {
  if (static_cast<std::int64_t>(values.size()) != tensor.elements()) FailInternal("write: element counts differ");
  if (tensor.storage == Storage::Cache && model_->eightBits().attention)
    FailInternal("the fp8 cache has no plain form to write");
  enter();
  Check(cudaStreamSynchronize(stream_), "writing a tensor");
  const auto put = [&](const void* data) {
    Check(cudaMemcpy(tensor.data, data, static_cast<std::size_t>(bytesOf(tensor)), cudaMemcpyHostToDevice),
          "writing a tensor");
  };
  if (tensor.storage == Storage::Byte) {
    std::vector<std::uint8_t> bytes(values.size());
    std::transform(values.begin(), values.end(), bytes.begin(), [](float v) { return static_cast<std::uint8_t>(v); });
    put(bytes.data());
  } else if (bytesOf(tensor) == tensor.elements() * 4) {
    put(values.data());
  } else {
    std::vector<std::uint16_t> bits(values.size());
    std::transform(values.begin(), values.end(), bits.begin(), FloatToBFloat16);
    put(bits.data());
  }
  // The default stream's copy and the executor's stream are not ordered by themselves.
  Check(cudaDeviceSynchronize(), "writing a tensor");
}

void CudaExecutor::mark(Stage stage) {
  enter();
  cudaEvent_t event = events_->take();
  marks_.push_back({stage, event});
  Check(cudaEventRecord(event, stream_), "cudaEventRecord");
}

std::unique_ptr<Fence> CudaExecutor::fence() {
  enter();
  cudaEvent_t end = events_->take(), copied = events_->take();
  auto fence = std::make_unique<CudaFence>(model_->device(), events_, std::exchange(marks_, {}), end, copied);
  Check(cudaEventRecord(end, stream_), "cudaEventRecord");
  const bool copies = std::exchange(downloaded_, false);
  if (copies) Check(cudaStreamWaitEvent(out_, end, 0), "cudaStreamWaitEvent");
  Check(cudaEventRecord(copied, copies ? out_ : stream_), "cudaEventRecord");
  return fence;
}

void CudaExecutor::layerNorm(const void* x, void* out, std::int64_t rows, const DeviceLinear& reader,
                             const float* weight, const float* bias, const float* scale, const float* shift) {
  if (reader.int8()) return rotateRound(x, out, dim_, rows, reader, true);
  kernels::LayerNormParams params;
  params.x = x;
  params.out = out;
  params.float8 = reader.float8();
  if (params.float8) {
    params.outputScale = reader.inputScale;
  } else {
    params.weight = weight;
    params.bias = bias;
    params.scale = scale;
    params.shift = shift;
  }
  params.rows = rows;
  params.width = static_cast<int>(dim_);
  params.type = type_;
  Check(kernels::LaunchLayerNorm(params, stream_), "LN");
}

void CudaExecutor::linear(const void* a, std::int64_t rows, const DeviceLinear& weight, void* out,
                          kernels::Activation activation, const void* residual, bool floatOut) {
  LinearCall call;
  call.a = a;
  call.lda = weight.k;
  call.rows = rows;
  call.weight = &weight;
  call.activation = activation;
  call.residual = residual;
  call.out = out;
  call.floatOut = floatOut;
  run(call);
}

void CudaExecutor::addLinear(void* a, std::int64_t rows, const DeviceLinear& weight, void* x) {
  LinearCall call;
  call.a = a;
  call.lda = weight.k;
  call.rows = rows;
  call.weight = &weight;
  call.residual = call.out = x;
  if (weight.int8()) {
    call.lda = weight.k * SizeOf(type_);
    rotateRound(a, a, call.lda, rows, weight, false);
  }
  run(call);
}

void CudaExecutor::rotateRound(const void* x, void* out, std::int64_t ldOut, std::int64_t rows,
                               const DeviceLinear& reader, bool norm) {
  kernels::RotateRoundParams params;
  params.x = x;
  params.out = out;
  params.scales = scratch_.rowScales;
  params.rows = rows;
  params.width = reader.k;
  params.ldOut = ldOut;
  params.rotation = reader.rotation;
  params.type = type_;
  params.norm = norm;
  Check(kernels::LaunchRotateRound(params, stream_), "an int8 operand");
}

void CudaExecutor::run(LinearCall call) {
  const DeviceLinear& weight = *call.weight;
  call.ldd = weight.n;
  if (weight.int8()) call.rowScales = scratch_.rowScales;  // the layer that made its operand came right before
  paths_.ran(linears_.run(call, stream_), Operation::Linear, call.rows, weight.n, weight.k);
}

}  // namespace flashvsr::cuda
