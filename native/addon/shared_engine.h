// The engines of this process. Worker threads load the same module file, so they share this table: a request for an
// engine that exists, or is being opened, gets that one. Nothing of Node here.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/engine.h"

namespace flashvsr::addon {

struct ModelLocation {
  enum class Kind { Imported, Official, Synthetic } kind = Kind::Imported;
  std::string path;  // Imported: the .safetensors file; Official: the folder; Synthetic: unused
  ModelVariant variant = ModelVariant::V1_1;
};

// Progress goes to the first opener only.
using OpenProgress = std::function<bool(std::string_view step, std::uint64_t done, std::uint64_t total)>;

struct EngineSlot;

// Keeps an engine open. The engine closes, on a separate thread, when the last lease is gone.
class EngineLease {
 public:
  EngineLease() = default;
  // Blocks while the engine is being opened. Throws flashvsr::Error; a failed opening is forgotten, so that the next
  // caller tries again. An engine that has failed for good (scope Engine) is never handed out again.
  static std::shared_ptr<EngineLease> Acquire(const ModelLocation& model, const EngineOptions& options,
                                              const OpenProgress& progress);
  ~EngineLease();
  EngineLease(const EngineLease&) = delete;
  EngineLease& operator=(const EngineLease&) = delete;

  Engine& engine() const { return *engine_; }
  // Called by a stream that got an error of scope Engine: later callers get a new engine.
  void markFailed() const;

 private:
  std::string key_;
  std::shared_ptr<EngineSlot> slot_;
  std::shared_ptr<Engine> engine_;
};

// Waits until every engine whose last lease went before this call is closed and its memory given back.
void WaitForClosedEngines();

// Engines open now, for tests.
int OpenEngines();

// The weights of a model, checked.
std::shared_ptr<const ModelWeights> OpenModel(const ModelLocation& model, LoadOptions options);

}  // namespace flashvsr::addon
