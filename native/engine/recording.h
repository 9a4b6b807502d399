// A stream written to a file and run again: what went into every chunk (frames, settings, repeats) and a hash of every
// frame that came out. Timing plays no part in a replay, so deadlines that once cut a chunk cut it at the same place
// again.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "engine/chunk_builder.h"
#include "engine/engine.h"

namespace flashvsr {

// FNV-1a over 64 bits.
std::uint64_t HashBytes(const std::uint8_t* data, std::size_t bytes);

// File: "FVSRREC1", then records of type (1 byte), length (8 bytes) and content, little-endian.
class RecordingWriter {
 public:
  // Throws Error of scope Stream when the file cannot be made.
  RecordingWriter(const std::string& path, const StreamOptions& options);
  // The stream starts again, with these options.
  void restart(const StreamOptions& options);
  void chunk(const GatheredChunk& chunk, const StreamSettings& settings);
  void output(std::int64_t frameIndex, std::int64_t mediaTime, std::uint64_t hash);

 private:
  void write(char type, const std::string& content);
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
};

struct ReplayReport {
  std::int64_t chunks = 0, frames = 0, differing = 0, missing = 0;
  bool same() const { return frames > 0 && differing == 0 && missing == 0; }
};

// Runs the recording again and compares the hashes. Throws Error for a file that is not a whole recording.
ReplayReport ReplayRecording(const std::filesystem::path& path, const Backend& backend,
                             const std::shared_ptr<PreparedModel>& model, Precision precision);

}  // namespace flashvsr
