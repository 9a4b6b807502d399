// A whole FlashVSR model: its sizes, read from the tensors' shapes, and its four sets of tensors, or five with the
// Wan2.1 decoder of FlashVSR full, all of them
// checked once when the model is opened. Users of a ModelWeights need not check its tensors again.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "weights/tensor_source.h"

namespace flashvsr {

// v1 and v1.1 have the same tensors; only the weights' values and one line of the projector differ (the cache rule), so
// the variant cannot be seen from a file and is stated by the caller that opens it.
enum class ModelVariant : std::uint8_t { V1, V1_1 };
// "v1" / "v1.1".
std::string_view VariantName(ModelVariant variant);
// Throws flashvsr::Error for anything but "v1" and "v1.1".
ModelVariant ParseVariant(std::string_view name);

// Every size of a model (official values in brackets). Nothing else is needed to lay one out.
struct ModelDims {
  std::int64_t dim = 0;                           // token width [1536]
  std::int64_t heads = 0;                         // dim / 128 [12]
  std::int64_t ffn = 0;                           // feed-forward width [8960]
  std::int64_t layers = 0;                        // transformer blocks [30]
  std::int64_t textDim = 0;                       // width of the prompt embedding [4096]
  std::int64_t textLen = 0;                       // tokens of the prompt embedding [512]
  std::int64_t freqDim = 0;                       // timestep sinusoid width [256]
  std::array<std::int64_t, 2> lqHidden{};         // projector convolution widths [2048, 3072]
  std::int64_t lqLayers = 0;                      // blocks that receive projected LQ features [1]
  std::array<std::int64_t, 4> decoderChannels{};  // per resolution stage [512, 256, 128, 128]
  std::int64_t latentChannels = 0;                // [16]
  std::int64_t wanWidth = 0;                      // d of the Wan2.1 decoder [96]; 0: the model has none
  ModelVariant variant = ModelVariant::V1_1;

  static constexpr std::int64_t kHeadWidth = 128;

  bool operator==(const ModelDims&) const = default;
};

// Called from the opening thread with bytes checked so far and in all; return false to give up (Error "cancelled").
using LoadProgress = std::function<bool(std::uint64_t doneBytes, std::uint64_t totalBytes)>;

struct LoadOptions {
  ModelVariant variant = ModelVariant::V1_1;  // ignored by OpenImported: the file states it
  bool checkFinite = true;                    // read every weight once and refuse NaN and infinity
  LoadProgress progress;                      // may be empty
};

// The official files, wherever they lie (models pull fetches the prompt from another place than the rest).
struct OfficialFiles {
  std::filesystem::path transformer;
  std::filesystem::path projector;
  std::filesystem::path decoder;
  std::filesystem::path prompt;
  std::filesystem::path wan;  // Wan2.1_VAE.pth; empty: the tiny decoder alone
};
// Under their official names in one folder; nothing is opened. `wan` is set when there is such a file.
OfficialFiles OfficialFilesIn(const std::filesystem::path& folder);

// The parts before they are checked.
struct ModelSources {
  std::shared_ptr<const TensorSource> transformer;
  std::shared_ptr<const TensorSource> projector;
  std::shared_ptr<const TensorSource> decoder;
  std::shared_ptr<const TensorSource> prompt;
  std::shared_ptr<const TensorSource> wan;  // may be absent
};

// Names inside each part are the official ones, but for two:
//   transformer  "patch_embedding.weight", "blocks.0.self_attn.q.weight", "head.head.bias", ...
//   projector    "conv1.weight", "norm1.gamma", "linear_layers.0.bias", ...
//   decoder      "1.weight", "5.conv.0.weight", "9.conv.weight", ...   (official "decoder.1.weight": the part's name is
//                                                                       the prefix, here and in an imported file)
//   prompt       "embedding", (1, textLen, textDim)                    (the official file holds a tensor without a
//   name)
//   wan          "conv2.weight", "decoder.conv1.weight", "decoder.middle.0.residual.0.gamma", ...  (the file's encoder
//   is not used)
// The decoder's TGrow tensors are already cut to the rows that are used (the last ones).
// Tensors keep the file's type (F32, F16 or BF16; parts may differ). Tensors the model does not use are not reachable.
// Views point into the mapped file; they live as long as this object. Immutable, usable from any thread.
class ModelWeights {
 public:
  // The four official files of `folder` (flashvsr-model.md section 2). Throws flashvsr::Error.
  static std::shared_ptr<const ModelWeights> OpenOfficialFolder(const std::filesystem::path& folder,
                                                                const LoadOptions& options = {});
  static std::shared_ptr<const ModelWeights> OpenOfficialFolder(const std::filesystem::path& folder,
                                                                ModelVariant variant);
  static std::shared_ptr<const ModelWeights> OpenOfficialFiles(const OfficialFiles& files,
                                                               const LoadOptions& options = {});
  // One safetensors file with the prefixes "transformer.", "projector.", "decoder.", "prompt." and, where the model has
  // it, "wan.", and the variant in
  // its __metadata__, as `models import` writes it. Throws flashvsr::Error.
  static std::shared_ptr<const ModelWeights> OpenImported(const std::filesystem::path& file,
                                                          const LoadOptions& options = {});
  // Any source: `sources` per part, or one source with the prefixes above. Throws ONE flashvsr::Error that lists every
  // missing tensor, wrong shape and non-finite weight.
  static std::shared_ptr<const ModelWeights> FromSources(ModelSources sources, const LoadOptions& options = {});
  static std::shared_ptr<const ModelWeights> FromPrefixedSource(std::shared_ptr<const TensorSource> source,
                                                                const LoadOptions& options = {});

  const ModelDims& dims() const { return dims_; }
  const TensorSource& transformer() const { return *parts_.transformer; }
  const TensorSource& projector() const { return *parts_.projector; }
  const TensorSource& decoder() const { return *parts_.decoder; }
  const TensorSource& prompt() const { return *parts_.prompt; }
  // Only where dims().wanWidth is not 0.
  const TensorSource& wan() const { return *parts_.wan; }
  // Part by name: "transformer", "projector", "decoder", "prompt" or "wan".
  const TensorSource& part(std::string_view name) const;
  // Bytes of all used tensors as stored.
  std::uint64_t bytes() const { return bytes_; }

 private:
  ModelWeights() = default;
  // `where` opens the message of the one Error.
  static std::shared_ptr<const ModelWeights> CheckModel(ModelSources sources, const LoadOptions& options,
                                                        std::string_view where);
  static std::shared_ptr<const ModelWeights> CheckPrefixed(std::shared_ptr<const TensorSource> source,
                                                           const LoadOptions& options, std::string_view where);

  ModelDims dims_;
  ModelSources parts_;
  std::uint64_t bytes_ = 0;
};

// Every tensor a model of these sizes must have, in file order: (part, name, shape). The one list that the check, the
// importer and makers of synthetic models share.
struct TensorSpec {
  std::string part;
  std::string name;
  std::vector<std::int64_t> shape;
};
std::vector<TensorSpec> ExpectedTensors(const ModelDims& dims);

}  // namespace flashvsr
