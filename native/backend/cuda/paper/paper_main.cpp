// flashvsr_paper [--resources DIR] [--size HxW]... [--json FILE] [--commit ID] [--launches]
// Runs whole chunks of the CUDA backend for cards that exist on paper (paper_runtime.h), without a GPU:
//   - every launch of every precision is held against the limits of every compute capability: threads, shared memory
//   and,
//     with what ptxas reported (--resources, made by KEEP=DIR scripts/check-kernels.sh), registers. Exit 1 when one
//     fails
//   - --json: memory and tensor-core instructions of a steady chunk by size, precision and sparse ratio, for
//     docs/consumer-cards.md
// --launches prints the largest need of every kernel by card.
#include <sys/mman.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/paper/account.h"
#include "engine/constants.h"
#include "engine/device.h"
#include "engine/network.h"
#include "engine/stream_plan.h"
#include "engine/synthetic_weights.h"
#include "tools/arguments.h"
#include "tools/bench/report.h"
#include "tools/bench/work.h"

namespace flashvsr::paper {
namespace {

constexpr std::int64_t kMemory = std::int64_t{1} << 40;  // plenty: what is needed is asked, not what fits

// Shared memory a block may ask for (CUDA C++ Programming Guide, technical specifications by compute capability).
const std::vector<Card>& Cards() {
  static const std::vector<Card> cards{{"sm_80", 8, 0, kMemory, 163 << 10},   {"sm_86", 8, 6, kMemory, 99 << 10},
                                       {"sm_89", 8, 9, kMemory, 99 << 10},    {"sm_90", 9, 0, kMemory, 227 << 10},
                                       {"sm_100", 10, 0, kMemory, 227 << 10}, {"sm_120", 12, 0, kMemory, 99 << 10}};
  return cards;
}

// A model of zeros that share their pages.
class Zeros final : public TensorSource {
 public:
  Zeros(const std::vector<TensorSpec>& specs, std::string_view part) {
    for (const TensorSpec& spec : specs)
      if (spec.part == part) most_ = std::max(most_, CheckedBytes(DType::BF16, spec.shape).value_or(0));
    bytes_ = mmap(nullptr, most_, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bytes_ == MAP_FAILED) FailInternal("no address space for a model of zeros");
    for (const TensorSpec& spec : specs) {
      if (spec.part != part) continue;
      const auto found = views_.emplace(spec.name, TensorView{}).first;
      found->second = {found->first,
                       DType::BF16,
                       spec.shape,
                       {static_cast<const std::byte*>(bytes_), CheckedBytes(DType::BF16, spec.shape).value_or(0)}};
    }
  }
  Zeros(const Zeros&) = delete;
  Zeros& operator=(const Zeros&) = delete;
  ~Zeros() override { munmap(bytes_, most_); }
  const TensorView* find(std::string_view name) const override {
    const auto found = views_.find(name);
    return found == views_.end() ? nullptr : &found->second;
  }
  std::vector<std::string_view> names() const override {
    std::vector<std::string_view> all;
    for (const auto& [name, view] : views_) all.push_back(name);
    return all;
  }

 private:
  std::map<std::string, TensorView, std::less<>> views_;
  std::uint64_t most_ = 0;
  void* bytes_ = nullptr;
};

std::shared_ptr<const ModelWeights> WeightsOf(const ModelDims& dims) {
  const std::vector<TensorSpec> specs = ExpectedTensors(dims);
  LoadOptions options;
  options.variant = dims.variant;
  options.checkFinite = false;
  return ModelWeights::FromSources(
      {std::make_shared<Zeros>(specs, "transformer"), std::make_shared<Zeros>(specs, "projector"),
       std::make_shared<Zeros>(specs, "decoder"), std::make_shared<Zeros>(specs, "prompt"), nullptr},
      options);
}

ModelConstants ConstantsOf(const ModelDims& dims) {
  ModelConstants constants;
  constants.time.resize(static_cast<std::size_t>(dims.dim));
  constants.timeModulation.resize(static_cast<std::size_t>(6 * dims.dim));
  constants.context.resize(static_cast<std::size_t>(dims.textLen * dims.dim));
  return constants;
}

StreamOptions StreamOf(int height, int width, double sparseRatio) {
  StreamOptions options;
  options.sourceHeight = (height + 3) / 4;
  options.sourceWidth = (width + 3) / 4;
  options.outputHeight = height;
  options.outputWidth = width;
  options.settings.sparseRatio = sparseRatio;
  return options;
}

// One card with one model on it.
class PaperEngine {
 public:
  // `all` gets every launch, also of a card on which the model cannot be prepared.
  PaperEngine(const Card& card, const std::map<std::string, Resources>& resources, Precision precision, Account& all)
      : precision_(precision) {
    UseCard(card, resources);
    Observe([this, &all](const Launch& launch) {
      all.add(launch);
      if (steady_) steady_->add(launch);
    });
    const bool hopper = card.major == 9;
    setenv("FLASHVSR_CUDA_PATH", hopper ? "auto" : "portable", 1);
    setenv("FLASHVSR_CUBLASLT", "/dev/null", 1);  // a vendor's library has no place on paper
    std::array<char, 512> reason{};
    backend_.reset(cuda::CreateBackend(kBackendAbiVersion, 0, reason.data(), reason.size()));
    if (!backend_) FailInternal(reason.data());
    const ModelDims dims = OfficialDims();
    const auto weights = WeightsOf(dims);
    model_ = backend_->prepare(*weights, ConstantsOf(dims), precision, {});
  }
  PaperEngine(const PaperEngine&) = delete;
  PaperEngine& operator=(const PaperEngine&) = delete;
  ~PaperEngine() { Observe({}); }

  // Chunk 0 and two steady ones of a stream; the last of them is what instructions() counts.
  void runStream(const StreamOptions& options, PixelFormat format = PixelFormat::I420) {
    NetworkOptions network = NetworkOptionsOf(options);
    network.outputFormat.pixels = format;
    Network stream(*backend_, model_, precision_, network);
    for (std::int64_t chunk = 0; chunk < 3; ++chunk) {
      steady_.emplace();
      ChunkRequest request;
      request.settings = options.settings;
      request.position = chunk == 0 ? 0 : 2 * chunk + 4;
      const std::size_t bytes =
          static_cast<std::size_t>(TightPictureBytes(format, options.sourceWidth, options.sourceHeight));
      const std::shared_ptr<std::uint8_t[]> data = stream.executor().allocateHost(bytes);
      for (int i = 0; i < (chunk == 0 ? kFirstChunkFrames : kChunkFrames); ++i)
        request.pictures.push_back(std::make_shared<SourcePicture>(
            SourcePicture{{format, {}, {}}, options.sourceWidth, options.sourceHeight, data}));
      const std::size_t out =
          static_cast<std::size_t>(TightPictureBytes(format, options.outputWidth, options.outputHeight));
      for (int i = 0; i < (chunk == 0 ? kFirstChunkOutputs : kChunkFrames); ++i)
        request.outputs.push_back(stream.executor().allocateHost(out));
      stream.run(std::move(request));
    }
  }

  MemoryPlan plan(const StreamOptions& options) const {
    return Network::Plan(*backend_, *model_, precision_, NetworkOptionsOf(options));
  }
  const Instructions& instructions() const { return steady_->instructions(); }
  const ModelDims& dims() const { return model_->dims(); }

 private:
  Precision precision_;
  std::optional<Account> steady_;
  std::unique_ptr<Backend> backend_;
  std::shared_ptr<PreparedModel> model_;
};

std::vector<Precision> PrecisionsOf(const Card& card) {
  std::vector<Precision> all{Precision::Bf16, Precision::Fp32, Precision::Int8};
  if (card.major * 10 + card.minor >= 89) all.push_back(Precision::Fp8);
  return all;
}

// @returns whether every launch fits.
bool CheckCard(const Card& card, const tools::Arguments& arguments) {
  std::map<std::string, Resources> resources;
  if (arguments.has("--resources"))
    resources = ReadResources(arguments.text("--resources", ""), card.major * 10 + card.minor);
  std::map<std::string, Need> needs;
  std::map<std::string, std::string> problems;
  for (const Precision precision : PrecisionsOf(card)) {
    Account all;
    try {
      PaperEngine engine(card, resources, precision, all);
      for (const ColourMatch match : {ColourMatch::Adain, ColourMatch::Wavelet}) {
        StreamOptions large = StreamOf(1536, 2560, 2.0), small = StreamOf(256, 384, 1.0);
        large.settings.colourMatch = small.settings.colourMatch = match;
        engine.runStream(large);
        engine.runStream(small, PixelFormat::Rgb24);
      }
    } catch (const Error& error) {
      if (all.problems().empty()) problems.emplace(std::string(PrecisionName(precision)), error.message());
    }
    problems.insert(all.problems().begin(), all.problems().end());
    for (const auto& [name, need] : all.needs()) {
      Need& most = needs[name];
      most.threads = std::max(most.threads, need.threads);
      most.registers = std::max(most.registers, need.registers);
      most.sharedBytes = std::max(most.sharedBytes, need.sharedBytes);
    }
  }
  std::size_t shared = 0, unknown = 0;
  for (const auto& [name, need] : needs) {
    shared = std::max(shared, need.sharedBytes);
    unknown += need.registers == 0 ? 1 : 0;
    if (arguments.flag("--launches"))
      std::printf("  %-100s %5u threads  %3d registers  %6zu bytes shared\n", name.c_str(), need.threads,
                  need.registers, need.sharedBytes);
  }
  std::printf("%-7s %2zu kernels launched, most shared memory %6zu of %6zu bytes, registers %s: %s\n",
              card.name.c_str(), needs.size(), shared, card.sharedBytesPerBlock,
              unknown == 0              ? "checked"
              : unknown == needs.size() ? "not checked"
                                        : (std::to_string(unknown) + " kernels unknown").c_str(),
              problems.empty() ? "ok" : "FAIL");
  for (const auto& [name, problem] : problems) std::printf("        %s: %s\n", name.c_str(), problem.c_str());
  // With a report at hand, a kernel that is not in it is a defect of the report.
  return problems.empty() && (!arguments.has("--resources") || resources.empty() || unknown == 0);
}

bench::Object RowOf(PaperEngine& engine, int height, int width, double sparseRatio) {
  const StreamOptions options = StreamOf(height, width, sparseRatio);
  engine.runStream(options);
  const Instructions& i = engine.instructions();
  const bench::Work work = bench::WorkOf(engine.dims(), options);
  const MemoryPlan plan = engine.plan(options);
  bench::Object instructions, memory, row;
  instructions.number("projector", i.projector, 0)
      .number("linear", i.linear, 0)
      .number("linear8", i.linear8, 0)
      .number("sparseAttention", i.sparseAttention, 0)
      .number("crossAttention", i.crossAttention, 0)
      .number("decoder", i.decoder, 0);
  memory.number("weights", static_cast<double>(plan.weightBytes), 0)
      .number("kvCache", static_cast<double>(plan.kvCacheBytes), 0)
      .number("decoder", static_cast<double>(plan.decoderBytes), 0)
      .number("pictures", static_cast<double>(plan.pictureBytes), 0)
      .number("workspace", static_cast<double>(plan.workspaceBytes), 0);
  return row.number("height", height, 0)
      .number("width", width, 0)
      .number("sparseRatio", sparseRatio, 1)
      .object("instructions", instructions)
      .list("gigabytesMoved", {work.bytes[0] / 1e9, work.bytes[1] / 1e9, work.bytes[2] / 1e9, work.bytes[3] / 1e9})
      .object("memory", memory);
}

void WriteJson(const tools::Arguments& arguments, const std::vector<std::pair<int, int>>& sizes) {
  std::string rows;
  for (const Precision precision : {Precision::Bf16, Precision::Fp8, Precision::Int8}) {
    Account all;
    PaperEngine engine({"sm_89", 8, 9, kMemory, 99 << 10}, {}, precision, all);
    for (const auto& [height, width] : sizes)
      for (const double ratio : {2.0, 1.5})
        rows += (rows.empty() ? "" : ",\n    ") +
                RowOf(engine, height, width, ratio).text("precision", std::string(PrecisionName(precision))).json();
  }
  std::ofstream file(arguments.text("--json", ""));
  file << "{\n  \"commit\": \"" << arguments.text("--commit", "unknown") << "\",\n  \"rows\": [\n    " << rows
       << "\n  ]\n}\n";
  if (!file) throw Error("arguments", ErrorScope::Engine, "cannot write " + arguments.text("--json", ""));
}

int Main(int argc, char** argv) {
  const tools::Arguments arguments(argc, argv, {"--resources", "--size", "--json", "--commit"}, {"--launches"});
  std::vector<std::pair<int, int>> sizes;
  for (const std::string& size : arguments.all("--size")) sizes.push_back(tools::Arguments::Size(size));
  if (sizes.empty()) sizes = {{512, 896}, {640, 1152}, {768, 1408}, {1152, 2048}, {1536, 2560}};
  bool passed = true;
  for (const Card& card : Cards()) passed = CheckCard(card, arguments) && passed;
  if (arguments.has("--json")) WriteJson(arguments, sizes);
  return passed ? 0 : 1;
}

}  // namespace
}  // namespace flashvsr::paper

int main(int argc, char** argv) {
  try {
    return flashvsr::paper::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "flashvsr_paper: %s\n", error.what());
    return 1;
  }
}
