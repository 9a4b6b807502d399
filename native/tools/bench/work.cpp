#include "tools/bench/work.h"

#include <algorithm>

#include "engine/network.h"
#include "engine/stream_plan.h"
#include "weights/wan_layers.h"

namespace flashvsr::bench {

double Work::floorMs(std::size_t stage, double teraflops, double terabytes) const {
  return std::max(operations[stage] / teraflops, bytes[stage] / terabytes) / 1e9;
}

namespace {

// The Wan2.1 decoder: every time step of every level, its attention, and what is read and written once.
void AddWan(Work& work, const ModelDims& d, const Geometry& g, double latents) {
  const double positions = static_cast<double>(g.latentHeight() * g.latentWidth()),
               width = static_cast<double>(d.wanWidth);
  // By level: time steps of a chunk. Level 2 and 3 have the same.
  const std::array<double, kWanLevels> steps{latents, 2 * latents, 4 * latents, 4 * latents};
  for (const WanConvolutionSpec& spec : WanConvolutions(d.wanWidth, d.latentChannels)) {
    const int level = spec.block == kWanEntry  ? 0
                      : spec.block == kWanHead ? kWanLevels - 1
                                               : kWanBlocks[static_cast<std::size_t>(spec.block)].level;
    double pixels = positions * static_cast<double>(1 << (2 * level)), count = steps[static_cast<std::size_t>(level)];
    double taps = spec.time * spec.side * spec.side;
    // After the growth in time; nearest x2 and the 3x3 fold into four phases of 2x2.
    if (spec.part == WanPart::Enlarge) {
      count = steps[static_cast<std::size_t>(level) + 1];
      taps = 16;
    }
    const double in = static_cast<double>(spec.in), out = static_cast<double>(spec.out);
    work.operations[2] += 2 * taps * count * pixels * in * out;
    work.bytes[2] += 2 * count * pixels * (in * spec.time + out * (spec.part == WanPart::Enlarge ? 4 : 1));
  }
  work.operations[2] += latents * 4 * positions * positions * 4 * width;
  work.bytes[3] = steps[3] * positions * 64 * (12 * 3 + 3 + 1.5);
}

}  // namespace

Work WorkOf(const ModelDims& d, const StreamOptions& options) {
  const Geometry g = GeometryOf(options);
  const double tokens = static_cast<double>(g.groupTokens()), dim = static_cast<double>(d.dim), latents = 2,
               layers = static_cast<double>(d.layers);
  const double h1 = static_cast<double>(d.lqHidden[0]), h2 = static_cast<double>(d.lqHidden[1]),
               ffn = static_cast<double>(d.ffn);
  Work work;
  auto& [project, denoise, reveal, match] = work.operations;
  const double places = tokens / latents;
  project = 2 * 36 * (places * 4 * 768 * h1 + places * 2 * h1 * h2);
  work.bytes[0] = 2 * (36 * (768 * h1 + h1 * h2) + places * (8 * 768 + 4 * h1 * 2 + 2 * h2));
  const double groups = static_cast<double>(static_cast<std::int64_t>(options.settings.kvRatio) + 1);
  const double kept = static_cast<double>(Network::TopK(options.settings, g, static_cast<std::int64_t>(groups)));
  const double linear = 2 * tokens * dim * (6 * dim + 2 * ffn),
               attention = 4.0 * 128 * 128 * 128 * kept * static_cast<double>(d.heads);
  const double cross = 4 * tokens * static_cast<double>(d.textLen) * dim;
  denoise = layers * (linear + attention + cross) + 2 * tokens * dim * (h2 * static_cast<double>(d.lqLayers) + 128);
  // Weights, the cache read once and one group of it written, and the residual stream in and out of three fused steps.
  work.bytes[1] = layers * 2 * ((6 * dim + 2 * ffn) * dim + tokens * dim * (2 * groups + 2 + 6));
  if (options.decoder == Decoder::Wan) {
    AddWan(work, d, g, latents);
    return work;
  }
  double pixels = static_cast<double>(g.latentHeight() * g.latentWidth()), steps = latents;
  std::array<double, 4> c{};
  for (std::size_t i = 0; i < 4; ++i) c[i] = static_cast<double>(d.decoderChannels[i]);
  reveal = 2 * 9 * steps * pixels * (784 * c[0] + c[0] * c[0]);
  work.bytes[2] = 2 * steps * pixels * (784 + 2 * c[0]);
  for (std::size_t stage = 0; stage < 3; ++stage) {
    reveal += 3 * 2 * 9 * steps * pixels * 4 * c[stage] * c[stage];
    work.bytes[2] += 3 * 2 * steps * pixels * 8 * c[stage];
    if (stage > 0) steps *= 2;
    // Four phases of 2x2 on the small picture: what the nearest x2, TGrow and the 3x3 after them fold into.
    reveal += 2 * 16 * steps * pixels * c[stage] * c[stage + 1];
    work.bytes[2] += 2 * steps * pixels * (c[stage] + 4 * c[stage + 1]);
    pixels *= 4;
  }
  reveal += 2 * 9 * steps * pixels * (c[3] * c[3] + c[3] * 3);
  work.bytes[2] += steps * pixels * (2 * 3 * c[3] + 12);
  match = 0;
  work.bytes[3] = steps * pixels * (12 * 3 + 3 + 1.5);  // statistics, match and packing read the picture once each
  return work;
}

}  // namespace flashvsr::bench
