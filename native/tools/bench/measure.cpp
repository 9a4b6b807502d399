#include "tools/bench/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <thread>

#include "engine/network.h"

namespace flashvsr::bench {

std::int64_t NowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(std::lround(q * static_cast<double>(values.size() - 1)))];
}

class Run::Sink final : public StreamListener {
 public:
  explicit Sink(bool keepLuma) : keepLuma_(keepLuma) {}
  void onFrame(OutputFrame frame) override {
    const std::int64_t now = NowUs();
    const std::lock_guard lock(mutex);
    if (!result.arrivals.empty() && result.arrivals.back().chunkIndex != frame.chunkIndex)
      result.stages.push_back(stream->stats().lastChunk);
    result.arrivals.push_back({frame.frameIndex, frame.chunkIndex, frame.arrivedUs, now});
    if (keepLuma_)
      result.luma.emplace_back(frame.data.get(), frame.data.get() + static_cast<std::size_t>(frame.width) *
                                                                        static_cast<std::size_t>(frame.height));
    changed.notify_all();
  }
  void onFlushed(std::uint64_t) override {}
  void onError(const Error& failure) override {
    const std::lock_guard lock(mutex);
    error = failure;
    changed.notify_all();
  }
  void onClosed() override {
    const std::lock_guard lock(mutex);
    closed = true;
    changed.notify_all();
  }

  mutable std::mutex mutex;
  std::condition_variable changed;
  std::optional<Error> error;
  bool closed = false;
  StreamResult result;
  Stream* stream = nullptr;

 private:
  bool keepLuma_;
};

namespace {

// Moving patterns with detail and noise, so that masks and statistics are not degenerate.
std::vector<std::vector<std::uint8_t>> DrawLoop(int width, int height) {
  constexpr int kLoop = 32;
  std::vector<std::vector<std::uint8_t>> pictures;
  std::uint32_t noise = 1;
  for (int t = 0; t < kLoop; ++t) {
    std::vector<std::uint8_t> picture(static_cast<std::size_t>(TightPictureBytes(PixelFormat::I420, width, height)));
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x) {
        noise = noise * 1664525U + 1013904223U;
        picture[static_cast<std::size_t>(y * width + x)] = static_cast<std::uint8_t>(
            16 + ((x * 3 + y * 2 + t * 4) ^ (x * y / 16)) % 200 + static_cast<int>(noise >> 29));
      }
    std::fill(picture.begin() + width * height, picture.end(), static_cast<std::uint8_t>(110 + t % 30));
    pictures.push_back(std::move(picture));
  }
  return pictures;
}

}  // namespace

Run::Run(Engine& engine, const StreamOptions& options, int streams, bool keepLuma)
    : options_(options),
      pictures_(DrawLoop(options.sourceWidth, options.sourceHeight)),
      pushed_(static_cast<std::size_t>(streams), 0) {
  for (int i = 0; i < streams; ++i) {
    sinks_.push_back(std::make_shared<Sink>(keepLuma));
    const std::int64_t before = NowUs();
    streams_.push_back(engine.createStream(options_, sinks_.back()));
    createMs_.push_back(static_cast<double>(NowUs() - before) / 1000.0);
    sinks_.back()->stream = streams_.back().get();
    startUs_.push_back(0);
  }
}

// The device's memory is free again when this returns.
Run::~Run() {
  for (const auto& stream : streams_) stream->close();
  for (const auto& sink : sinks_) {
    std::unique_lock lock(sink->mutex);
    sink->changed.wait(lock, [&] { return sink->closed; });
  }
}

void Run::check() const {
  for (const auto& sink : sinks_) {
    const std::lock_guard lock(sink->mutex);
    if (sink->error) throw *sink->error;
  }
}

void Run::push(std::size_t stream, std::int64_t frame) {
  const std::vector<std::uint8_t>& picture = pictures_[static_cast<std::size_t>(frame) % pictures_.size()];
  const int width = options_.sourceWidth, height = options_.sourceHeight, chroma = (width + 1) / 2;
  FrameView view;
  view.width = width;
  view.height = height;
  view.planes = {picture.data(), picture.data() + width * height,
                 picture.data() + width * height + chroma * ((height + 1) / 2)};
  view.strides = {width, chroma, chroma};
  if (startUs_[stream] == 0) startUs_[stream] = NowUs();
  if (streams_[stream]->push(view, frame * 3000) == PushResult::Accepted) ++pushed_[stream];
}

void Run::saturate(std::int64_t chunks) {
  const std::int64_t wanted = options_.coldStartFrames + chunks * kChunkFrames;
  for (;;) {
    bool done = true, full = true;
    for (std::size_t i = 0; i < streams_.size(); ++i) {
      if (pushed_[i] >= wanted) continue;
      done = false;
      const std::int64_t before = pushed_[i];
      push(i, before);
      if (pushed_[i] != before) full = false;
    }
    check();
    if (done) break;
    if (full) std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
  for (const auto& sink : sinks_) {
    std::unique_lock lock(sink->mutex);
    const auto last = static_cast<std::size_t>(wanted - kLookAheadFrames);
    sink->changed.wait(lock, [&] { return sink->error || sink->result.arrivals.size() >= last; });
    if (sink->error) throw *sink->error;
  }
}

void Run::pace(double framesPerSecond, double seconds, const std::vector<double>& offsetsMs) {
  struct Event {
    double atMs;
    std::size_t stream;
    std::int64_t frame;
  };
  std::vector<Event> events;
  const auto frames = static_cast<std::int64_t>(seconds * framesPerSecond);
  for (std::size_t i = 0; i < streams_.size(); ++i)
    for (std::int64_t frame = 0; frame < frames; ++frame)
      events.push_back({offsetsMs.at(i) + static_cast<double>(frame) * 1000.0 / framesPerSecond, i, frame});
  std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) { return a.atMs < b.atMs; });
  const auto start = std::chrono::steady_clock::now();
  for (const Event& event : events) {
    std::this_thread::sleep_until(start + std::chrono::microseconds(static_cast<std::int64_t>(event.atMs * 1000)));
    push(event.stream, event.frame);  // a refused frame is gone, as live
    check();
  }
  // What is in whole chunks comes out; the rest waits for frames that never come.
  std::size_t before = 0;
  for (;;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(600));
    check();
    std::size_t now = 0;
    for (const StreamResult& result : results()) now += result.arrivals.size();
    if (now == before) return;
    before = now;
  }
}

double Run::firstPicture(int frames) {
  for (int i = 0; i < frames; ++i) push(0, i);
  Sink& sink = *sinks_[0];
  std::unique_lock lock(sink.mutex);
  sink.changed.wait(lock, [&] { return sink.error || !sink.result.arrivals.empty(); });
  if (sink.error) throw *sink.error;
  return static_cast<double>(sink.result.arrivals[0].readyUs - startUs_[0]) / 1000.0;
}

std::vector<StreamResult> Run::results() const {
  std::vector<StreamResult> all;
  for (std::size_t i = 0; i < sinks_.size(); ++i) {
    const std::lock_guard lock(sinks_[i]->mutex);
    all.push_back(sinks_[i]->result);
    all.back().createMs = createMs_[i];
    all.back().startUs = startUs_[i];
  }
  return all;
}

Steady SteadyOf(const std::vector<StreamResult>& results, std::int64_t warmup, std::int64_t chunks) {
  const auto endOf = [](const StreamResult& result, std::int64_t chunk) {
    std::int64_t at = 0;
    for (const Arrival& arrival : result.arrivals)
      if (arrival.chunkIndex == chunk) at = arrival.readyUs;
    return at;
  };
  std::int64_t begin = 0, end = 0, frames = 0;
  std::array<std::vector<double>, 4> ms;
  for (const StreamResult& result : results) {
    begin = std::max(begin, endOf(result, warmup));
    end = std::max(end, endOf(result, warmup + chunks));
    for (std::size_t k = static_cast<std::size_t>(warmup) + 1; k < result.stages.size(); ++k) {
      const StageTimes& times = result.stages[k];
      const std::array<double, 4> values{times.project, times.denoise, times.reveal, times.match};
      for (std::size_t i = 0; i < 4; ++i) ms[i].push_back(values[i]);
    }
  }
  for (const StreamResult& result : results)
    for (const Arrival& arrival : result.arrivals) frames += arrival.readyUs > begin && arrival.readyUs <= end ? 1 : 0;
  Steady steady;
  steady.framesPerSecond =
      static_cast<double>(frames) * 1e6 / static_cast<double>(std::max<std::int64_t>(end - begin, 1));
  for (std::size_t i = 0; i < 4; ++i) steady.stageMs[i] = Quantile(ms[i], 0.5);
  return steady;
}

Latency LatencyOf(const std::vector<StreamResult>& results, std::int64_t skip) {
  std::vector<double> all, longest;
  for (const StreamResult& result : results) {
    std::map<std::int64_t, double> byChunk;
    for (const Arrival& arrival : result.arrivals) {
      if (arrival.chunkIndex < skip) continue;
      const double ms = static_cast<double>(arrival.readyUs - arrival.pushedUs) / 1000.0;
      all.push_back(ms);
      byChunk[arrival.chunkIndex] = std::max(byChunk[arrival.chunkIndex], ms);
    }
    for (const auto& [chunk, ms] : byChunk) longest.push_back(ms);
  }
  return {
      Quantile(all, 0.5),     Quantile(all, 0.95),          Quantile(longest, 0.5),          Quantile(longest, 0.95),
      Quantile(longest, 1.0), static_cast<int>(all.size()), static_cast<int>(longest.size())};
}

std::vector<double> SpreadOf(const std::vector<StreamResult>& results, std::int64_t skip) {
  std::array<std::vector<double>, kChunkFrames> after;
  for (const StreamResult& result : results) {
    std::size_t place = 0;
    std::int64_t firstUs = 0;
    for (std::size_t i = 0; i < result.arrivals.size(); ++i) {
      const Arrival& arrival = result.arrivals[i];
      place = i > 0 && result.arrivals[i - 1].chunkIndex == arrival.chunkIndex ? place + 1 : 0;
      if (place == 0) firstUs = arrival.readyUs;
      if (arrival.chunkIndex >= skip && place < after.size())
        after[place].push_back(static_cast<double>(arrival.readyUs - firstUs) / 1000.0);
    }
  }
  std::vector<double> medians;
  for (const auto& values : after) medians.push_back(Quantile(values, 0.5));
  return medians;
}

double LumaDecibels(const StreamResult& a, const StreamResult& b) {
  double squares = 0;
  std::size_t count = 0;
  for (std::size_t i = 0; i < std::min(a.luma.size(), b.luma.size()); ++i)
    for (std::size_t p = 0; p < std::min(a.luma[i].size(), b.luma[i].size()); ++p) {
      const double difference = static_cast<double>(a.luma[i][p]) - b.luma[i][p];
      squares += difference * difference;
      ++count;
    }
  return count == 0 ? 0 : 10 * std::log10(255.0 * 255.0 / std::max(squares / static_cast<double>(count), 1e-9));
}

}  // namespace flashvsr::bench
