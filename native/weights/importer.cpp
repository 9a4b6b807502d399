#include "weights/importer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <future>
#include <system_error>
#include <utility>
#include <vector>

#include "common/error.h"
#include "weights/fail.h"
#include "weights/json.h"
#include "weights/mapped_file.h"
#include "weights/safetensors.h"
#include "weights/sha256.h"

namespace flashvsr {

namespace {

constexpr std::size_t kBlockBytes = 8u << 20;
constexpr std::uint64_t kSpareBytes = 16u << 20;  // manifest, directory blocks, other writers

// Written front to back, hashed on the way.
class HashedFile {
 public:
  explicit HashedFile(std::filesystem::path path) : path_(std::move(path)) {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (descriptor_ < 0) FailSystem(path_, "cannot create", errno);
  }
  ~HashedFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  HashedFile(const HashedFile&) = delete;
  HashedFile& operator=(const HashedFile&) = delete;

  void write(std::span<const std::byte> bytes) {
    hash_.update(bytes);
    bytes_ += bytes.size();
    while (!bytes.empty()) {
      const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) FailSystem(path_, "cannot write", errno);
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }
  // On disk when this returns; the file system reports some full disks only here.
  std::string finish() {
    if (::fsync(descriptor_) != 0) FailSystem(path_, "cannot write", errno);
    if (::close(std::exchange(descriptor_, -1)) != 0) FailSystem(path_, "cannot write", errno);
    return hash_.hex();
  }
  std::uint64_t bytes() const { return bytes_; }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  Sha256 hash_;
  std::uint64_t bytes_ = 0;
};

// The hidden folder a model is made in; gone with everything in it unless it was moved into place.
class StagingFolder {
 public:
  explicit StagingFolder(const std::filesystem::path& target) {
    static std::atomic<unsigned> count{0};
    path_ = target.parent_path() / ("." + target.filename().string() + ".partial-" + std::to_string(::getpid()) + "-" +
                                    std::to_string(++count));
    std::error_code error;
    std::filesystem::create_directories(path_, error);
    if (error) FailSystem(path_, "cannot create", error.value());
  }
  ~StagingFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  StagingFolder(const StagingFolder&) = delete;
  StagingFolder& operator=(const StagingFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

  void moveTo(const std::filesystem::path& target, bool replace) {
    std::error_code error;
    const std::filesystem::path old = path_.string() + ".old";
    const bool exists = std::filesystem::exists(target, error);
    if (exists && replace) {
      std::filesystem::rename(target, old, error);
      if (error) FailSystem(target, "cannot replace", error.value());
    }
    std::filesystem::rename(path_, target, error);
    if (error) {
      std::error_code ignored;
      if (exists && replace) std::filesystem::rename(old, target, ignored);
      FailSystem(target, "cannot move the new model into place", error.value());
    }
    // Servers that run keep their mapping of the old file; its blocks are freed when the last of them ends.
    std::filesystem::remove_all(old, error);
  }

 private:
  std::filesystem::path path_;
};

struct SourceHash {
  std::string part;
  std::filesystem::path path;
  std::uint64_t bytes = 0;
  std::string sha256;
};

std::vector<SourceHash> HashSources(const OfficialFiles& files, const std::atomic<bool>& stop) {
  std::vector<SourceHash> hashes = {{"transformer", files.transformer, 0, {}},
                                    {"projector", files.projector, 0, {}},
                                    {"decoder", files.decoder, 0, {}},
                                    {"prompt", files.prompt, 0, {}}};
  if (!files.wan.empty()) hashes.push_back({"wan", files.wan, 0, {}});
  for (SourceHash& source : hashes) {
    const MappedFile file(source.path);
    Sha256 hash;
    for (std::size_t at = 0; at < file.bytes().size() && !stop; at += kBlockBytes) {
      hash.update(file.bytes().subspan(at, std::min(kBlockBytes, file.bytes().size() - at)));
    }
    source.bytes = file.bytes().size();
    source.sha256 = hash.hex();
  }
  return hashes;
}

std::string DimsJson(const ModelDims& dims) {
  const auto number = [](std::int64_t value) { return std::to_string(value); };
  const auto& channels = dims.decoderChannels;
  return "{ \"dim\": " + number(dims.dim) + ", \"heads\": " + number(dims.heads) + ", \"ffn\": " + number(dims.ffn) +
         ", \"layers\": " + number(dims.layers) + ", \"textDim\": " + number(dims.textDim) +
         ", \"textLen\": " + number(dims.textLen) + ", \"freqDim\": " + number(dims.freqDim) + ", \"lqHidden\": [" +
         number(dims.lqHidden[0]) + ", " + number(dims.lqHidden[1]) + "], \"lqLayers\": " + number(dims.lqLayers) +
         ", \"decoderChannels\": [" + number(channels[0]) + ", " + number(channels[1]) + ", " + number(channels[2]) +
         ", " + number(channels[3]) + "], \"latentChannels\": " + number(dims.latentChannels) +
         (dims.wanWidth > 0 ? ", \"wanWidth\": " + number(dims.wanWidth) : "") + " }";
}

std::string ManifestJson(const ImportOptions& options, const ModelDims& dims, std::uint64_t bytes,
                         const std::string& sha256, const std::vector<SourceHash>& sources) {
  std::string text = "{\n  \"kind\": \"flashvsr\",\n  \"formatVersion\": 1,\n";
  const auto line = [&text](const std::string& key, const std::string& value) {
    text += "  \"" + key + "\": " + value + ",\n";
  };
  line("name", JsonString(options.name));
  line("variant", JsonString(VariantName(options.variant)));
  line("origin", JsonString(options.origin));
  line("licence", JsonString(options.licence));
  line("createdAt", JsonString(options.createdAt));
  line("dims", DimsJson(dims));
  line("file", JsonString(kModelFileName));
  line("bytes", std::to_string(bytes));
  line("sha256", JsonString(sha256));
  text += "  \"sources\": [\n";
  for (std::size_t index = 0; index < sources.size(); ++index) {
    const SourceHash& source = sources[index];
    text += "    { \"part\": " + JsonString(source.part) +
            ", \"file\": " + JsonString(source.path.filename().string()) +
            ", \"bytes\": " + std::to_string(source.bytes) + ", \"sha256\": " + JsonString(source.sha256) + " }" +
            (index + 1 < sources.size() ? ",\n" : "\n");
  }
  return text + "  ]\n}\n";
}

void RequireSpace(const std::filesystem::path& folder, std::uint64_t bytes) {
  std::error_code error;
  const auto space = std::filesystem::space(folder, error);
  if (error || space.available >= bytes + kSpareBytes) return;
  throw Error("weights.invalid", ErrorScope::Engine,
              folder.string() + ": the model needs " + std::to_string((bytes + kSpareBytes) >> 20) +
                  " MiB of disk space, " + std::to_string(space.available >> 20) + " MiB are free",
              "Free disk space, or set another models folder.");
}

std::span<const std::byte> TextBytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

}  // namespace

std::string ImportModel(const ImportOptions& options) {
  std::filesystem::path target = std::filesystem::absolute(options.outputFolder).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();  // given with a slash at its end
  if (!options.replace && std::filesystem::exists(target)) {
    throw Error("weights.invalid", ErrorScope::Engine, target.string() + ": there is a model of this name already",
                "Choose another name, or replace it with --replace.");
  }
  const auto report = [&](std::string_view step, std::uint64_t done, std::uint64_t total) {
    return !options.progress || options.progress(step, done, total);
  };

  // Hashing the sources runs beside the check: both read the same pages, which are then in memory for the copy.
  std::atomic<bool> stop{false};
  std::future<std::vector<SourceHash>> hashing;
  struct StopOnExit {
    std::atomic<bool>& stop;
    ~StopOnExit() { stop = true; }
  } stopOnExit{stop};  // declared after `hashing`, so it is set before the future waits

  LoadOptions load;
  load.variant = options.variant;
  load.progress = [&](std::uint64_t done, std::uint64_t total) { return report("check", done, total); };
  hashing = std::async(std::launch::async, [&] { return HashSources(options.files, stop); });
  const auto model = ModelWeights::OpenOfficialFiles(options.files, load);

  std::vector<SafetensorsEntry> entries;
  std::vector<const TensorView*> views;
  for (const TensorSpec& spec : ExpectedTensors(model->dims())) {
    const TensorView& view = *model->part(spec.part).find(spec.name);
    entries.push_back({spec.part + "." + spec.name, view.dtype, view.shape});
    views.push_back(&view);
  }
  StagingFolder staging(target);
  RequireSpace(target.parent_path(), model->bytes());
  HashedFile file(staging.path() / kModelFileName);
  file.write(TextBytes(SafetensorsHeader(entries, {{"format", "flashvsr-model"},
                                                   {"format_version", "1"},
                                                   {"name", options.name},
                                                   {"variant", std::string(VariantName(options.variant))}})));
  std::uint64_t done = 0;
  for (const TensorView* view : views) {
    for (std::size_t at = 0; at < view->data.size(); at += kBlockBytes) {
      const auto block = view->data.subspan(at, std::min(kBlockBytes, view->data.size() - at));
      file.write(block);
      done += block.size();
      if (!report("write", done, model->bytes())) {
        throw Error("engine.cancelled", ErrorScope::Engine, "importing the model was cancelled");
      }
    }
  }
  const std::string sha256 = file.finish();
  std::string manifest = ManifestJson(options, model->dims(), file.bytes(), sha256, hashing.get());
  HashedFile manifestFile(staging.path() / kManifestFileName);
  manifestFile.write(TextBytes(manifest));
  manifestFile.finish();
  staging.moveTo(target, options.replace);
  return manifest;
}

}  // namespace flashvsr
