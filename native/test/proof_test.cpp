// The proofs prove something: parity fails on what is wrong, a replay notices a changed byte.
#include <filesystem>
#include <fstream>

#include "engine/recording.h"
#include "test/fixture.h"
#include "tools/golden_file.h"
#include "tools/parity.h"
#include "tools/plain_bf16.h"

namespace flashvsr::test {
namespace {

namespace fs = std::filesystem;

struct Folder {
  Folder()
      : path(fs::temp_directory_path() /
             ("flashvsr-test-" + std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()))) {
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  fs::path path;
};

std::string ReadAll(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void WriteAll(const fs::path& path, const std::string& content) { std::ofstream(path, std::ios::binary) << content; }

// A golden file again, with some tensors left out and the metadata changed.
void Rewrite(const fs::path& from, const fs::path& to, const std::function<bool(const std::string&)>& keep,
             const std::map<std::string, std::string>& metadata) {
  const tools::GoldenFile file(from);
  std::string header = "{\"__metadata__\":{", body;
  bool first = true;
  for (const char* key : {"topk_ratio", "kv_ratio", "local_range", "variant", "height", "width", "chunks", "decoded"}) {
    if (!file.has(key)) continue;
    header += std::string(first ? "" : ",") + "\"" + key + "\":\"" +
              (metadata.contains(key) ? metadata.at(key) : file.text(key)) + "\"";
    first = false;
  }
  header += "}";
  for (const auto& [name, tensor] : file.tensors()) {
    if (!keep(name)) continue;
    header += ",\"" + name + "\":{\"dtype\":\"" + tensor.dtype + "\",\"shape\":[";
    for (std::size_t i = 0; i < tensor.shape.size(); ++i)
      header += (i > 0 ? "," : "") + std::to_string(tensor.shape[i]);
    header += "],\"data_offsets\":[" + std::to_string(body.size()) + "," +
              std::to_string(body.size() + tensor.data.size()) + "]}";
    body.append(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
  }
  header += "}";
  const std::uint64_t length = header.size();
  WriteAll(to, std::string(reinterpret_cast<const char*>(&length), 8) + header + body);
}

// Flips the top mantissa bit of one fp32 value, or the byte itself, of a tensor in a golden file.
void Corrupt(const fs::path& path, const std::string& tensor, std::size_t offset, char mask) {
  std::string content = ReadAll(path);
  {
    const tools::GoldenFile file(path);
    const std::byte* start = file.find("latent.0")->data.data();
    const std::ptrdiff_t base = static_cast<std::ptrdiff_t>(content.size());
    // Distance of the tensor from the end of the file is the same in the mapping and in the copy.
    const std::byte* last = start;
    for (const auto& [name, view] : file.tensors()) last = std::max(last, view.data.data() + view.data.size());
    const std::ptrdiff_t fromEnd = last - (file.find(tensor)->data.data() + offset);
    content[static_cast<std::size_t>(base - fromEnd)] =
        static_cast<char>(content[static_cast<std::size_t>(base - fromEnd)] ^ mask);
  }
  WriteAll(path, content);
}

TEST("parity: passes on one golden chunk, fails on every kind of damage, on a missing tensor and on no case") {
  Folder folder;
  const fs::path golden = FLASHVSR_GOLDEN;
  fs::create_directory_symlink(fs::absolute(golden / "weights"), folder.path / "weights");
  const fs::path one = folder.path / "one";
  fs::create_directory(one);
  const auto firstChunk = [](const std::string& name) { return name.ends_with(".0") && !name.starts_with("cross"); };
  const auto make = [&] {
    Rewrite(golden / "micro" / "input.safetensors", one / "input.safetensors",
            [&](const std::string& n) { return n == "video" || firstChunk(n); }, {{"chunks", "1"}});
    // The golden file names the chunks whose decoded picture it holds; chunk 0 is none of them.
    Rewrite(golden / "micro" / "expected.safetensors", one / "expected.safetensors", firstChunk, {});
  };
  std::vector<std::string> failures;
  const auto run = [&] {
    failures.clear();
    tools::ParityOptions options;
    options.folder = folder.path;
    options.threads = kWorkers;
    options.print = [&](const std::string& line) {
      if (line.find("FAIL") != std::string::npos) failures.push_back(line);
    };
    return tools::RunParity(options);
  };
  make();
  const tools::ParityResult good = run();
  CHECK(good.passed());
  CHECK_EQUAL(good.cases, 1);
  CHECK_EQUAL(good.lines, 2 + 3 + 4);
  const auto failsAt = [&](const std::string& tensor) {
    CHECK(!run().passed());
    bool named = false;
    for (const std::string& line : failures) named = named || line.find(tensor) != std::string::npos;
    if (!named) FailAt(__FILE__, __LINE__, "no FAIL line names " + tensor);
  };
  Corrupt(one / "expected.safetensors", "latent.0", 4 * 4321 + 2, 0x40);  // one value of 147456
  failsAt("latent.0");
  make();
  Corrupt(one / "expected.safetensors", "mask.0", 100, 1);
  failsAt("mask.0");
  make();
  Rewrite(golden / "micro" / "expected.safetensors", one / "expected.safetensors",
          [&](const std::string& n) { return firstChunk(n) && n != "adain_stats.0"; }, {});
  failsAt("adain_stats.0");
  make();
  Rewrite(golden / "micro" / "expected.safetensors", one / "expected.safetensors",
          [&](const std::string& n) { return firstChunk(n) || n == "latent.3"; }, {});
  failsAt("latent.3");
  make();
  WriteAll(one / "expected.safetensors", ReadAll(one / "expected.safetensors").substr(0, 5000));
  failsAt("one");
  fs::remove_all(one);
  const tools::ParityResult none = run();
  CHECK_EQUAL(none.cases, 0);
  CHECK(!none.passed());
}

TEST(
    "recording: replays to the same bytes, through deadlines, settings, a flush and a size change; a changed byte is "
    "found") {
  Folder folder;
  const std::string path = (folder.path / "stream.rec").string();
  std::atomic<std::int64_t> now{0};
  {
    const auto engine = OpenEngine([&] { return now.load(); });
    StreamOptions options = SmallStream();
    options.gatherDeadlineMs = 400;
    options.recordPath = path;
    options.settings.seed = 9;
    const auto collector = std::make_shared<Collector>();
    const auto stream = engine->createStream(options, collector);
    PushAll(*stream, 32, 32, 0, 8);
    collector->waitFrames(1);
    now += 500000;  // cuts a chunk short
    collector->waitFrames(5);
    StreamSettings settings = options.settings;
    settings.colourMatch = ColourMatch::Wavelet;
    stream->update(settings);
    PushAll(*stream, 30, 34, 8, 9);
    stream->flush();
    PushAll(*stream, 32, 32, 17, 6);
    PushAll(*stream, 40, 32, 23, 6);
    stream->flush();
    collector->waitFlushes(2);
    CHECK_EQUAL(collector->frames.size(), 29U);
    stream->close();
    collector->waitClosed();
  }
  Prepared prepared;
  const ReplayReport report = ReplayRecording(path, *prepared.backend, prepared.model, Precision::Fp32);
  CHECK_EQUAL(report.frames, 29);
  CHECK_EQUAL(report.differing, 0);
  CHECK(report.same());
  std::string content = ReadAll(path);
  content[3000] = static_cast<char>(content[3000] ^ 0x40);  // inside the first chunk's pictures
  WriteAll(path, content);
  CHECK(ReplayRecording(path, *prepared.backend, prepared.model, Precision::Fp32).differing > 0);
  WriteAll(path, content.substr(0, content.size() - 3));
  CHECK_THROWS(ReplayRecording(path, *prepared.backend, prepared.model, Precision::Fp32), "recording.invalid");
  WriteAll(path, "something else");
  CHECK_THROWS(ReplayRecording(path, *prepared.backend, prepared.model, Precision::Fp32), "recording.invalid");
  StreamOptions unwritable = SmallStream();
  unwritable.recordPath = "/nonexistent/folder/file";
  const auto engine = OpenEngine();
  CHECK_THROWS(engine->createStream(unwritable, std::make_shared<Collector>()), "engine.recording");
}

TEST("plain bf16: everything between operations is bf16, and the error is bf16's") {
  Prepared prepared;
  const auto plain =
      tools::MakePlainBf16(prepared.backend->prepare(*prepared.weights,
                                                     [&] {
                                                       Threads pool(kWorkers);
                                                       return ComputeModelConstants(*prepared.weights, pool);
                                                     }(),
                                                     Precision::Fp32, {}));
  NetworkOptions options;
  options.geometry = {128, 256, 128, 256};
  options.maxSourceWidth = options.maxSourceHeight = 64;
  options.outputFormat.pixels = PixelFormat::Rgb24;
  std::map<std::string, std::vector<float>> seen[2];
  for (int i = 0; i < 2; ++i) {
    Network network(*prepared.backend, i == 0 ? prepared.model : plain, Precision::Fp32, options);
    ChunkRequest request;
    request.settings.topkRatio = 100;  // every window: masks cannot differ
    request.settings.colourMatch = ColourMatch::None;
    for (int frame = 0; frame < kFirstChunkFrames; ++frame)
      request.pictures.push_back(SourceOf(Picture(64, 32, frame)));
    request.outputs.resize(kFirstChunkOutputs);
    NetworkHooks hooks;
    hooks.decodeSkippedFrames = true;
    hooks.onTensor = [&](const std::string& name, Executor& executor, const Tensor& tensor) {
      seen[i][name] = executor.read(tensor);
    };
    network.run(std::move(request), &hooks).fence->wait();
  }
  for (const float value : seen[1].at("block.1")) CHECK_EQUAL(BFloat16ToFloat(FloatToBFloat16(value)), value);
  for (const char* name : {"block.0", "block.1", "latent", "decoded.20"}) {
    const double error = Relative(seen[1].at(name), seen[0].at(name));
    CHECK(error > 1.0 / 2048 && error < 1.0 / 64);
  }
}

TEST("devices: an unknown one and an absent CUDA are refused with the reason; auto falls back") {
  CHECK_THROWS(OpenBackend("tpu", 0, 1, ""), "engine.device");
  const Error error = CHECK_THROWS(OpenBackend("cuda", 0, 1, "/nonexistent/libflashvsr_cuda.so"), "engine.device");
  CHECK(error.message().find("CUDA cannot be used") != std::string::npos);
  CHECK_EQUAL(OpenBackend("auto", 0, 1, "/nonexistent/libflashvsr_cuda.so")->info().device, std::string("reference"));
  bool reference = false;
  for (const DeviceReport& report : ListDevices("/nonexistent/libflashvsr_cuda.so"))
    reference = reference || (report.device == "reference" && report.usable);
  CHECK(reference);
  EngineOptions options;
  options.device = "reference";
  options.precision = Precision::Bf16;
  CHECK_THROWS(Engine::Open(Weights(), options), "engine.device");
  options.precision.reset();
  options.progress = [](std::uint64_t, std::uint64_t) { return false; };
  CHECK_THROWS(Engine::Open(Weights(), options), "engine.cancelled");
}

}  // namespace
}  // namespace flashvsr::test
