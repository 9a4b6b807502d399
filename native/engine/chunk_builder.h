// Gathers pushed frames into chunks: cold start, repeats for slow sources, flush. Pure: no device, no thread, time is
// an argument. Not thread-safe; the stream locks around it.
//
// A chunk takes 25 (the first) or 8 places. Places hold real frames, virtual earlier copies of the first real frame
// (cold start) or repeats of the last one (deadline, flush). A chunk's outputs are its first 21, or the 4 places the
// chunk before kept back and its own first 4; only places with a real frame come out, each exactly once.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "engine/network.h"

namespace flashvsr {

// A pushed frame.
struct GatheredFrame {
  std::shared_ptr<const SourcePicture> picture;
  std::int64_t frameIndex = 0;
  std::int64_t mediaTime = 0;
  std::int64_t arrivedUs = 0;
};

struct GatheredChunk {
  bool first = false;
  std::vector<std::shared_ptr<const SourcePicture>> pictures;  // 25 or 8
  std::vector<std::optional<GatheredFrame>> outputs;           // 21 or 8; absent: not delivered
  std::vector<GatheredFrame> taken;                            // pushed frames among the pictures, in order
  int repeats = 0;                                             // copies of the last frame among the pictures
};

class ChunkBuilder {
 public:
  // coldStartFrames 1..25; deadlineUs 0: no deadline.
  ChunkBuilder(int coldStartFrames, std::int64_t deadlineUs);

  void push(GatheredFrame frame);
  // No frame after this belongs to what is gathered now: chunks are filled up with repeats until all are out.
  void flush() { flushing_ = true; }
  bool flushing() const { return flushing_; }
  // Flushing and nothing is left to come out.
  bool drained() const { return flushing_ && waiting_.empty() && !heldBack(); }

  // Is there a chunk at this time?
  bool ready(std::int64_t nowUs) const;
  // When ready() will become true without another push; nothing when only a push helps.
  std::optional<std::int64_t> deadlineUs() const;
  // The next chunk, filled up with repeats where frames lack. At least one frame must be waiting or held back.
  GatheredChunk take();

  // When the first frame arrived that the next chunk brings out; nothing when there is none.
  std::optional<std::int64_t> oldestUs() const;
  // Pushed and in no chunk yet.
  int waiting() const { return static_cast<int>(waiting_.size()); }
  // A real frame that is in a chunk and has not come out.
  bool heldBack() const;
  // Back to the state before the first push (cold); waiting frames stay.
  void restart();

 private:
  struct Place {
    std::shared_ptr<const SourcePicture> picture;
    std::optional<GatheredFrame> frame;  // absent: a copy
  };

  int wanted() const { return first_ ? coldStartFrames_ : kChunkFrames; }

  int coldStartFrames_;
  std::int64_t deadlineUs_;
  bool first_ = true, flushing_ = false;
  std::deque<GatheredFrame> waiting_;
  std::vector<Place> tail_;  // the last four places of the chunk before
  std::int64_t lastArrivedUs_ = 0;
};

}  // namespace flashvsr
