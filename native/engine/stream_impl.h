// One stream: its queues (any thread) and its network (the engine's thread).
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <variant>

#include "engine/chunk_builder.h"
#include "engine/engine_core.h"
#include "engine/host_pool.h"
#include "engine/network.h"
#include "engine/recording.h"

namespace flashvsr {

class StreamImpl final : public Stream, public std::enable_shared_from_this<StreamImpl> {
 public:
  // Allocates the stream's memory. Throws Error "engine.memory".
  StreamImpl(std::shared_ptr<EngineCore> core, const StreamOptions& options, std::shared_ptr<StreamListener> listener);

  PushResult push(const FrameView& picture, std::int64_t mediaTime) override;
  bool ready() const override;
  void update(const StreamSettings& settings) override;
  std::uint64_t flush() override;
  void close() override;
  StreamStats stats() const override;
  int outputWidth() const override;
  int outputHeight() const override;

  // ---- the engine's thread ----
  enum class Work { None, Chunk, Reveal, Marker, Close };
  struct Turn {
    Work work = Work::None;
    std::int64_t dueUs = 0;  // the smallest goes first: when the oldest picture arrived that the work brings out
  };
  // What there is to do now; `wakeUs` is lowered to when there may be something without a signal.
  Turn poll(std::int64_t nowUs, std::optional<std::int64_t>& wakeUs) const;
  // Enqueues the next part of a chunk, which starts after `before` when that is given. @returns the part's fence, which
  // lives until deliver() has said that the part is done.
  const Fence* submit(Work work, const Fence* before);
  // Delivers the finished pictures of the oldest part, without waiting. @returns true when the whole part is.
  bool deliver();
  // The flush that has been reached.
  void passMarker();
  // The last calls to the listener; frees the stream's memory, or never frees it when the device `hangs`.
  void finish(const Error* error, bool hangs = false);
  void reportError(const Error& error) { listener_->onError(error); }

 private:
  struct Flush {
    std::uint64_t id;
  };
  using Entry = std::variant<GatheredFrame, Flush>;
  struct InFlight {
    ChunkInFlight device;
    GatheredChunk chunk;
    StreamOptions options;
    Geometry geometry;
    std::int64_t index = 0;
    std::array<double, kStages> ms{};  // of the parts that are done
  };
  struct Part {
    std::shared_ptr<InFlight> chunk;
    PartInFlight device;
    std::size_t delivered = 0;  // pictures
  };

  void submitChunk(Part& part);
  void countWork(InFlight& chunk, const Fence& fence);
  // @returns false when the stream is closing: nothing more comes out.
  bool deliverPicture(InFlight& chunk, std::size_t output);
  void record(const std::function<void(RecordingWriter&)>& write);

  int queuedLocked() const;
  // Frames up to the next marker go to the builder.
  void advanceLocked();

  const std::shared_ptr<EngineCore> core_;
  const std::shared_ptr<StreamListener> listener_;

  mutable std::mutex mutex_;
  StreamOptions options_;
  StreamSettings settings_;
  Geometry geometry_;
  ChunkBuilder builder_;
  std::deque<Entry> later_;  // from the first marker on
  int laterFrames_ = 0;
  bool closing_ = false, closed_ = false;
  std::int64_t nextFrame_ = 0;
  std::uint64_t nextFlush_ = 1;
  std::int64_t position_ = 0;
  StreamStats stats_;
  std::unique_ptr<Network> network_;
  HostPool inputs_;
  HostPool outputs_;

  // The engine's thread only.
  std::deque<Part> parts_;               // on the device, oldest first
  std::shared_ptr<InFlight> revealing_;  // the newest chunk, until its last part is on the device
  std::unique_ptr<RecordingWriter> recording_;
};

}  // namespace flashvsr
