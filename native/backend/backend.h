// What the engine runs on. The engine owns the network's order, every buffer and the life of a stream; a backend owns
// how one fused operation is computed and in what form weights are held.
//
//   Backend        a device: its memory, the operations' storage types
//   PreparedModel  the weights in the backend's own form (fp32 panels; bf16 with gates, norms and TGrow folded in).
//                  Shared by all executors, immutable, thread-safe
//   Executor       one execution queue, one arena, one stream's scratch. Calls enqueue and return; operations of one
//                  executor run in the order of the calls. Used by one thread at a time
//
// Layouts (row-major, last index fastest). Sizes: H, W padded output pixels; h = H/16, w = W/16 tokens; nb =
// (h/8)*(w/8) windows of one group; C channels.
//   tokens     (groups * nb * 128, width). WINDOW ORDER, through the whole network: group (2 latent frames) > window
//   row >
//              window column > latent frame of the pair > row in window > column in window. TokenIndex below says it
//              exactly
//   KV slot    one window group of one layer: keys (nb*128, dim), values (nb*128, dim), key means (nb, dim) float.
//              Slots never move: an operation gets the list of slots it reads, in time order, and the ones it writes
//   picture    Byte (H, W, 3) RGB: LQ frames after resize and padding, exact. Picture (3, H, W): decoded, scale [-1, 1]
//   feature    NHWC: (rows, columns, C), one tensor per time step
//   latent     Float (16, f, H/8, W/8), as the goldens have it; noise the same
// Nothing here reads back to the host inside a chunk; masks, means and thresholds stay on the device.
// Determinism: same calls, same data, same backend -> same bits. No float atomics, fixed split-K.
// Each operation's specification is the reference backend (native/backend/reference/); its parts are free functions
// there (reference/ops.h) that a kernel can be tested against one by one.
// Errors: flashvsr::Error. Device errors are scope Engine, code "engine.failed", and are thrown by the call that
// notices.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/error.h"
#include "common/picture.h"
#include "common/precision.h"
#include "weights/model_weights.h"
#include "weights/wan_layers.h"

namespace flashvsr {

// Raised on every incompatible change of this header; the CUDA library refuses another number.
inline constexpr int kBackendAbiVersion = 4;

// What a tensor holds; the backend chooses the element type.
enum class Storage : std::uint8_t {
  Byte,        // uint8
  Float,       // fp32, always
  Activation,  // fp32 on reference; bf16 on cuda (fp32 in its debugging mode)
  Residual,    // the token stream x: fp32 on reference; bf16 or fp32 on cuda, its choice
  Cache,    // cached keys and values: as Activation, or a form of the backend's own that only its attention reads (cuda
            // in fp8)
  Picture,  // decoded pictures: fp32 on reference; fp16 or fp32 on cuda
};

// A device tensor: an address inside an executor's arena and its shape. Plain data, owns nothing.
struct Tensor {
  void* data = nullptr;
  Storage storage = Storage::Float;
  std::array<std::int64_t, 4> shape{1, 1, 1, 1};  // leading ones, so shape[3] is the fastest

  std::int64_t elements() const { return shape[0] * shape[1] * shape[2] * shape[3]; }
  explicit operator bool() const { return data != nullptr; }
};

// Sizes of one stream's network. All derived from the padded output size.
struct Geometry {
  std::int64_t height = 0, width = 0;                // H, W: padded, multiples of 128
  std::int64_t contentHeight = 0, contentWidth = 0;  // the real picture, top left inside H x W

  std::int64_t latentHeight() const { return height / 8; }
  std::int64_t latentWidth() const { return width / 8; }
  std::int64_t tokenRows() const { return height / 16; }
  std::int64_t tokenColumns() const { return width / 16; }
  std::int64_t windowRows() const { return height / 128; }
  std::int64_t windowColumns() const { return width / 128; }
  std::int64_t windows() const { return windowRows() * windowColumns(); }  // nb
  std::int64_t groupTokens() const { return windows() * 128; }             // tokens of 2 latent frames
  bool operator==(const Geometry&) const = default;
};

// Row of a token in window order. `frame` counts latent frames of the chunk from 0.
constexpr std::int64_t TokenIndex(std::int64_t tokenColumns, std::int64_t windows, std::int64_t frame, std::int64_t row,
                                  std::int64_t column) {
  const std::int64_t window = (row / 8) * (tokenColumns / 8) + column / 8;
  return ((frame / 2) * windows + window) * 128 + (frame % 2) * 64 + (row % 8) * 8 + column % 8;
}

// The largest things a stream will ask of an executor; with Geometry it fixes all scratch.
struct ExecutorLimits {
  int maxGroups = 3;                            // query groups of one chunk (chunk 0: 3, later 1)
  int maxKeyGroups = 4;                         // key groups of one attention (cached + own)
  int maxSourceWidth = 0, maxSourceHeight = 0;  // planned source; a larger one makes the backend's staging grow
  bool wan = false;                             // the Wan2.1 decoder's operations will be asked for
};

// ---- operations' parameters
// ------------------------------------------------------------------------------------------

// YUV -> RGB, bicubic to the byte, replicate padding (flashvsr-model.md section 3). The host picture stays valid until
// the next fence is done. Conversion: native/backend/reference/picture_ops.h, integers, exact on every backend.
struct ImportPicture {
  const std::uint8_t* host = nullptr;  // tight layout, from allocateHost
  PictureFormat format;
  int width = 0, height = 0;  // of the source
  Tensor out;                 // Byte (H, W, 3)
};

// Pixel-unshuffle 16x16 of frames scaled to [-1, 1] (section 5): channel (c*16 + row)*16 + column.
struct UnshuffleFrame {
  Tensor frame;  // Byte (H, W, 3)
  Tensor out;    // Activation (h, w, 768)
};

// One of the projector's causal 3-D convolutions, kernel (4,3,3), time stride 2, replicated edges, + bias, RMS norm
// over channels, SiLU. Time is a table: output t reads input slots taps[t][0..3] (oldest first), so that nothing is
// copied.
struct CausalConvolution {
  int index = 1;                             // 1 or 2: which convolution's weights
  std::span<const Tensor> inputs;            // slots, Activation (h, w, Cin)
  std::span<const std::array<int, 4>> taps;  // one row per output
  std::span<const Tensor> outputs;           // index 1: Activation (h, w, h1), one per output
  Tensor tokens;  // index 2: Activation (tokens, h2) in WINDOW ORDER; output t is latent frame t
};

// x(f,h,w patches) = patch_embedding(noise): Linear from (16,2,2), channel > row > column, as the weight's shape says.
struct PatchEmbed {
  Tensor noise;  // Float (16, f, H/8, W/8)
  Tensor x;      // Residual (tokens, dim)
};

// x += linear_layers[index](features); or, when `projected` is set, projected = linear_layers[index](features) instead.
struct AddProjected {
  int index = 0;
  Tensor features;   // Activation (tokens, h2)
  Tensor x;          // Residual (tokens, dim)
  Tensor projected;  // Float (tokens, dim); tests
};

// cos, sin pairs by latent frame, row and column. Angles are made on the host in double from 64-bit positions, reduced
// modulo 2*pi, then rounded to fp32: Float (f, 22, 2), (h, 21, 2), (w, 21, 2).
struct RopeTables {
  Tensor frames, rows, columns;
};

struct KvSlot {
  Tensor keys;    // Cache (nb*128, dim), after norm and rope
  Tensor values;  // Cache (nb*128, dim)
  Tensor means;   // Float (nb, dim): means of the (rounded, as stored) keys over each window
};

// LN + modulate, q/k/v projections, RMS over dim, rope, and the windows' means. Group g of the chunk goes to slots[g].
struct AttentionInput {
  int layer = 0;
  Tensor x;  // Residual (groups*nb*128, dim), read
  RopeTables rope;
  Tensor q;                       // Activation (groups*nb*128, dim)
  Tensor queryMeans;              // Float (groups*nb, dim)
  std::span<const KvSlot> slots;  // written
};

// Section 4, steps 3 to 5. Column order = order of `keys`.
struct SelectBlocks {
  Tensor queryMeans;             // Float (groups*nb, dim)
  std::span<const KvSlot> keys;  // m groups in time order, the chunk's own last
  int localRange = 11;
  std::int64_t topk = 0;  // (topk+1)-th largest is the threshold; capped at nb*m*nb - 1, at least 0
  Tensor mask;            // Byte (heads, groups*nb, m*nb): 1 = kept
};

// Softmax attention of each query window over its kept key windows, scale 1/sqrt(128); no kept window gives 0.
struct SparseAttention {
  int layer = 0;
  Tensor q;                      // Activation (groups*nb*128, dim)
  std::span<const KvSlot> keys;  // as in SelectBlocks
  Tensor mask;                   // Byte (heads, groups*nb, m*nb)
  Tensor out;                    // Activation (groups*nb*128, dim)
};

// x += gate_a * Wo(attention)
struct AttentionOutput {
  int layer = 0;
  Tensor attention;  // Activation (tokens, dim)
  Tensor x;          // Residual, read and written
};

// x += Co(attention(RMS(Cq LN3(x)) * cnorm_q, K_prompt, V_prompt)); K_prompt and V_prompt belong to the prepared model.
// `a`, `b`: Activation (tokens, dim) scratch of the engine's arena that the operation may overwrite.
struct CrossAttention {
  int layer = 0;
  Tensor x;
  Tensor a, b;
};

// x += gate_m * W2(gelu_tanh(W1(LN(x) * (1 + scale_m) + shift_m))). `a`: Activation (tokens, dim) scratch; `hidden`:
// Activation (tokens, ffn) scratch.
struct FeedForward {
  int layer = 0;
  Tensor x;
  Tensor a, hidden;
};

// latent = noise - head(x)
struct Head {
  Tensor x;       // Residual (tokens, dim)
  Tensor noise;   // Float (16, f, H/8, W/8)
  Tensor latent;  // Float (16, f, H/8, W/8)
};

// Standard normals by Philox (kernels/common/philox.h states the counters): (16, f, H/8, W/8) for latent positions
// position .. position + f - 1.
struct Noise {
  std::uint64_t seed = 0;
  std::int64_t position = 0;
  Tensor out;  // Float
};

// tanh(x/3)*3 of concat(condition 768, latent 16) at H/8 x W/8 (section 6): the input of decoder layer 1. The condition
// of one latent frame is 4 LQ frames, channel ((c*4 + frame)*8 + row)*8 + column.
struct DecoderInput {
  std::array<Tensor, 4> frames;  // Byte (H, W, 3)
  Tensor latent;                 // Float (16, f, H/8, W/8)
  int latentFrame = 0;           // which of the f
  Tensor out;                    // Activation (H/8, W/8, 784)
};

// A 3x3 convolution of the decoder, zero padded, + bias where the model has one, then `residual` added, then ReLU.
// Input channels are concat(x, past) when `past` is set.
struct DecoderConvolution {
  int layer = 1;    // decoder.{layer}: 1, 3, 24, or a MemBlock 5-7, 11-13, 17-19
  int part = -1;    // MemBlock: 0, 2, 4 (decoder.{layer}.conv.{part}); else -1
  Tensor x;         // Activation (rows, columns, C)
  Tensor past;      // the same shape, or empty
  Tensor residual;  // (rows, columns, Cout), or empty
  bool relu = true;
  Tensor out;  // Activation (rows, columns, Cout); never aliases an input
};

// Nearest x2, TGrow, 3x3 convolution (layers 8-10, 14-16, 20-22), with ReLU after the last (layer 23). No non-linearity
// lies between the three, so a backend may fold them. Stage 0 grows 1 time step out of one, stages 1 and 2 grow 2; one
// operation makes one of them, so that large intermediates of two steps never live at once.
struct DecoderGrow {
  int stage = 0;  // 0, 1, 2
  int step = 0;   // which time step: 0, or 1 in stages 1 and 2
  Tensor x;       // Activation (rows, columns, C)
  Tensor out;     // Activation (2*rows, 2*columns, C')
};

// Layer 26, then * 2 - 1: Picture (3, H, W), not clamped.
struct DecoderOutput {
  Tensor x;    // Activation (H, W, c3)
  Tensor out;  // Picture (3, H, W)
};

// ---- the Wan2.1 decoder (docs/flashvsr-full.md), a latent frame at a time; weights/wan_layers.h names its layers

// z = latent * deviation + mean, then conv2 (1x1).
struct WanInput {
  Tensor latent;        // Float (16, f, H/8, W/8)
  int latentFrame = 0;  // which of the f
  Tensor out;           // Activation (H/8, W/8, 16)
};

// x / max(||x|| over channels, 1e-12) * sqrt(C) * gamma, then SiLU: what stands before convolution (block, part).
struct WanNorm {
  int block = 0;
  WanPart part = WanPart::First;
  Tensor x, out;  // Activation (rows, columns, C)
};

// A convolution, zero padded in rows and columns, + bias, then `residual` added. With three taps in time `previous` and
// `earlier` are the layer's input one and two time steps ago (zeros before the stream).
struct WanConvolution {
  int block = kWanEntry;
  WanPart part = WanPart::First;
  Tensor earlier, previous, x;  // Activation (rows, columns, Cin)
  int half = 0;                 // WanPart::Time: output channels [0, C) are the earlier time step, [C, 2C) the later
  Tensor residual;              // (rows, columns, Cout), or empty
  Tensor out;  // Activation (rows, columns, Cout); WanPart::Enlarge: x through nearest x2, (2*rows, 2*columns, Cout)
};

// x + proj(softmax(q k / sqrt(C)) v) of norm(x), one head over all positions of the frame.
struct WanAttention {
  int block = 0;
  Tensor x, out;  // Activation (rows, columns, C)
};

// The head's causal 3x3x3 behind its norm, clamped to [-1, 1].
struct WanOutput {
  Tensor earlier, previous, x;  // Activation (H, W, d), normed
  Tensor out;                   // Picture (3, H, W)
};

// Section 7 over the content rectangle, then rounding to bytes (half away from zero after (x+1)*127.5, clamped) and
// conversion to the output format. ColourMatch::None clamps only.
struct FinishPicture {
  Tensor decoded;  // Picture (3, H, W)
  Tensor frame;    // Byte (H, W, 3): the LQ frame
  ColourMatch match = ColourMatch::Adain;
  PictureFormat format;
  Tensor matched;  // Picture (3, H, W): may be the scratch of wavelet; holds the content rectangle afterwards
  Tensor out;      // Byte, tight layout of contentWidth x contentHeight
};

// Idle: the time between the parts of a chunk.
enum class Stage : std::uint8_t { Import, Project, Denoise, Reveal, Match, Idle };
inline constexpr int kStages = 6;

// ---- the three interfaces
// --------------------------------------------------------------------------------------------

// A point in an executor's queue: operations and copies before it. Must not outlive its backend.
class Fence {
 public:
  virtual ~Fence() = default;
  virtual bool done() const = 0;  // never throws: an error counts as done, wait() throws it
  virtual void wait() = 0;        // throws the queue's error, if any
  // Milliseconds between the marks that preceded this fence, by Stage; valid once done.
  virtual std::array<double, kStages> stageMs() const = 0;
};

class Executor {
 public:
  virtual ~Executor() = default;  // waits for its queue

  // Start of the arena (aligned to 256 bytes) that createExecutor made; the engine lays tensors out in it.
  virtual std::byte* arena() = 0;

  // Host memory the device reads and writes quickly (pinned). May be called from any thread, unlike the rest. Freed by
  // the deleter, from any thread, possibly after the executor is gone; the engine reuses what it gets.
  virtual std::shared_ptr<std::uint8_t[]> allocateHost(std::size_t bytes) = 0;

  // Asynchronous copies; the host memory stays untouched until a later fence is done. A download may run beside
  // operations that come after it; the next FinishPicture into the same tensor waits for it.
  virtual void upload(const Tensor& to, const void* host) = 0;
  virtual void download(void* host, const Tensor& from) = 0;
  virtual void fill(const Tensor& tensor, std::uint8_t byte) = 0;
  // Device to device, same element type and count (tests, and the Wan2.1 decoder's time step that grows).
  virtual void copy(const Tensor& to, const Tensor& from) = 0;
  // Blocking, with conversion to and from fp32 (tests, tensor taps).
  virtual std::vector<float> read(const Tensor& tensor) = 0;
  virtual void write(const Tensor& tensor, std::span<const float> values) = 0;

  // Time from here on counts for `stage`. A stage may be marked several times a chunk.
  virtual void mark(Stage stage) = 0;
  virtual std::unique_ptr<Fence> fence() = 0;
  // Operations from here on start after the operations before `fence`, which may be another executor's of the same
  // backend.
  virtual void after(const Fence& fence) = 0;

  virtual void run(const ImportPicture& op) = 0;
  virtual void run(const UnshuffleFrame& op) = 0;
  virtual void run(const CausalConvolution& op) = 0;
  virtual void run(const PatchEmbed& op) = 0;
  virtual void run(const AddProjected& op) = 0;
  virtual void run(const AttentionInput& op) = 0;
  virtual void run(const SelectBlocks& op) = 0;
  virtual void run(const SparseAttention& op) = 0;
  virtual void run(const AttentionOutput& op) = 0;
  virtual void run(const CrossAttention& op) = 0;
  virtual void run(const FeedForward& op) = 0;
  virtual void run(const Head& op) = 0;
  virtual void run(const Noise& op) = 0;
  virtual void run(const DecoderInput& op) = 0;
  virtual void run(const DecoderConvolution& op) = 0;
  virtual void run(const DecoderGrow& op) = 0;
  virtual void run(const DecoderOutput& op) = 0;
  virtual void run(const FinishPicture& op) = 0;
  // Only where PreparedModel::hasWan(); a backend without the Wan2.1 decoder leaves them.
  virtual void run(const WanInput&) { withoutWan(); }
  virtual void run(const WanNorm&) { withoutWan(); }
  virtual void run(const WanConvolution&) { withoutWan(); }
  virtual void run(const WanAttention&) { withoutWan(); }
  virtual void run(const WanOutput&) { withoutWan(); }

 private:
  [[noreturn]] static void withoutWan() {
    throw Error("internal", ErrorScope::Engine, "This backend has no Wan2.1 decoder.");
  }
};

class PreparedModel {
 public:
  virtual ~PreparedModel() = default;
  virtual const ModelDims& dims() const = 0;
  virtual std::int64_t bytes() const = 0;  // on the device
  // Whether the Wan2.1 decoder can be run: the model holds one and the backend has its operations.
  virtual bool hasWan() const { return false; }
  // Scratch an executor needs beside the engine's arena (device bytes), computed without allocating.
  virtual std::int64_t scratchBytes(const Geometry& geometry, const ExecutorLimits& limits) const = 0;
  // Allocates arenaBytes + scratchBytes or throws "engine.memory" with the numbers.
  virtual std::unique_ptr<Executor> createExecutor(const Geometry& geometry, const ExecutorLimits& limits,
                                                   std::int64_t arenaBytes) = 0;
  // Constants of the model as fp32 for tests: "time" (dim), "time_modulation" (6*dim), "cross_k.{layer}" and
  // "cross_v.{layer}" (textLen*dim). Empty for an unknown name.
  virtual std::vector<float> readConstant(const std::string& name) const = 0;
};

// Everything that depends on the weights and not on the input (section 4), fp32, made once by engine/constants.cpp.
struct ModelConstants {
  std::vector<float> time;            // (dim): time_embedding(sinusoid(1000))
  std::vector<float> timeModulation;  // (6, dim): time_projection(time)
  std::vector<float> context;         // (textLen, dim): text_embedding(prompt); cross keys and values come from it
};

struct BackendInfo {
  std::string device;  // "reference", "cuda"
  std::string deviceName;
  std::int64_t totalBytes = 0, freeBytes = 0;  // device memory now
  bool asynchronous =
      false;  // calls return before the work is done; one that does not return for long means a device that hangs
  int partsAhead =
      1;  // parts of chunks (engine/network.h) to keep enqueued so that the device never waits for its host
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual BackendInfo info() const = 0;
  // Bytes of one element.
  virtual std::int64_t elementBytes(Storage storage, Precision precision) const = 0;
  // Bytes `prepare` will take on the device.
  virtual std::int64_t preparedBytes(const ModelDims& dims, Precision precision) const = 0;
  // Converts and folds the weights. `constants` were computed in fp32 by the engine (engine/constants.h).
  virtual std::shared_ptr<PreparedModel> prepare(const ModelWeights& weights, const ModelConstants& constants,
                                                 Precision precision, const LoadProgress& progress) = 0;
};

std::unique_ptr<Backend> CreateReferenceBackend(int threads);

// Exported by libflashvsr_cuda.so as C symbol "flashvsr_create_cuda_backend". Returns nullptr and a zero-terminated
// reason (no driver, no device, architecture too old, other ABI version) when CUDA cannot be used; never throws.
// The caller owns the backend; the library is never unloaded.
using CreateCudaBackendFunction = Backend* (*)(int abiVersion, int deviceIndex, char* reason, std::size_t reasonBytes);
inline constexpr const char* kCreateCudaBackendSymbol = "flashvsr_create_cuda_backend";
// Exported beside it: how many GPUs the driver sees, usable or not; 0 without a driver. Makes no context.
using CountCudaDevicesFunction = int (*)();
inline constexpr const char* kCountCudaDevicesSymbol = "flashvsr_count_cuda_devices";

}  // namespace flashvsr
