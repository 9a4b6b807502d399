// models import, native half: the written file holds the same tensors, the folder appears whole or not at all.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "test/harness.h"
#include "weights/importer.h"
#include "weights/model_weights.h"
#include "weights/safetensors.h"
#include "weights/sha256.h"
#include "weights/test/builders.h"
#include "weights/test/synthetic.h"

using namespace flashvsr;
using namespace flashvsr::test;

namespace {

namespace fs = std::filesystem;

// A folder of this run, gone at the end of the test.
class TestFolder {
 public:
  TestFolder() : path_(fs::temp_directory_path() / ("flashvsr-importer-" + std::to_string(::getpid()))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~TestFolder() { fs::remove_all(path_); }
  fs::path operator/(const std::string& name) const { return path_ / name; }
  std::size_t entries() const { return static_cast<std::size_t>(std::distance(fs::directory_iterator(path_), {})); }

 private:
  fs::path path_;
};

std::string ReadAll(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void WriteAll(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

ImportOptions GoldenImport(const fs::path& output) {
  ImportOptions options;
  options.files = OfficialFilesIn(FLASHVSR_GOLDEN_WEIGHTS);
  options.outputFolder = output;
  options.name = "golden";
  options.variant = ModelVariant::V1;
  options.origin = "testdata";
  options.createdAt = "2026-11-22T00:00:00Z";
  return options;
}

std::string Sha256Of(const std::string& bytes, bool portable = false) {
  Sha256 hash(portable);
  hash.update(Bytes(bytes));
  return hash.hex();
}

}  // namespace

TEST("sha256: the standard's examples, in pieces of every length") {
  CHECK_EQUAL(Sha256Of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK_EQUAL(Sha256Of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK_EQUAL(Sha256Of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  const std::string million(1'000'000, 'a');
  for (const bool portable : {false, true}) {
    CHECK_EQUAL(Sha256Of(million, portable), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    for (std::size_t length = 0; length < 200; ++length) {
      CHECK_EQUAL(Sha256Of(million.substr(0, length), portable), Sha256Of(million.substr(0, length)));
    }
  }
  for (const std::size_t piece : {1u, 3u, 55u, 56u, 63u, 64u, 65u, 1000u}) {
    Sha256 hash;
    for (std::size_t at = 0; at < 5000; at += piece)
      hash.update(Bytes(million).subspan(at, std::min<std::size_t>(piece, 5000 - at)));
    CHECK_EQUAL(hash.hex(), Sha256Of(million.substr(0, 5000)));
  }
}

TEST("import: the golden model comes back byte for byte, with its variant and a true manifest") {
  const TestFolder folder;
  std::string steps;
  ImportOptions options = GoldenImport(folder / "golden/");
  options.progress = [&](std::string_view step, std::uint64_t done, std::uint64_t total) {
    if (done == total) steps += std::string(step) + " ";
    return true;
  };
  const std::string manifest = ImportModel(options);
  CHECK_EQUAL(steps, "check write ");
  CHECK_EQUAL(manifest, ReadAll(folder / "golden/manifest.json"));
  const fs::path file = folder / "golden/model.safetensors";
  CHECK(manifest.find(Sha256Of(ReadAll(file))) != std::string::npos);
  for (const char* name : {"LQ_proj_in.ckpt", "TCDecoder.ckpt", "posi_prompt.pth"}) {
    CHECK(manifest.find(Sha256Of(ReadAll(std::string(FLASHVSR_GOLDEN_WEIGHTS) + "/" + name))) != std::string::npos);
  }
  const auto official = ModelWeights::OpenOfficialFolder(FLASHVSR_GOLDEN_WEIGHTS, ModelVariant::V1);
  const auto imported = ModelWeights::OpenImported(file);
  CHECK(imported->dims() == official->dims());
  CHECK_EQUAL(imported->bytes(), official->bytes());
  for (const TensorSpec& spec : ExpectedTensors(official->dims())) {
    const TensorView& before = *official->part(spec.part).find(spec.name);
    const TensorView& after = *imported->part(spec.part).find(spec.name);
    CHECK(before.dtype == after.dtype && before.shape == after.shape && DataText(before) == DataText(after));
  }
  CHECK_EQUAL(folder.entries(), 1u);
}

TEST("import: the Wan2.1 decoder comes along where its file is, without its encoder") {
  const TestFolder folder;
  ImportOptions options = GoldenImport(folder / "full");
  ModelDims dims = ModelWeights::OpenOfficialFiles(options.files)->dims();
  CHECK_EQUAL(dims.wanWidth, 0);
  dims.wanWidth = 2;
  dims.variant = options.variant;
  MemoryTensorSource wan;
  for (const TensorSpec& spec : ExpectedTensors(dims)) {
    if (spec.part != "wan") continue;
    std::vector<float> values(static_cast<std::size_t>(ElementsOf(spec.shape)), 0.5F);
    wan.AddFloats(spec.name, DType::BF16, spec.shape, values);
  }
  const float one[] = {1};
  wan.AddFloats("encoder.conv1.weight", DType::F32, {1}, one);
  options.files.wan = folder / "Wan2.1_VAE.pth";
  WriteAll(options.files.wan, TorchFile(wan, true));
  const std::string manifest = ImportModel(options);
  CHECK(manifest.find("\"wanWidth\": 2") != std::string::npos);
  CHECK(manifest.find("\"part\": \"wan\", \"file\": \"Wan2.1_VAE.pth\"") != std::string::npos);
  const auto model = ModelWeights::OpenImported(folder / "full/model.safetensors");
  CHECK(model->dims() == dims);
  CHECK(model->wan().find("decoder.head.2.weight") != nullptr);
  CHECK(model->wan().find("encoder.conv1.weight") == nullptr);

  // What is wrong with it is named with the rest.
  MemoryTensorSource broken;
  broken.AddFloats("decoder.head.2.weight", DType::BF16, {3, 2, 3, 3, 3}, std::vector<float>(162, 0.5F));
  WriteAll(options.files.wan, TorchFile(broken, true));
  options.replace = true;
  std::string message;
  try {
    ImportModel(options);
  } catch (const Error& error) {
    message = error.message();
  }
  CHECK(message.find("wan decoder.conv1.weight is missing") != std::string::npos);
}

TEST("import: checkpoints of mixed types, a strided prompt and surplus decoder tensors") {
  const TestFolder folder;
  const ModelDims dims = SmallDims();
  const ModelSources sources = Synthetic(dims, DType::F32);
  const ModelSources halves = Synthetic(dims, DType::F16);
  std::vector<SafetensorsEntry> entries;
  std::string data;
  for (const std::string_view name : sources.transformer->names()) {
    const TensorView& view = *sources.transformer->find(name);
    entries.push_back({std::string(name), view.dtype, view.shape});
    data += DataText(view);
  }
  ImportOptions options;
  options.files = OfficialFilesIn(folder / ".");
  options.outputFolder = folder / "mixed";
  WriteAll(options.files.transformer, SafetensorsHeader(entries, {}) + data);
  WriteAll(options.files.projector, TorchFile(*halves.projector, true));
  MemoryTensorSource decoder;
  for (const std::string_view name : sources.decoder->names()) {
    decoder.AddFloats("decoder." + std::string(name), DType::BF16, sources.decoder->find(name)->shape,
                      ReadFloats(*sources.decoder->find(name)));
  }
  const float one[] = {1};
  decoder.AddFloats("encoder.0.weight", DType::F32, {1}, one);
  WriteAll(options.files.decoder, TorchFile(decoder, false));
  // (1, 16, 32) stored transposed.
  const std::int64_t length = dims.textLen, width = dims.textDim;
  std::vector<float> stored(static_cast<std::size_t>(length * width));
  for (std::size_t index = 0; index < stored.size(); ++index) stored[index] = static_cast<float>(index);
  Pickle prompt;
  prompt.tensor("FloatStorage", "0", length * width, 0, {1, length, width}, {length * width, 1, length});
  WriteAll(options.files.prompt,
           Zip({{.name = "p/data.pkl", .data = prompt.end()},
                {.name = "p/data/0", .data = {reinterpret_cast<const char*>(stored.data()), stored.size() * 4}}}));
  ImportModel(options);

  const auto model = ModelWeights::OpenImported(folder / "mixed/model.safetensors");
  CHECK(model->dims() == dims);
  CHECK(model->transformer().find("head.head.bias")->dtype == DType::F32);
  CHECK(model->projector().find("norm1.gamma")->dtype == DType::F16);
  CHECK(model->decoder().find("26.bias")->dtype == DType::BF16);
  const std::vector<float> embedding = ReadFloats(*model->prompt().find("embedding"));
  CHECK_EQUAL(embedding[1], static_cast<float>(length));
  CHECK_EQUAL(embedding[static_cast<std::size_t>(width)], 1.0f);
}

TEST("import: an existing model stays unless it is to be replaced, and then as a whole") {
  const TestFolder folder;
  ImportOptions options = GoldenImport(folder / "golden");
  ImportModel(options);
  CHECK_REFUSED("there is a model of this name", ImportModel(options));
  options.replace = true;
  options.variant = ModelVariant::V1_1;
  const auto mapped = ModelWeights::OpenImported(folder / "golden/model.safetensors");
  const std::vector<float> before = ReadFloats(*mapped->transformer().find("head.head.weight"));
  ImportModel(options);
  CHECK(ModelWeights::OpenImported(folder / "golden/model.safetensors")->dims().variant == ModelVariant::V1_1);
  // A process that had the old one open still reads it.
  CHECK(ReadFloats(*mapped->transformer().find("head.head.weight")) == before);
  CHECK_EQUAL(folder.entries(), 1u);
}

TEST("import: cancelled or refused, nothing is left behind") {
  const TestFolder folder;
  for (const std::string at : {"check", "write"}) {
    ImportOptions options = GoldenImport(folder / "golden");
    options.progress = [&](std::string_view step, std::uint64_t, std::uint64_t) { return step != at; };
    CHECK_REFUSED("cancelled", ImportModel(options));
    CHECK_EQUAL(folder.entries(), 0u);
  }
  ImportOptions options = GoldenImport(folder / "golden");
  options.files.projector = folder / "none.ckpt";
  CHECK_REFUSED("none.ckpt", ImportModel(options));
  CHECK_EQUAL(folder.entries(), 0u);
  options = GoldenImport("/proc/flashvsr/golden");
  CHECK_REFUSED("cannot create", ImportModel(options));
}

TEST("import: a damaged imported file is refused when it is opened") {
  const TestFolder folder;
  ImportModel(GoldenImport(folder / "golden"));
  const fs::path file = folder / "golden/model.safetensors";
  fs::resize_file(file, fs::file_size(file) - 1);
  CHECK_REFUSED("beyond the end of the file", ModelWeights::OpenImported(file));
}
