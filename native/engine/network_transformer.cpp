// Stages project and denoise of a chunk.
#include <algorithm>

#include "engine/network_buffers.h"
#include "engine/rope_tables.h"

namespace flashvsr {
namespace {

// Frames of the projector are counted in clips of four: frame 0 of the stream is the last of clip 0, number 3, and
// stands for its three copies and for everything before it.
int UnshuffledSlot(std::int64_t number) {
  return static_cast<int>(std::max<std::int64_t>(number, 3) % kUnshuffledSlots);
}
// Outputs of the first convolution: two a clip. Before the stream there is nothing: clip 0 makes no features.
int CausalSlot(std::int64_t number) { return static_cast<int>(number % kCausalSlots); }

}  // namespace

// The first chunk's 25 frames are clips 0..6, every later chunk's 8 are two clips.
void Network::project(int groups, const NetworkHooks* hooks) {
  const Geometry& g = options_.geometry;
  std::size_t next = 0;
  const auto unshuffle = [&](std::int64_t number) {
    executor_->run(
        UnshuffleFrame{chunkFrames_[next++], buffers_->unshuffled[static_cast<std::size_t>(UnshuffledSlot(number))]});
  };
  if (clips_ == 0) {
    unshuffle(3);
    projectClips(0, 1, nullptr);
  }
  for (int group = 0; group < groups; ++group) {
    for (std::int64_t number = clips_ * 4; number < clips_ * 4 + 8; ++number) unshuffle(number);
    const Tensor tokens = layout_->rows(buffers_->features, group * g.groupTokens(), g.groupTokens());
    projectClips(clips_, 2, &tokens);
  }
  if (hooks != nullptr && hooks->onTensor && buffers_->projected) {
    const Tensor features = layout_->rows(buffers_->features, 0, groups * g.groupTokens());
    const Tensor projected = layout_->rows(buffers_->projected, 0, groups * g.groupTokens());
    for (int j = 0; j < static_cast<int>(model_->dims().lqLayers); ++j) {
      executor_->run(AddProjected{j, features, {}, projected});
      hooks->onTensor("projected" + std::to_string(j), *executor_, projected);
    }
  }
}

// v1.1 looks back at the two frames before a clip; v1 takes the clip's own last two for them (section 5).
void Network::projectClips(std::int64_t firstClip, int clips, const Tensor* tokens) {
  const bool lookBack = model_->dims().variant == ModelVariant::V1_1;
  std::vector<std::array<int, 4>> taps;
  std::vector<Tensor> outputs;
  for (std::int64_t clip = firstClip; clip < firstClip + clips; ++clip) {
    const std::int64_t n = clip * 4;
    const std::int64_t before = lookBack ? n - 2 : n + 2;
    taps.push_back({UnshuffledSlot(before), UnshuffledSlot(before + 1), UnshuffledSlot(n), UnshuffledSlot(n + 1)});
    taps.push_back({UnshuffledSlot(n), UnshuffledSlot(n + 1), UnshuffledSlot(n + 2), UnshuffledSlot(n + 3)});
    for (std::int64_t i = 0; i < 2; ++i)
      outputs.push_back(buffers_->causal[static_cast<std::size_t>(CausalSlot(clip * 2 + i))]);
  }
  executor_->run(CausalConvolution{1, buffers_->unshuffled, taps, outputs, {}});
  if (tokens != nullptr) {
    taps.clear();
    for (std::int64_t clip = firstClip; clip < firstClip + clips; ++clip) {
      const std::int64_t n = clip * 2;
      const std::int64_t before = lookBack ? n - 2 : n;
      taps.push_back({CausalSlot(before), CausalSlot(before + 1), CausalSlot(n), CausalSlot(n + 1)});
    }
    executor_->run(CausalConvolution{2, buffers_->causal, taps, {}, *tokens});
  }
  clips_ += clips;
}

void Network::denoise(const ChunkRequest& request, int groups, ChunkInFlight& flight, const NetworkHooks* hooks) {
  const Geometry& g = options_.geometry;
  const ModelDims& dims = model_->dims();
  Buffers& b = *buffers_;
  const bool watch = hooks != nullptr && hooks->onTensor;
  const std::int64_t tokens = groups * g.groupTokens();
  const auto whole = [&](const Tensor& tensor) { return layout_->rows(tensor, 0, tokens); };

  const auto upload = [&](Tensor to, std::vector<float> values, std::int64_t rows) {
    to.shape[1] = rows;
    flight.uploads.push_back(std::move(values));
    executor_->upload(to, flight.uploads.back().data());
  };
  if (!sidesUploaded_) {
    upload(b.rope.rows, RopeTable(0, g.tokenRows(), kRopeSidePairs), g.tokenRows());
    upload(b.rope.columns, RopeTable(0, g.tokenColumns(), kRopeSidePairs), g.tokenColumns());
    sidesUploaded_ = true;
  }
  upload(b.rope.frames, RopeTable(request.position, groups * 2, kRopeFramePairs), groups * 2);

  const Tensor noise = Buffers::Frames(b.noise, groups * 2), latent = Buffers::Frames(b.latent, groups * 2);
  if (hooks != nullptr && hooks->skipDenoise) {
    if (hooks->injectLatent) hooks->injectLatent(*executor_, latent);
    return;
  }
  if (hooks != nullptr && hooks->injectNoise) {
    hooks->injectNoise(*executor_, noise);
  } else {
    executor_->run(Noise{request.settings.seed, request.position, noise});
  }
  const Tensor x = whole(b.x), q = whole(b.q), attention = whole(b.attention), features = whole(b.features);
  executor_->run(PatchEmbed{noise, x});
  const Tensor queryMeans = layout_->rows(b.queryMeans, 0, groups * g.windows());

  for (int layer = 0; layer < static_cast<int>(dims.layers); ++layer) {
    if (layer < static_cast<int>(dims.lqLayers)) executor_->run(AddProjected{layer, features, x, {}});
    const std::vector<KvSlot> fresh = b.cache.begin(layer, groups);
    executor_->run(AttentionInput{layer, x, b.rope, q, queryMeans, fresh});
    const std::vector<KvSlot> keys = b.cache.visible(layer);
    const std::int64_t keyGroups = static_cast<std::int64_t>(keys.size());
    Tensor mask = b.mask;
    mask.shape = {1, dims.heads, groups * g.windows(), keyGroups * g.windows()};
    executor_->run(
        SelectBlocks{queryMeans, keys, request.settings.localRange, TopK(request.settings, g, keyGroups), mask});
    if (watch) {
      hooks->onTensor("query_means." + std::to_string(layer), *executor_, queryMeans);
      for (std::int64_t i = 0; i < keyGroups; ++i)
        hooks->onTensor("key_means." + std::to_string(layer) + "." + std::to_string(i), *executor_,
                        keys[static_cast<std::size_t>(i)].means);
    }
    if (watch) hooks->onTensor("mask." + std::to_string(layer), *executor_, mask);
    if (hooks != nullptr && hooks->forceMask) hooks->forceMask(layer, *executor_, mask);
    executor_->run(SparseAttention{layer, q, keys, mask, attention});
    b.cache.end(layer);
    executor_->run(AttentionOutput{layer, attention, x});
    executor_->run(CrossAttention{layer, x, q, attention});
    // By groups, so that the widest intermediate is as large as a steady chunk's, also in chunk 0.
    for (int group = 0; group < groups; ++group) {
      const auto part = [&](const Tensor& tensor) {
        return layout_->rows(tensor, group * g.groupTokens(), g.groupTokens());
      };
      executor_->run(FeedForward{layer, part(x), part(q), b.hidden});
    }
    if (watch) hooks->onTensor("block." + std::to_string(layer), *executor_, x);
  }
  executor_->run(Head{x, noise, latent});
  if (watch) hooks->onTensor("latent", *executor_, latent);
  if (hooks != nullptr && hooks->injectLatent) hooks->injectLatent(*executor_, latent);
}

}  // namespace flashvsr
