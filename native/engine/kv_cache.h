// The key/value cache: a pool of window-group slots that never move. Every layer owns the slots of its cached groups,
// in time order; one spare goes round. A layer writes its new group into free slots, attends, then lets the oldest go,
// which becomes the next layer's spare: layers * capacity + 1 slots in all, and nothing is ever copied.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "engine/arena_layout.h"

namespace flashvsr {

class KvCache {
 public:
  // Cached groups a layer can hold between chunks: chunk 0 brings three and lets one go at most.
  static std::int64_t Capacity(double kvRatio);
  static std::int64_t SlotCount(std::int64_t layers, double kvRatio) { return layers * Capacity(kvRatio) + 1; }

  KvCache(ArenaLayout& layout, const Geometry& geometry, const ModelDims& dims, double kvRatio);

  // Slots for `groups` new groups of `layer`, to be written by AttentionInput.
  std::vector<KvSlot> begin(std::int64_t layer, std::int64_t groups);
  // Everything the layer attends to: cached groups, then the new ones, in time order.
  std::vector<KvSlot> visible(std::int64_t layer) const;
  // Keeps the new groups; drops the one oldest when there are more than floor(kvRatio).
  void end(std::int64_t layer);

  std::int64_t cachedGroups(std::int64_t layer) const {
    return static_cast<std::int64_t>(held_[static_cast<std::size_t>(layer)].size());
  }
  void reset();

 private:
  std::int64_t keep_;
  std::vector<KvSlot> slots_;
  std::vector<int> free_;
  std::vector<std::deque<int>> held_;  // by layer, oldest first
};

}  // namespace flashvsr
