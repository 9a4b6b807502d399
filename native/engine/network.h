// One stream's network: its buffers in an executor's arena and the order of operations of a chunk
// (project -> denoise -> reveal -> match; flashvsr-model.md sections 3 to 7). Knows nothing of queues, clocks or
// threads: a chunk goes in, operations are enqueued, Fences say when pictures are on the host. Used by one thread at a
// time.
//
// A chunk is enqueued in parts, so that pictures leave as soon as they are decoded and chunks of other streams can go
// between: begin() is import, project and denoise; each reveal() decodes one latent frame, four pictures, and finishes
// them.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "engine/arena_layout.h"
#include "engine/engine.h"
#include "engine/kv_cache.h"

namespace flashvsr {

inline constexpr int kFirstChunkFrames = 25, kFirstChunkOutputs = 21;
inline constexpr int kChunkFrames = 8, kLookAheadFrames = 4;
inline constexpr int kFirstChunkLatents = 6, kChunkLatents = 2;
// The first latent frame makes four pictures too; the stream's first three are dropped (section 6).
inline constexpr int kDroppedFrames = 3;

// A source picture in host memory (tight layout), alive until the chunk that imports it is done.
struct SourcePicture {
  PictureFormat format;
  int width = 0, height = 0;
  std::shared_ptr<const std::uint8_t[]> data;
};

struct NetworkOptions {
  Geometry geometry;
  double kvRatio = 3.0;  // lays out memory
  int maxSourceWidth = 0, maxSourceHeight = 0;
  PictureFormat outputFormat;
  Decoder decoder = Decoder::Tiny;
  bool debug = false;  // room for whole tensors that only tests look at
};

// What tests and the parity program see and replace inside a chunk. Tensors are valid during the call only.
struct NetworkHooks {
  // "projected{j}", "block.{i}" (x after block i), "query_means.{i}", "key_means.{i}.{group}", "mask.{i}" (before
  // forcing), "latent", "decoded.{frame}" (before colour match), "matched.{frame}" and "matched_extra.{frame}" (content
  // rectangle), "lq.{frame}"; frame counts the chunk's outputs. With the Wan2.1 decoder "conv1", "middle", "up3",
  // "up7", "up11", "up14" of every latent frame and time step, too.
  std::function<void(const std::string& name, Executor& executor, const Tensor& tensor)> onTensor;
  // Writes its own mask over the selected one; called after onTensor("mask.{layer}").
  std::function<void(int layer, Executor& executor, const Tensor& mask)> forceMask;
  // Writes its own noise.
  std::function<void(Executor& executor, const Tensor& noise)> injectNoise;
  // Writes its own latent after the transformer's was reported.
  std::function<void(Executor& executor, const Tensor& latent)> injectLatent;
  // Matches every frame a second time, this way, and reports it as "matched_extra.{frame}".
  std::optional<ColourMatch> extraMatch;
  bool skipDenoise = false;          // leave the transformer out: injectLatent writes the latent
  bool decodeSkippedFrames = false;  // decode every output, whatever `wanted` says
};

struct ChunkRequest {
  // 25 pictures for the first chunk, 8 for every other. Copies share one SourcePicture and are imported once.
  std::vector<std::shared_ptr<const SourcePicture>> pictures;
  // One per output frame (21 or 8): where its bytes go (from Executor::allocateHost), or nullptr to skip the frame.
  std::vector<std::shared_ptr<std::uint8_t[]>> outputs;
  StreamSettings settings;
  std::int64_t position = 0;  // latent position of the chunk's first latent frame
};

// A picture on its way to the host: request.outputs[output] holds it when the fence is done.
struct PictureInFlight {
  std::size_t output = 0;
  std::unique_ptr<Fence> fence;
};

// What one call enqueued.
struct PartInFlight {
  std::vector<PictureInFlight> pictures;  // in order
  std::unique_ptr<Fence> fence;           // all of it
};

// Keeps what the device still reads until its last part's fence is done.
struct ChunkInFlight {
  ChunkRequest request;
  std::vector<std::vector<float>> uploads;
  int latents = 0, revealed = 0;  // latent frames, and how many reveal() has enqueued
  std::unique_ptr<Fence> fence;   // of the whole chunk, from run() only

  bool wholly() const { return revealed == latents; }
  // The outputs that the next reveal() makes: first and one past the last.
  std::pair<std::size_t, std::size_t> nextOutputs() const;
};

class Network {
 public:
  // Plan only: bytes by kind, nothing allocated.
  static MemoryPlan Plan(const Backend& backend, const PreparedModel& model, Precision precision,
                         const NetworkOptions& options);

  Network(const Backend& backend, std::shared_ptr<PreparedModel> model, Precision precision,
          const NetworkOptions& options);
  ~Network();

  const NetworkOptions& options() const { return options_; }
  // Becomes a network of `options`, forgetting its stream, when its memory is laid out as those need; else false.
  bool adopt(const NetworkOptions& options);
  Executor& executor() { return *executor_; }
  // Enqueues the first part of a chunk. The first chunk after construction or reset() is chunk 0. The chunk before must
  // have been revealed wholly.
  PartInFlight begin(ChunkRequest request, ChunkInFlight& flight, const NetworkHooks* hooks = nullptr);
  // Enqueues the next latent frame of the chunk that begin() filled.
  PartInFlight reveal(ChunkInFlight& flight, const NetworkHooks* hooks = nullptr);
  // Both, for the whole chunk.
  ChunkInFlight run(ChunkRequest request, const NetworkHooks* hooks = nullptr);
  // Forgets the stream: the next chunk is a first one. Waits for nothing; queue order keeps it safe.
  void reset();
  bool first() const { return first_; }

  // Threshold rank for a padded size (section 4, step 5); at least 0 or Error of scope Stream naming the setting.
  static std::int64_t TopK(const StreamSettings& settings, const Geometry& geometry, std::int64_t keyGroups);

 private:
  struct Buffers;

  void importFrames(const ChunkRequest& request);
  void project(int groups, const NetworkHooks* hooks);
  void projectClips(std::int64_t firstClip, int clips, const Tensor* tokens);
  void denoise(const ChunkRequest& request, int groups, ChunkInFlight& flight, const NetworkHooks* hooks);
  void revealStep(int stage, const ChunkRequest& request, PartInFlight& part, const NetworkHooks* hooks);
  void revealWan(ChunkInFlight& flight, PartInFlight& part, const NetworkHooks* hooks);
  void finishFrame(std::int64_t outputFrame, const ChunkRequest& request, PartInFlight& part,
                   const NetworkHooks* hooks);

  NetworkOptions options_;
  std::shared_ptr<PreparedModel> model_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<ArenaLayout> layout_;
  std::unique_ptr<Buffers> buffers_;

  bool first_ = true;
  bool sidesUploaded_ = false;
  std::int64_t clips_ = 0;      // projector clips done
  std::deque<int> frameSlots_;  // LQ picture slot of every retained frame, oldest first
  std::shared_ptr<const SourcePicture> lastPicture_;
  std::vector<Tensor> chunkFrames_;           // LQ pictures of this chunk's new frames, in order
  std::vector<Tensor> outputFrames_;          // LQ pictures of the frames that come out
  std::int64_t decodedInChunk_ = 0;           // full-resolution frames made so far, the stream's first three included
  std::array<std::array<int, 3>, 3> past_{};  // [stage][MemBlock]: which of the stage's four memories is its past
  std::array<int, 3> spare_{};                // [stage]: the fourth; the stage's next input goes there
};

}  // namespace flashvsr
