// What flashvsr_bench measures on an open engine: streams fed with drawn pictures, and when their pictures are on the
// host.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace flashvsr::bench {

// One picture that came out. Microseconds of one steady clock.
struct Arrival {
  std::int64_t frameIndex = 0, chunkIndex = 0;
  std::int64_t pushedUs = 0, readyUs = 0;
};

struct StreamResult {
  std::vector<Arrival> arrivals;
  std::vector<StageTimes> stages;               // by chunk, as far as another one followed
  std::vector<std::vector<std::uint8_t>> luma;  // of every picture, when asked for
  double createMs = 0;                          // createStream()
  std::int64_t startUs = 0;                     // before the first push
};

// Streams of `options` on `engine`, all alike.
class Run {
 public:
  Run(Engine& engine, const StreamOptions& options, int streams, bool keepLuma = false);
  ~Run();
  // Pushes as fast as frames are accepted until every stream has delivered all pictures of chunk `chunks`.
  void saturate(std::int64_t chunks);
  // Pushes in real time, stream i `offsetsMs[i]` later than the clock, then waits until nothing more comes out.
  void pace(double framesPerSecond, double seconds, const std::vector<double>& offsetsMs);
  // Pushes `frames` at once into stream 0 and waits for its first picture. @returns milliseconds from the first push
  double firstPicture(int frames);
  // Results so far.
  std::vector<StreamResult> results() const;

 private:
  class Sink;
  void push(std::size_t stream, std::int64_t frame);
  void check() const;

  StreamOptions options_;
  std::vector<std::vector<std::uint8_t>> pictures_;  // a loop of frames
  std::vector<std::shared_ptr<Sink>> sinks_;
  std::vector<std::shared_ptr<Stream>> streams_;
  std::vector<std::int64_t> pushed_;
  std::vector<double> createMs_;
  std::vector<std::int64_t> startUs_;
};

std::int64_t NowUs();
double Quantile(std::vector<double> values, double q);

// Frames a second over all streams and medians of stages, chunks warmup+1 to the last whole one.
struct Steady {
  double framesPerSecond = 0;
  std::array<double, 4> stageMs{};  // project, denoise, reveal, match
};
Steady SteadyOf(const std::vector<StreamResult>& results, std::int64_t warmup, std::int64_t chunks);

// Milliseconds from push to picture over the chunks after the first `skip` of every stream.
struct Latency {
  double p50 = 0, p95 = 0;  // of all pictures
  double delayP50 = 0, delayP95 = 0,
         delayMax = 0;  // of the picture that waits longest, by chunk: the delay that shows every picture in time
  int pictures = 0, chunks = 0;
};
Latency LatencyOf(const std::vector<StreamResult>& results, std::int64_t skip);

// When the pictures of a steady chunk are there, by place in the chunk: milliseconds after the first (medians).
std::vector<double> SpreadOf(const std::vector<StreamResult>& results, std::int64_t skip);

// Peak signal-to-noise ratio of the luma of all pictures that both have, decibels.
double LumaDecibels(const StreamResult& a, const StreamResult& b);

}  // namespace flashvsr::bench
