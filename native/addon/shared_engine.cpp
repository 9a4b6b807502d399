#include "addon/shared_engine.h"

#include <chrono>
#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <thread>

#include "common/threads.h"
#include "engine/synthetic_weights.h"

namespace flashvsr::addon {

namespace {

constexpr std::uint64_t kSyntheticSeed = 1;
constexpr auto kPollCancelled = std::chrono::milliseconds(50);

}  // namespace

struct EngineSlot {
  std::shared_future<std::shared_ptr<Engine>> engine;
  int leases = 0;  // guarded by the table's mutex
};

namespace {

struct Table {
  std::mutex mutex;
  std::condition_variable closedOne;
  std::map<std::string, std::shared_ptr<EngineSlot>> slots;
  int open = 0;
  int closing = 0;
};

// Never destroyed: threads of other environments may still be ending when the process's statics go.
Table& TheTable() {
  static Table* const table = new Table();
  return *table;
}

Error Cancelled() { return Error("engine.cancelled", ErrorScope::Engine, "opening the engine was cancelled"); }

std::string KeyOf(const ModelLocation& model, const EngineOptions& options) {
  const auto part = [](const std::string& text) { return std::to_string(text.size()) + ":" + text + ";"; };
  return part(model.path) + part(std::to_string(static_cast<int>(model.kind))) +
         part(std::string(VariantName(model.variant))) + part(options.device) +
         part(std::to_string(options.deviceIndex)) +
         part(options.precision ? std::to_string(static_cast<int>(*options.precision)) : "") +
         part(std::to_string(options.threads)) + part(options.cudaLibraryPath);
}

std::shared_ptr<Engine> Open(const ModelLocation& model, EngineOptions options, const OpenProgress& progress) {
  const auto step = [&progress](std::string_view name) -> LoadProgress {
    return
        [&progress, name](std::uint64_t done, std::uint64_t total) { return !progress || progress(name, done, total); };
  };
  LoadOptions load;
  load.progress = step("check");
  const auto weights = OpenModel(model, load);
  options.progress = step("prepare");
  return Engine::Open(weights, options);
}

}  // namespace

std::shared_ptr<const ModelWeights> OpenModel(const ModelLocation& model, LoadOptions options) {
  options.variant = model.variant;
  switch (model.kind) {
    case ModelLocation::Kind::Imported:
      return ModelWeights::OpenImported(model.path, options);
    case ModelLocation::Kind::Official:
      return ModelWeights::OpenOfficialFolder(model.path, options);
    case ModelLocation::Kind::Synthetic: {
      Threads threads(static_cast<int>(std::thread::hardware_concurrency()));
      ModelDims dims = model.path.starts_with("micro") ? MicroDims() : OfficialDims();
      if (model.path.ends_with("-wan")) dims.wanWidth = model.path.starts_with("micro") ? 16 : kOfficialWanWidth;
      dims.variant = model.variant;
      return MakeSyntheticWeights(dims, kSyntheticSeed, threads);
    }
  }
  FailInternal("unknown kind of model");
}

std::shared_ptr<EngineLease> EngineLease::Acquire(const ModelLocation& model, const EngineOptions& options,
                                                  const OpenProgress& progress) {
  Table& table = TheTable();
  auto lease = std::make_shared<EngineLease>();
  const std::string key = KeyOf(model, options);
  while (true) {
    std::promise<std::shared_ptr<Engine>> opening;
    std::shared_ptr<EngineSlot> slot;
    bool mine = false;
    {
      const std::lock_guard lock(table.mutex);
      std::shared_ptr<EngineSlot>& known = table.slots[key];
      if (!known) {
        known = std::make_shared<EngineSlot>();
        known->engine = opening.get_future().share();
        mine = true;
      }
      slot = known;
      ++slot->leases;
    }
    const auto giveUp = [&] {
      const std::lock_guard lock(table.mutex);
      --slot->leases;
      const auto found = table.slots.find(key);
      if (mine && found != table.slots.end() && found->second == slot) table.slots.erase(found);
    };
    if (mine) {
      try {
        auto engine = Open(model, options, progress);
        {
          const std::lock_guard lock(table.mutex);
          ++table.open;
        }
        opening.set_value(std::move(engine));
      } catch (...) {
        giveUp();
        opening.set_exception(std::current_exception());
        throw;
      }
    }
    while (slot->engine.wait_for(kPollCancelled) != std::future_status::ready) {
      if (progress && !progress("wait", 0, 1)) {
        giveUp();
        throw Cancelled();
      }
    }
    try {
      lease->engine_ = slot->engine.get();
    } catch (const Error& error) {
      giveUp();
      // The worker that was opening it has ended; the opening itself may be fine, and is now this caller's.
      if (error.code() == "engine.cancelled" && (!progress || progress("wait", 0, 1))) continue;
      throw;
    }
    lease->key_ = key;
    lease->slot_ = std::move(slot);
    return lease;
  }
}

void EngineLease::markFailed() const {
  Table& table = TheTable();
  const std::lock_guard lock(table.mutex);
  const auto found = table.slots.find(key_);
  if (found != table.slots.end() && found->second == slot_) table.slots.erase(found);
}

EngineLease::~EngineLease() {
  if (!engine_) return;
  Table& table = TheTable();
  {
    const std::lock_guard lock(table.mutex);
    if (--slot_->leases > 0) return;
    const auto found = table.slots.find(key_);
    if (found != table.slots.end() && found->second == slot_) table.slots.erase(found);
    ++table.closing;
  }
  // Closing waits for the chunk at work: seconds on a CPU, and never on a JavaScript thread.
  std::thread([engine = std::move(engine_), slot = std::move(slot_)]() mutable {
    engine->close();
    engine.reset();
    slot.reset();
    Table& table = TheTable();
    const std::lock_guard lock(table.mutex);
    --table.closing;
    --table.open;
    table.closedOne.notify_all();
  }).detach();
}

void WaitForClosedEngines() {
  Table& table = TheTable();
  std::unique_lock lock(table.mutex);
  table.closedOne.wait(lock, [&] { return table.closing == 0; });
}

int OpenEngines() {
  Table& table = TheTable();
  const std::lock_guard lock(table.mutex);
  return table.open;
}

}  // namespace flashvsr::addon
