// One stream: its queues (any thread) and its network (the engine's thread).
#pragma once

#include <deque>
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
  void resize(int sourceWidth, int sourceHeight) override;
  void close() override;
  StreamStats stats() const override;
  int outputWidth() const override;
  int outputHeight() const override;

  // ---- the engine's thread ----
  enum class Work { None, Chunk, Marker, Close };
  // What there is to do now; `wakeUs` is lowered to when there may be something without a signal.
  Work poll(std::int64_t nowUs, std::optional<std::int64_t>& wakeUs);
  // Enqueues the next chunk; every submit() is followed by a deliver(), in order.
  void submit();
  void deliver();
  // The oldest chunk on the device is done: deliver() will not wait.
  bool oldestDone() const { return inFlight_.front().device.fence->done(); }
  // The flush or the resize that has been reached.
  void passMarker();
  // The last calls to the listener; frees the stream's memory.
  void finish(const Error* error);
  void reportError(const Error& error) { listener_->onError(error); }

 private:
  struct Flush {
    std::uint64_t id;
  };
  struct Resize {
    int width, height;
  };
  using Entry = std::variant<GatheredFrame, Flush, Resize>;
  struct InFlight {
    ChunkInFlight device;
    GatheredChunk chunk;
    StreamOptions options;
    Geometry geometry;
    std::int64_t index;
  };

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
  int submitted_ = 0;  // chunks on the device
  StreamStats stats_;
  std::unique_ptr<Network> network_;
  HostPool inputs_;
  HostPool outputs_;

  // The engine's thread only.
  std::deque<InFlight> inFlight_;
  std::unique_ptr<RecordingWriter> recording_;
};

}  // namespace flashvsr
