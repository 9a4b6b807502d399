// The Wan2.1 decoder of FlashVSR full in a stream: its tensors in the arena and the order of its operations
// (docs/flashvsr-full.md). One latent frame at a time: the stream's first makes one picture, every later one four.
// Every causal convolution keeps its input of the last two time steps, so chunks of any length give the same pictures.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "engine/arena_layout.h"
#include "weights/wan_layers.h"

namespace flashvsr {

class WanDecoder {
 public:
  WanDecoder(const WanDecoder&) = delete;  // histories point into it
  WanDecoder& operator=(const WanDecoder&) = delete;

  // A causal convolution's input of the last two time steps. The one of now is written into a spare tensor that all
  // histories of the same shape share, and the oldest becomes the spare.
  struct History {
    Tensor earlier, previous;
    Tensor* now = nullptr;

    void advance() { *now = std::exchange(earlier, std::exchange(previous, *now)); }
  };
  struct Hooks {
    std::function<void(const Tensor& picture)> onPicture;
    // "conv1", "middle", "up3", "up7", "up11", "up14" as the goldens name them; may be empty.
    std::function<void(const std::string& name, const Tensor& tensor)> onTensor;
  };

  // What is kept from one latent frame to the next.
  WanDecoder(ArenaLayout& layout, const Geometry& geometry, std::int64_t width, std::int64_t latentChannels);
  // What only lives while decode() runs, and may share its place with others' work.
  void takeWork(ArenaLayout& layout, const Geometry& geometry);

  // The next latent frame is a stream's first.
  void reset(Executor& executor);
  // latent: Float (16, f, H/8, W/8), of which frame `latentFrame`; picture: Picture (3, H, W), overwritten for every
  // picture.
  void decode(Executor& executor, const Tensor& latent, int latentFrame, const Tensor& picture, const Hooks& hooks);

 private:
  struct Level {
    Tensor a, b;  // (rows, columns, the level's most channels): a block reads one and leaves its result in the other
    Tensor shortcut;  // where a block's sizes differ
  };
  // Blocks `block` and on, of one time step; x lies in level.a or level.b.
  void step(Executor& executor, int block, Tensor x, const Tensor& picture, const Hooks& hooks);
  void grow(Executor& executor, int block, const Tensor& x, const Tensor& picture, const Hooks& hooks);
  Tensor residual(Executor& executor, int block, const Tensor& x);
  Tensor other(int block, const Tensor& x, std::int64_t channels) const;
  template <typename Visit>
  void eachHistory(const Visit& visit);

  std::int64_t width_;
  std::map<std::pair<int, std::int64_t>, Tensor> spares_;  // by level and channels
  std::array<std::array<History, 2>, kWanBlocks.size()>
      histories_;  // Residual: First and Second; GrowTime: Time in [0]
  History entry_, head_;
  std::array<Level, kWanLevels> levels_;
  bool first_ = true;
};

}  // namespace flashvsr
