// The engine's public face: what the addon binds and the native tools use. No backend type crosses it.
//
//   Engine  one device, one set of weights, any number of streams; owns the thread that issues parts of chunks to the
//           device, those first whose pictures have waited longest.
//   Stream  frames in, upscaled frames out, for days. Bounded on both sides; never blocks its caller.
//
// Threads: every method may be called from any thread. Listener methods are called on the engine's thread, one at a
// time per engine; they must return quickly and must not throw, and they may call push, update, flush and close of any
// stream. Errors are flashvsr::Error. After an Error of scope Engine every stream of the engine has got onError +
// onClosed and nothing more will be computed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "common/picture.h"
#include "common/precision.h"
#include "weights/model_weights.h"

namespace flashvsr {

struct StreamOptions;

struct EngineOptions {
  std::string device = "auto";  // "reference" (plain C++ on the CPU), "cuda", or "auto": cuda where it is usable
  int deviceIndex = 0;          // which CUDA device
  // Absent: Fp32 on the reference backend (the only one it has), Bf16 on cuda. Weights are prepared for one precision,
  // so it belongs to the engine and not to a stream.
  std::optional<Precision> precision;
  int threads = 0;              // reference backend's threads; 0 = as many as the machine has
  std::string cudaLibraryPath;  // empty: libflashvsr_cuda.so beside the running module, then the loader's path
  LoadProgress progress;        // preparing weights: bytes done, bytes in all; false cancels (Error "engine.cancelled")
  // Microseconds of a steady clock; tests pass their own. Read on the engine's thread and in push.
  std::function<std::int64_t()> clockUs;
  // A stream to run two chunks of before Open returns, so that no kernel, plan or buffer is made while the first
  // pictures wait. Its memory is kept for the first stream that is created; one of another size gives it back first.
  // Left out when it does not fit (EngineInfo::warm).
  std::shared_ptr<const StreamOptions> warmUp;
  // A chunk's part that the device has not finished after this long ends the engine (scope Engine, "engine.failed"): a
  // kernel hangs. What it holds is never freed, because freeing would wait for it; end the process. 0: no limit.
  std::int64_t hangMs = 20'000;
};

// May change between chunks, but for kvRatio, which lays out memory.
struct StreamSettings {
  double sparseRatio = 2.0;         // topk_ratio = sparseRatio * 768 * 1280 / (padded H * W); 0 < sparseRatio <= 64
  std::optional<double> topkRatio;  // used as it is instead, as the goldens do
  double kvRatio = 3.0;             // cached window groups = floor(kvRatio); 1 <= kvRatio <= 16; fixed per stream
  int localRange = 11;              // in windows, 1..1023
  std::uint64_t seed = 0;
  ColourMatch colourMatch = ColourMatch::Adain;
};

// Tiny: the conditional decoder of FlashVSR-Tiny. Wan: the Wan2.1 VAE's, closer to the latent and several times slower.
enum class Decoder : std::uint8_t { Tiny, Wan };
// "tiny" or "wan"; Error "engine.settings" for another word.
Decoder ParseDecoder(std::string_view name);

struct StreamOptions {
  int sourceWidth = 0;  // size the output size is computed from; frames of another size are resized to the same output
  int sourceHeight = 0;
  double scale = 4.0;  // output = round(source * scale), made even; any scale with an output of 16..8192 a side
  // Both set: the output size itself, scale is ignored.
  int outputWidth = 0;
  int outputHeight = 0;
  PictureFormat outputFormat;  // of the pictures that come out
  StreamSettings settings;
  Decoder decoder = Decoder::Tiny;  // Wan: only of a model that holds it, else Error "engine.settings" of scope Stream
  // Real frames that chunk 0 waits for, 1..25; the other places of its 25 frames are virtual earlier copies of the
  // first real frame. 25 is the official behaviour (21 frames out of the first 25), 5 gives one frame with its full
  // look-ahead, fewer give the first picture at once with copies of the newest frame as its look-ahead.
  int coldStartFrames = 5;
  std::int64_t gatherDeadlineMs = 400;  // 0: no deadline (files)
  int inputQueueFrames = 32;            // pushed frames that no chunk has taken yet; at least 25
  int outputQueueFrames = 64;           // pictures delivered and not yet released; at least 32
  std::int64_t startPosition = 0;       // latent position of the stream's first latent frame (tests, resumed streams)
  std::string recordPath;               // not empty: record every chunk's input there (see engine/recording.h)
};

enum class PushResult : std::uint8_t { Accepted, Full, Closed };

// One upscaled picture. `data` holds the tight layout of `format` (picture.h); the stream's output queue has room again
// when the last copy of `data` is gone, from whatever thread.
struct OutputFrame {
  PictureFormat format;
  int width = 0;
  int height = 0;
  std::int64_t mediaTime = 0;                  // as pushed
  std::int64_t frameIndex = 0;                 // 0 for the first pushed frame of the stream
  std::int64_t arrivedUs = 0;                  // clock when it was pushed
  std::int64_t chunkIndex = 0;                 // chunk that made it
  std::size_t bytes = 0;                       // TightPictureBytes(format.pixels, width, height)
  std::shared_ptr<const std::uint8_t[]> data;  // may outlive stream and engine; freed or reused by its deleter
};

class StreamListener {
 public:
  virtual ~StreamListener() = default;
  // In the order they were pushed; every accepted frame comes out exactly once unless the stream closes first.
  virtual void onFrame(OutputFrame frame) = 0;
  // Everything pushed before the flush has been delivered. `flushId` is what flush() returned.
  virtual void onFlushed(std::uint64_t flushId) = 0;
  // Scope Frame: frames were lost, the stream goes on. Stream, Engine: onClosed follows.
  virtual void onError(const Error& error) = 0;
  // The last call for this stream; exactly once.
  virtual void onClosed() = 0;
};

// Bytes a stream or an engine needs, computed before anything is allocated.
struct MemoryPlan {
  std::int64_t weightBytes = 0;   // shared by all streams
  std::int64_t kvCacheBytes = 0;  // this stream
  std::int64_t decoderBytes = 0;
  std::int64_t pictureBytes = 0;  // upscaled LQ frames, decoded frames, output staging
  std::int64_t workspaceBytes = 0;
  std::int64_t streamBytes = 0;     // sum of the four above
  std::int64_t availableBytes = 0;  // free on the device now
  bool fits = false;
  int outputWidth = 0, outputHeight = 0;  // of the pictures
  int paddedWidth = 0, paddedHeight = 0;  // of the network: the next multiples of 128
  int chunkFrames = 8;                    // frames a steady chunk takes and gives
  int lookAheadFrames = 4;                // frames beyond the last of a chunk that must have arrived
  int firstChunkFrames = 0;               // real frames before the first picture
  std::string message;                    // why not, with the numbers; empty when it fits
};

struct StageTimes {  // milliseconds of the device (or of the CPU on the reference backend) of the last whole chunk
  double project = 0, denoise = 0, reveal = 0, match = 0, total = 0;
};

struct StreamStats {
  std::int64_t pushedFrames = 0, deliveredFrames = 0, refusedFrames = 0;  // refused: push answered Full
  std::int64_t repeatedFrames = 0;  // repeats that filled chunks of a slow source or a flush; never delivered
  std::int64_t chunks = 0, restarts = 0;
  int queuedFrames = 0;       // accepted, not yet in a chunk
  int pendingFrames = 0;      // accepted, not yet delivered
  int outputFramesHeld = 0;   // handed out, not yet released
  std::int64_t position = 0;  // latent position of the next chunk
  StageTimes lastChunk;
  double latencyMs = 0;  // push to onFrame of the newest delivered frame
  double busyMs = 0;     // time of the device for this stream so far, counted as parts of chunks finish
};

class Stream {
 public:
  virtual ~Stream() = default;
  // Copies the picture. Full when the input queue has no room: the caller drops the frame. Throws Error of scope Frame
  // for a picture that cannot be (null plane, zero size, stride below the width, above 8192 a side).
  virtual PushResult push(const FrameView& picture, std::int64_t mediaTime) = 0;
  // True when a push now would be accepted.
  virtual bool ready() const = 0;
  // Takes effect with the next chunk. Throws Error of scope Frame for values outside their ranges or another kvRatio.
  virtual void update(const StreamSettings& settings) = 0;
  // Every frame pushed so far comes out, then onFlushed; after it the stream starts again (cold) with the next push.
  // Returns the id onFlushed will carry; 0 when closed (onFlushed will not come).
  virtual std::uint64_t flush() = 0;
  // Idempotent, returns at once; a chunk at work is finished and thrown away, then onClosed.
  virtual void close() = 0;
  virtual StreamStats stats() const = 0;
  virtual int outputWidth() const = 0;
  virtual int outputHeight() const = 0;
};

struct EngineInfo {
  std::string device;      // "reference", "cuda"
  std::string deviceName;  // "CPU, 16 threads", "NVIDIA H100 80GB HBM3"
  Precision precision = Precision::Fp32;
  ModelDims dims;
  std::int64_t weightBytes = 0;  // as prepared on the device
  bool warm = false;             // EngineOptions::warmUp was run
  double warmChunkMs = 0;        // what a steady chunk of it took
};

class Engine {
 public:
  // Prepares the weights (seconds). Throws Error: "engine.device" when the device cannot be used (says why),
  // "engine.memory" with the numbers, "weights.invalid".
  static std::shared_ptr<Engine> Open(std::shared_ptr<const ModelWeights> weights, EngineOptions options = {});

  virtual ~Engine() = default;
  virtual const EngineInfo& info() const = 0;
  // Throws Error of scope Stream for options outside their ranges; a plan that does not fit is returned, not thrown.
  virtual MemoryPlan plan(const StreamOptions& options) const = 0;
  // Throws Error "engine.memory" with the plan's message when it does not fit. `listener` is held until onClosed.
  virtual std::shared_ptr<Stream> createStream(const StreamOptions& options,
                                               std::shared_ptr<StreamListener> listener) = 0;
  // Closes every stream and ends the engine's thread. Idempotent. Waits for the chunk at work unless called on the
  // engine's thread.
  virtual void close() = 0;
};

// Devices that can be named on this machine, every GPU by its index, with the reason when one cannot be used. Never
// throws.
struct DeviceReport {
  std::string device, name;
  // Of several GPUs; 0 for the reference backend.
  int index = 0;
  bool usable = false;
  std::string reason;
  std::int64_t totalBytes = 0, freeBytes = 0;
};
std::vector<DeviceReport> ListDevices(const std::string& cudaLibraryPath = {});

}  // namespace flashvsr
