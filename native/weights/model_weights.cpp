#include "weights/model_weights.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "common/error.h"
#include "weights/fail.h"
#include "weights/model_inventory.h"
#include "weights/part_source.h"
#include "weights/safetensors.h"
#include "weights/torch_checkpoint.h"

namespace flashvsr {

namespace {

constexpr std::size_t kMaxListed = 60;
constexpr std::size_t kProgressBytes = 32u << 20;
constexpr std::string_view kPartNames[] = {"transformer", "projector", "decoder", "prompt", "wan"};
constexpr const char* kWanFile = "Wan2.1_VAE.pth";

[[noreturn]] void FailWithList(std::string_view where, const std::vector<std::string>& problems) {
  std::string list;
  for (std::size_t index = 0; index < std::min(problems.size(), kMaxListed); ++index) list += "\n  " + problems[index];
  if (problems.size() > kMaxListed) {
    list += "\n  and " + std::to_string(problems.size() - kMaxListed) + " more";
  }
  throw Error(
      "weights.invalid", ErrorScope::Engine,
      std::string(where) + ": is not a FlashVSR model: " + std::to_string(problems.size()) +
          (problems.size() == 1 ? " problem" : " problems") + list,
      "Check that the files are those docs/models.md names; download damaged ones again and compare their sha256.");
}

bool Matches(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& expected) {
  return std::equal(shape.begin(), shape.end(), expected.begin(), expected.end(),
                    [](std::int64_t is, std::int64_t should) { return should == kUnknownSize || is == should; });
}

std::string ExpectedText(const std::vector<std::int64_t>& shape) {
  std::string text = ShapeText(shape);
  for (std::size_t at; (at = text.find("-1")) != std::string::npos;) text.replace(at, 2, "?");
  return text;
}

bool IsTGrow(const TensorSpec& spec) { return spec.part == "decoder" && spec.name.ends_with(".conv.weight"); }

// More rows than needed: the checkpoint was made for a finer time resolution; its last rows are the ones in use.
void KeepLastRows(TensorView& view, std::int64_t rows) {
  const std::size_t rowBytes = view.data.size() / static_cast<std::size_t>(view.shape[0]);
  view.shape[0] = rows;
  view.data = view.data.last(rowBytes * static_cast<std::size_t>(rows));
}

// The part's tensors that the model uses, cut to what it uses.
struct CheckedPart {
  std::shared_ptr<PartSource> source;
  std::set<std::string, std::less<>> expected;
};

template <typename Bits>
std::int64_t FirstNonFinite(std::span<const std::byte> data, Bits exponentMask) {
  constexpr std::size_t kBlock = 4096;
  Bits block[kBlock];
  for (std::size_t start = 0; start < data.size() / sizeof(Bits); start += kBlock) {
    const std::size_t count = std::min(kBlock, data.size() / sizeof(Bits) - start);
    std::memcpy(block, data.data() + start * sizeof(Bits), count * sizeof(Bits));
    unsigned bad = 0;  // counted without a branch: the loop vectorises
    for (std::size_t index = 0; index < count; ++index) bad += (block[index] & exponentMask) == exponentMask;
    if (bad == 0) continue;
    for (std::size_t index = 0; index < count; ++index) {
      if ((block[index] & exponentMask) == exponentMask) return static_cast<std::int64_t>(start + index);
    }
  }
  return -1;
}

std::int64_t FirstNonFinite(DType dtype, std::span<const std::byte> data) {
  switch (dtype) {
    case DType::F32:
      return FirstNonFinite<std::uint32_t>(data, 0x7f800000u);
    case DType::F16:
      return FirstNonFinite<std::uint16_t>(data, 0x7c00u);
    case DType::BF16:
      return FirstNonFinite<std::uint16_t>(data, 0x7f80u);
    case DType::U8:
      break;
  }
  return -1;
}

class ProgressCounter {
 public:
  ProgressCounter(const LoadProgress& report, std::uint64_t total) : report_(report), total_(total) { reportDone(); }
  void add(std::uint64_t bytes) {
    done_ += bytes;
    if (done_ - reported_ >= kProgressBytes || done_ == total_) reportDone();
  }

 private:
  void reportDone() {
    reported_ = done_;
    if (report_ && !report_(done_, total_)) {
      throw Error("engine.cancelled", ErrorScope::Engine, "loading the weights was cancelled");
    }
  }
  const LoadProgress& report_;
  std::uint64_t total_;
  std::uint64_t done_ = 0;
  std::uint64_t reported_ = 0;
};

void CheckFinite(const std::vector<std::pair<std::string, TensorView>>& tensors, std::uint64_t totalBytes,
                 const LoadProgress& report, std::vector<std::string>& problems) {
  ProgressCounter progress(report, totalBytes);
  for (const auto& [who, view] : tensors) {
    const std::size_t width = DTypeSize(view.dtype);
    bool bad = false;
    for (std::size_t at = 0; at < view.data.size(); at += kProgressBytes) {
      const auto part = view.data.subspan(at, std::min(kProgressBytes, view.data.size() - at));
      const std::int64_t index = bad ? -1 : FirstNonFinite(view.dtype, part);
      if (index >= 0) {
        bad = true;
        const auto element = static_cast<std::int64_t>(at / width) + index;
        problems.push_back(who + " holds " + std::to_string(ReadElement(view, element)) + " at element " +
                           std::to_string(element));
      }
      progress.add(part.size());
    }
  }
}

std::shared_ptr<const TensorSource>* PartOf(ModelSources& sources, std::string_view name) {
  if (name == "transformer") return &sources.transformer;
  if (name == "projector") return &sources.projector;
  if (name == "decoder") return &sources.decoder;
  if (name == "prompt") return &sources.prompt;
  if (name == "wan") return &sources.wan;
  return nullptr;
}

}  // namespace

OfficialFiles OfficialFilesIn(const std::filesystem::path& folder) {
  std::error_code ignored;
  const std::filesystem::path wan = folder / kWanFile;
  return {folder / "diffusion_pytorch_model_streaming_dmd.safetensors", folder / "LQ_proj_in.ckpt",
          folder / "TCDecoder.ckpt", folder / "posi_prompt.pth",
          std::filesystem::exists(wan, ignored) ? wan : std::filesystem::path()};
}

std::string_view VariantName(ModelVariant variant) { return variant == ModelVariant::V1 ? "v1" : "v1.1"; }

ModelVariant ParseVariant(std::string_view name) {
  if (name == "v1") return ModelVariant::V1;
  if (name == "v1.1") return ModelVariant::V1_1;
  FailWeights("", "the model variant " + Quoted(name) + " is not known; it is \"v1\" or \"v1.1\"");
}

const TensorSource& ModelWeights::part(std::string_view name) const {
  // PartOf returns a changeable pointer; this one is only read.
  const auto* source = PartOf(const_cast<ModelSources&>(parts_), name);
  if (source == nullptr) FailInternal("a model has no part named " + Quoted(name));
  return **source;
}

std::shared_ptr<const ModelWeights> ModelWeights::FromSources(ModelSources sources, const LoadOptions& options) {
  return CheckModel(std::move(sources), options, "the model");
}

std::shared_ptr<const ModelWeights> ModelWeights::CheckModel(ModelSources sources, const LoadOptions& options,
                                                             std::string_view where) {
  std::map<std::string, CheckedPart, std::less<>> parts;
  for (const std::string_view name : kPartNames) {
    if (name == "wan" && sources.wan == nullptr) continue;
    if (*PartOf(sources, name) == nullptr) FailInternal("the model was given no " + std::string(name));
    parts[std::string(name)].source = std::make_shared<PartSource>(*PartOf(sources, name));
  }
  ModelDims dims = DetectDims(sources);
  dims.variant = options.variant;
  std::vector<std::string> problems = DimsProblems(dims);
  std::vector<std::pair<std::string, TensorView>> tensors;
  std::uint64_t totalBytes = 0;

  for (const TensorSpec& spec : ExpectedTensors(dims)) {
    CheckedPart& part = parts.find(spec.part)->second;
    part.expected.insert(spec.name);
    const std::string who = spec.part + " " + spec.name;
    const TensorSource& source = **PartOf(sources, spec.part);
    const TensorView* found = source.find(spec.name);
    if (found == nullptr) {
      const std::string_view reason = source.unusable(spec.name);
      problems.push_back(who + " " + (reason.empty() ? "is missing" : std::string(reason)));
      continue;
    }
    TensorView view = *found;
    if (view.dtype == DType::U8) {
      problems.push_back(who + " has type U8; F32, F16 and BF16 are possible");
      continue;
    }
    if (IsTGrow(spec) && spec.shape[0] > 0 && view.shape.size() == 4 && view.shape[0] > spec.shape[0]) {
      KeepLastRows(view, spec.shape[0]);
    }
    if (!Matches(view.shape, spec.shape)) {
      problems.push_back(who + " has shape " + ShapeText(found->shape) + " instead of " + ExpectedText(spec.shape));
      continue;
    }
    totalBytes += view.data.size();
    tensors.emplace_back(who, view);
    part.source->add(spec.name, std::move(view));
  }
  for (const auto& [name, part] : parts) {
    // The official loader is not strict there, and the file carries unused tensors; the VAE's carries its encoder.
    if (name == "decoder" || name == "wan") continue;
    for (const std::string_view tensor : (*PartOf(sources, name))->names()) {
      if (part.expected.contains(tensor)) continue;
      problems.push_back(name + " " + Quoted(tensor) + " is not part of this model");
    }
  }
  if (options.checkFinite) CheckFinite(tensors, totalBytes, options.progress, problems);
  if (!problems.empty()) FailWithList(where, problems);

  std::shared_ptr<ModelWeights> model(new ModelWeights());
  model->dims_ = dims;
  model->bytes_ = totalBytes;
  for (const auto& [name, part] : parts) *PartOf(model->parts_, name) = part.source;
  return model;
}

std::shared_ptr<const ModelWeights> ModelWeights::FromPrefixedSource(std::shared_ptr<const TensorSource> source,
                                                                     const LoadOptions& options) {
  return CheckPrefixed(std::move(source), options, "the model");
}

std::shared_ptr<const ModelWeights> ModelWeights::CheckPrefixed(std::shared_ptr<const TensorSource> source,
                                                                const LoadOptions& options, std::string_view where) {
  if (source == nullptr) FailInternal("a model was given no source");
  ModelSources sources;
  for (const std::string_view name : kPartNames) {
    *PartOf(sources, name) = SelectPrefix(source, std::string(name) + ".");
  }
  if (sources.wan->names().empty()) sources.wan.reset();
  return CheckModel(std::move(sources), options, where);
}

std::shared_ptr<const ModelWeights> ModelWeights::OpenImported(const std::filesystem::path& file,
                                                               const LoadOptions& options) {
  const auto source = SafetensorsFile::Open(file);
  const auto variant = source->metadata("variant");
  if (!variant) {
    FailWeights(file.string(), "does not say its variant: it was not written by `models import`");
  }
  LoadOptions stated = options;
  stated.variant = ParseVariant(*variant);
  return CheckPrefixed(source, stated, file.string());
}

std::shared_ptr<const ModelWeights> ModelWeights::OpenOfficialFolder(const std::filesystem::path& folder,
                                                                     ModelVariant variant) {
  LoadOptions options;
  options.variant = variant;
  return OpenOfficialFolder(folder, options);
}

std::shared_ptr<const ModelWeights> ModelWeights::OpenOfficialFolder(const std::filesystem::path& folder,
                                                                     const LoadOptions& options) {
  return OpenOfficialFiles(OfficialFilesIn(folder), options);
}

std::shared_ptr<const ModelWeights> ModelWeights::OpenOfficialFiles(const OfficialFiles& files,
                                                                    const LoadOptions& options) {
  std::vector<std::string> problems;
  ModelSources sources;
  // A folder with two bad files should be repaired once, not twice.
  const auto attempt = [&](const auto& open) {
    try {
      open();
    } catch (const Error& error) {
      problems.push_back(error.message());
    }
  };
  attempt([&] { sources.transformer = SafetensorsFile::Open(files.transformer); });
  attempt([&] { sources.projector = TorchCheckpoint::Open(files.projector); });
  attempt([&] { sources.decoder = SelectPrefix(TorchCheckpoint::Open(files.decoder), "decoder."); });
  attempt([&] {
    const auto prompt = TorchCheckpoint::Open(files.prompt);
    if (!prompt->singleTensor()) FailWeights(files.prompt.string(), "holds a dict; a single tensor was expected");
    auto named = std::make_shared<PartSource>(prompt);
    if (const TensorView* tensor = prompt->find("")) {
      named->add("embedding", *tensor);
    } else {
      FailWeights(files.prompt.string(), std::string(prompt->unusable("")));
    }
    sources.prompt = named;
  });
  if (!files.wan.empty()) attempt([&] { sources.wan = TorchCheckpoint::Open(files.wan); });
  const std::string where = files.transformer.parent_path().string();
  if (!problems.empty()) FailWithList(where, problems);
  return CheckModel(std::move(sources), options, where);
}

}  // namespace flashvsr
