#include "engine/network.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "engine/network_buffers.h"
#include "engine/rope_tables.h"

namespace flashvsr {
namespace {

constexpr std::int64_t kGroupsOfFirstChunk = kFirstChunkLatents / 2;

ExecutorLimits LimitsOf(const NetworkOptions& options) {
  ExecutorLimits limits;
  limits.maxGroups = static_cast<int>(kGroupsOfFirstChunk);
  limits.maxKeyGroups =
      static_cast<int>(std::max<std::int64_t>(kGroupsOfFirstChunk, KvCache::Capacity(options.kvRatio) + 1));
  limits.maxSourceWidth = options.maxSourceWidth;
  limits.maxSourceHeight = options.maxSourceHeight;
  limits.wan = options.decoder == Decoder::Wan;
  return limits;
}

std::string Mebibytes(std::int64_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

}  // namespace

Network::Buffers::Buffers(ArenaLayout& layout, const NetworkOptions& options, const ModelDims& dims)
    : cache(layout, options.geometry, dims, options.kvRatio) {
  const Geometry& g = options.geometry;
  const std::int64_t h = g.tokenRows(), w = g.tokenColumns();
  std::int64_t mark = layout.position();
  cacheBytes = mark;

  for (Tensor& picture : lq) picture = layout.take(Storage::Byte, {g.height, g.width, 3});
  const std::int64_t outputBytes = TightPictureBytes(options.outputFormat.pixels, g.contentWidth, g.contentHeight);
  for (Tensor& bytes : output) bytes = layout.take(Storage::Byte, {outputBytes});
  pictureBytes = layout.position() - mark;
  mark = layout.position();

  const bool tiny = options.decoder == Decoder::Tiny;
  if (!tiny) wan.emplace(layout, g, dims.wanWidth, dims.latentChannels);
  for (std::size_t stage = 0; tiny && stage < 3; ++stage) {
    const std::int64_t rows = g.latentHeight() << stage, columns = g.latentWidth() << stage;
    for (Tensor& tensor : memory[stage])
      tensor = layout.take(Storage::Activation, {rows, columns, dims.decoderChannels[stage]});
  }
  latent = layout.take(Storage::Float, {dims.latentChannels, kFirstChunkLatents, g.latentHeight(), g.latentWidth()});
  decoderBytes = layout.position() - mark;
  mark = layout.position();

  for (Tensor& tensor : unshuffled) tensor = layout.take(Storage::Activation, {h, w, 768});
  for (Tensor& tensor : causal) tensor = layout.take(Storage::Activation, {h, w, dims.lqHidden[0]});
  rope.frames = layout.take(Storage::Float, {kFirstChunkLatents, kRopeFramePairs, 2});
  rope.rows = layout.take(Storage::Float, {h, kRopeSidePairs, 2});
  rope.columns = layout.take(Storage::Float, {w, kRopeSidePairs, 2});
  const std::int64_t groups = kGroupsOfFirstChunk, tokens = groups * g.groupTokens();
  if (options.debug) projected = layout.take(Storage::Float, {tokens, dims.dim});

  const std::int64_t shared = layout.position();
  x = layout.take(Storage::Residual, {tokens, dims.dim});
  const std::int64_t beforeFeatures = layout.position();
  features = layout.take(Storage::Activation, {tokens, dims.lqHidden[1]});
  // With one projected layer the features have been added to x before the first block wants work space.
  if (dims.lqLayers <= 1) layout.rewind(beforeFeatures);
  q = layout.take(Storage::Activation, {tokens, dims.dim});
  attention = layout.take(Storage::Activation, {tokens, dims.dim});
  hidden = layout.take(Storage::Activation, {g.groupTokens(), dims.ffn});
  queryMeans = layout.take(Storage::Float, {groups * g.windows(), dims.dim});
  const std::int64_t keyGroups = LimitsOf(options).maxKeyGroups;
  mask = layout.take(Storage::Byte, {dims.heads, g.windows() * g.windows() * std::max(groups * groups, keyGroups)});
  noise = layout.take(Storage::Float, {dims.latentChannels, kFirstChunkLatents, g.latentHeight(), g.latentWidth()});

  layout.rewind(shared);
  decoded = layout.take(Storage::Picture, {3, g.height, g.width});
  matched = layout.take(Storage::Picture, {3, g.height, g.width});
  if (wan) wan->takeWork(layout, g);
  else takeTinyWork(layout, g, dims);
  layout.skipToHighest();
  workspaceBytes = layout.position() - mark;
}

void Network::Buffers::takeTinyWork(ArenaLayout& layout, const Geometry& g, const ModelDims& dims) {
  decoderInput = layout.take(Storage::Activation, {g.latentHeight(), g.latentWidth(), 768 + dims.latentChannels});
  const std::int64_t temporary = layout.position();
  for (std::size_t stage = 0; stage < 3; ++stage) {
    const std::int64_t rows = g.latentHeight() << stage, columns = g.latentWidth() << stage;
    layout.rewind(temporary);
    blockA[stage] = layout.take(Storage::Activation, {rows, columns, dims.decoderChannels[stage]});
    blockB[stage] = layout.take(Storage::Activation, {rows, columns, dims.decoderChannels[stage]});
  }
  layout.rewind(temporary);
  fullA = layout.take(Storage::Activation, {g.height, g.width, dims.decoderChannels[3]});
  fullB = layout.take(Storage::Activation, {g.height, g.width, dims.decoderChannels[3]});
}

MemoryPlan Network::Plan(const Backend& backend, const PreparedModel& model, Precision precision,
                         const NetworkOptions& options) {
  ArenaLayout layout(nullptr, backend, precision);
  const Buffers buffers(layout, options, model.dims());
  MemoryPlan plan;
  plan.weightBytes = model.bytes();
  plan.kvCacheBytes = buffers.cacheBytes;
  plan.decoderBytes = buffers.decoderBytes;
  plan.pictureBytes = buffers.pictureBytes;
  plan.workspaceBytes = buffers.workspaceBytes + model.scratchBytes(options.geometry, LimitsOf(options));
  plan.streamBytes = plan.kvCacheBytes + plan.decoderBytes + plan.pictureBytes + plan.workspaceBytes;
  plan.availableBytes = backend.info().freeBytes;
  plan.fits = plan.streamBytes <= plan.availableBytes;
  plan.paddedWidth = static_cast<int>(options.geometry.width);
  plan.paddedHeight = static_cast<int>(options.geometry.height);
  plan.outputWidth = static_cast<int>(options.geometry.contentWidth);
  plan.outputHeight = static_cast<int>(options.geometry.contentHeight);
  plan.chunkFrames = kChunkFrames;
  plan.lookAheadFrames = kLookAheadFrames;
  if (!plan.fits)
    plan.message = "A stream of " + std::to_string(plan.outputWidth) + "x" + std::to_string(plan.outputHeight) +
                   " needs " + Mebibytes(plan.streamBytes) + " (key/value cache " + Mebibytes(plan.kvCacheBytes) +
                   ", decoder state " + Mebibytes(plan.decoderBytes) + ", pictures " + Mebibytes(plan.pictureBytes) +
                   ", work space " + Mebibytes(plan.workspaceBytes) + ") and " + Mebibytes(plan.availableBytes) +
                   " are free on " + backend.info().deviceName + ".";
  return plan;
}

Network::Network(const Backend& backend, std::shared_ptr<PreparedModel> model, Precision precision,
                 const NetworkOptions& options)
    : options_(options),
      model_(std::move(model)) {
  ArenaLayout counting(nullptr, backend, precision);
  const Buffers sizes(counting, options_, model_->dims());
  executor_ = model_->createExecutor(options_.geometry, LimitsOf(options_), counting.highest());
  layout_ = std::make_unique<ArenaLayout>(executor_->arena(), backend, precision);
  buffers_ = std::make_unique<Buffers>(*layout_, options_, model_->dims());
  reset();
}

Network::~Network() = default;

bool Network::adopt(const NetworkOptions& options) {
  if (options.geometry != options_.geometry || options.kvRatio != options_.kvRatio ||
      options.outputFormat.pixels != options_.outputFormat.pixels || options.decoder != options_.decoder ||
      options.debug != options_.debug)
    return false;
  options_ = options;  // staging for another source size grows by itself
  reset();
  return true;
}

void Network::reset() {
  first_ = true;
  clips_ = 0;
  frameSlots_.clear();
  lastPicture_.reset();
  for (std::size_t stage = 0; stage < 3; ++stage) {
    past_[stage] = {0, 1, 2};
    spare_[stage] = 3;
  }
  buffers_->cache.reset();
  // The decoder starts from zeros as the past.
  if (buffers_->wan) return buffers_->wan->reset(*executor_);
  for (auto& stage : buffers_->memory)
    for (Tensor& tensor : stage) executor_->fill(tensor, 0);
}

std::int64_t Network::TopK(const StreamSettings& settings, const Geometry& geometry, std::int64_t keyGroups) {
  const double ratio = settings.topkRatio ? *settings.topkRatio
                                          : settings.sparseRatio * 768.0 * 1280.0 /
                                                static_cast<double>(geometry.height * geometry.width);
  const std::int64_t windows = geometry.windows();
  const std::int64_t topk = static_cast<std::int64_t>(std::floor(static_cast<double>(windows * windows) * ratio)) - 1;
  if (topk < 0)
    throw Error("engine.settings", ErrorScope::Frame,
                "sparseRatio " + std::to_string(settings.sparseRatio) + " keeps no attention window at " +
                    std::to_string(geometry.width) + "x" + std::to_string(geometry.height) + ".",
                "Give a sparseRatio of at least 0.1.");
  return std::min(topk, windows * keyGroups * windows - 1);
}

std::pair<std::size_t, std::size_t> ChunkInFlight::nextOutputs() const {
  const int dropped = latents == kFirstChunkLatents ? kDroppedFrames : 0, first = revealed * 4 - dropped;
  return {static_cast<std::size_t>(std::max(first, 0)), static_cast<std::size_t>(first + 4)};
}

ChunkInFlight Network::run(ChunkRequest request, const NetworkHooks* hooks) {
  ChunkInFlight flight;
  begin(std::move(request), flight, hooks);
  while (!flight.wholly()) flight.fence = reveal(flight, hooks).fence;
  return flight;
}

PartInFlight Network::begin(ChunkRequest request, ChunkInFlight& flight, const NetworkHooks* hooks) {
  const int frames = first_ ? kFirstChunkFrames : kChunkFrames;
  const int latents = first_ ? kFirstChunkLatents : kChunkLatents;
  const int outputs = first_ ? kFirstChunkOutputs : kChunkFrames;
  if (static_cast<int>(request.pictures.size()) != frames || static_cast<int>(request.outputs.size()) != outputs)
    FailInternal("a chunk of " + std::to_string(request.pictures.size()) + " pictures and " +
                 std::to_string(request.outputs.size()) + " outputs was given where " + std::to_string(frames) +
                 " and " + std::to_string(outputs) + " belong");
  flight.request = std::move(request);
  flight.latents = latents;
  flight.revealed = 0;
  executor_->mark(Stage::Import);
  importFrames(flight.request);
  executor_->mark(Stage::Project);
  project(latents / 2, hooks);
  executor_->mark(Stage::Denoise);
  denoise(flight.request, latents / 2, flight, hooks);
  executor_->mark(Stage::Idle);
  decodedInChunk_ = first_ ? -kDroppedFrames : 0;
  // The frames that the next chunk still shows: the last four.
  while (frameSlots_.size() > kLookAheadFrames) frameSlots_.pop_front();
  first_ = false;
  return {{}, executor_->fence()};
}

void Network::importFrames(const ChunkRequest& request) {
  std::array<bool, kLqSlots> used{};
  for (const int slot : frameSlots_) used[static_cast<std::size_t>(slot)] = true;
  chunkFrames_.clear();
  for (const auto& picture : request.pictures) {
    // A copy of the frame before it (cold start, slow source, flush) is the same LQ picture.
    if (picture == lastPicture_ && !frameSlots_.empty()) {
      frameSlots_.push_back(frameSlots_.back());
    } else {
      const auto free = std::find(used.begin(), used.end(), false);
      if (free == used.end()) FailInternal("no free slot for an LQ picture");
      const int slot = static_cast<int>(free - used.begin());
      used[static_cast<std::size_t>(slot)] = true;
      ImportPicture op;
      op.host = picture->data.get();
      op.format = picture->format;
      op.width = picture->width;
      op.height = picture->height;
      op.out = buffers_->lq[static_cast<std::size_t>(slot)];
      executor_->run(op);
      frameSlots_.push_back(slot);
      lastPicture_ = picture;
    }
    chunkFrames_.push_back(buffers_->lq[static_cast<std::size_t>(frameSlots_.back())]);
  }
  outputFrames_.clear();
  for (std::size_t i = 0; i < request.outputs.size(); ++i)
    outputFrames_.push_back(buffers_->lq[static_cast<std::size_t>(frameSlots_[i])]);
}

}  // namespace flashvsr
