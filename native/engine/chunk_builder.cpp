#include "engine/chunk_builder.h"

#include <algorithm>

namespace flashvsr {

ChunkBuilder::ChunkBuilder(int coldStartFrames, std::int64_t deadlineUs)
    : coldStartFrames_(coldStartFrames),
      deadlineUs_(deadlineUs) {}

void ChunkBuilder::push(GatheredFrame frame) {
  lastArrivedUs_ = frame.arrivedUs;
  waiting_.push_back(std::move(frame));
}

bool ChunkBuilder::heldBack() const {
  return std::any_of(tail_.begin(), tail_.end(), [](const Place& place) { return place.frame.has_value(); });
}

std::optional<std::int64_t> ChunkBuilder::deadlineUs() const {
  if (deadlineUs_ <= 0) return std::nullopt;
  // The first frame of the chunk that is being gathered; when there is none, the last frame that still waits for what
  // comes after it.
  if (!waiting_.empty()) return waiting_.front().arrivedUs + deadlineUs_;
  if (heldBack()) return lastArrivedUs_ + deadlineUs_;
  return std::nullopt;
}

std::optional<std::int64_t> ChunkBuilder::oldestUs() const {
  for (const Place& place : tail_)
    if (place.frame) return place.frame->arrivedUs;
  if (!waiting_.empty()) return waiting_.front().arrivedUs;
  return std::nullopt;
}

bool ChunkBuilder::ready(std::int64_t nowUs) const {
  if (waiting() >= wanted()) return true;
  if (flushing_) return !waiting_.empty() || heldBack();
  const std::optional<std::int64_t> deadline = deadlineUs();
  return deadline.has_value() && nowUs >= *deadline;
}

GatheredChunk ChunkBuilder::take() {
  GatheredChunk chunk;
  chunk.first = first_;
  std::vector<Place> places;
  if (first_ && !waiting_.empty()) {
    const int copies = kFirstChunkFrames - coldStartFrames_;
    for (int i = 0; i < copies; ++i) places.push_back({waiting_.front().picture, std::nullopt});
    // So few real frames that none would come out of this chunk: the last copy that does stands for the first one.
    if (copies >= kFirstChunkOutputs) places[kFirstChunkOutputs - 1].frame = waiting_.front();
  }
  const int wantedFrames = wanted();
  for (int i = 0; i < wantedFrames; ++i) {
    if (waiting_.empty()) {
      const std::vector<Place>& before = places.empty() ? tail_ : places;
      places.push_back({before.back().picture, std::nullopt});
      ++chunk.repeats;
      continue;
    }
    const bool alreadyOut = first_ && i == 0 && kFirstChunkFrames - coldStartFrames_ >= kFirstChunkOutputs;
    Place place{waiting_.front().picture, std::nullopt};
    if (!alreadyOut) place.frame = waiting_.front();
    chunk.taken.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    places.push_back(std::move(place));
  }
  for (const Place& place : places) chunk.pictures.push_back(place.picture);
  const int outputs = first_ ? kFirstChunkOutputs : kChunkFrames;
  std::vector<Place> all = std::move(tail_);
  all.insert(all.end(), std::make_move_iterator(places.begin()), std::make_move_iterator(places.end()));
  for (int i = 0; i < outputs; ++i) chunk.outputs.push_back(std::move(all[static_cast<std::size_t>(i)].frame));
  tail_.assign(std::make_move_iterator(all.begin() + outputs), std::make_move_iterator(all.end()));
  first_ = false;
  return chunk;
}

void ChunkBuilder::restart() {
  first_ = true;
  flushing_ = false;
  tail_.clear();
}

}  // namespace flashvsr
