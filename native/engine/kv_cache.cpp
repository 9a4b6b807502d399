#include "engine/kv_cache.h"

#include <algorithm>
#include <cmath>

namespace flashvsr {

std::int64_t KvCache::Capacity(double kvRatio) {
  return std::max<std::int64_t>(2, static_cast<std::int64_t>(std::floor(kvRatio)));
}

KvCache::KvCache(ArenaLayout& layout, const Geometry& geometry, const ModelDims& dims, double kvRatio)
    : keep_(static_cast<std::int64_t>(std::floor(kvRatio))),
      held_(static_cast<std::size_t>(dims.layers)) {
  const std::int64_t tokens = geometry.groupTokens();
  for (std::int64_t i = 0; i < SlotCount(dims.layers, kvRatio); ++i) {
    KvSlot slot;
    slot.keys = layout.take(Storage::Cache, {tokens, dims.dim});
    slot.values = layout.take(Storage::Cache, {tokens, dims.dim});
    slot.means = layout.take(Storage::Float, {geometry.windows(), dims.dim});
    slots_.push_back(slot);
  }
  reset();
}

void KvCache::reset() {
  for (auto& held : held_) held.clear();
  free_.clear();
  for (int i = static_cast<int>(slots_.size()) - 1; i >= 0; --i) free_.push_back(i);
}

std::vector<KvSlot> KvCache::begin(std::int64_t layer, std::int64_t groups) {
  std::vector<KvSlot> taken;
  for (std::int64_t i = 0; i < groups; ++i) {
    if (free_.empty()) FailInternal("key/value cache: no free slot for layer " + std::to_string(layer));
    held_[static_cast<std::size_t>(layer)].push_back(free_.back());
    taken.push_back(slots_[static_cast<std::size_t>(free_.back())]);
    free_.pop_back();
  }
  return taken;
}

std::vector<KvSlot> KvCache::visible(std::int64_t layer) const {
  std::vector<KvSlot> all;
  for (const int index : held_[static_cast<std::size_t>(layer)]) all.push_back(slots_[static_cast<std::size_t>(index)]);
  return all;
}

void KvCache::end(std::int64_t layer) {
  auto& held = held_[static_cast<std::size_t>(layer)];
  if (static_cast<std::int64_t>(held.size()) <= keep_) return;
  free_.push_back(held.front());
  held.pop_front();
}

}  // namespace flashvsr
