// Pictures from the engine to JavaScript.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>

#include "engine/engine.h"

namespace flashvsr::addon {

// Frames of one stream whose memory JavaScript holds. JS thread only, but for the engine's own counting.
struct FrameLoans {
  // A receiver that never releases must not stall the engine, whose output queue counts what is held: beyond this many
  // loans, and for small pictures always, JavaScript gets a copy in its own memory instead.
  static constexpr int kMax = 24;
  static constexpr std::size_t kAlwaysCopyBytes = 64 * 1024;
  int count = 0;
};

// { data: ArrayBuffer, width, height, mediaTime, frameIndex, arrivedUs, chunkIndex, matrix, range, loan?: External }.
// `data` has the tight layout of picture.h. With a loan it is the engine's own memory, given back by ReleaseFrame or,
// at the latest, when `data` is collected.
Napi::Object FrameObject(Napi::Env env, const OutputFrame& frame, const std::shared_ptr<FrameLoans>& loans);

// releaseFrame(loan, data): detaches `data` (a reader that still holds it sees an empty buffer) and gives the memory
// back. Idempotent.
void ReleaseFrame(const Napi::CallbackInfo& info);

}  // namespace flashvsr::addon
