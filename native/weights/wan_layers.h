// The Wan2.1 VAE's decoder as a list of blocks (docs/flashvsr-full.md): the one description that the inventory, the
// backends and the engine's order of operations share. Sizes are multiples of the decoder's width d [96].
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace flashvsr {

enum class WanKind : std::uint8_t {
  Residual,   // RMS, SiLU, causal 3x3x3, RMS, SiLU, causal 3x3x3, plus the input (through a 1x1x1 when sizes differ)
  Attention,  // over all positions of one frame, one head
  GrowTime,   // up3d: two time steps out of one, then as Enlarge
  Enlarge,    // up2d: nearest x2 and a 3x3
};

struct WanBlock {
  const char* name;
  WanKind kind;
  int in, out;  // channels / d
  int level;    // of its input: rows and columns are the latent's << level
};

inline constexpr std::array<WanBlock, 18> kWanBlocks{{
    {"decoder.middle.0", WanKind::Residual, 4, 4, 0},
    {"decoder.middle.1", WanKind::Attention, 4, 4, 0},
    {"decoder.middle.2", WanKind::Residual, 4, 4, 0},
    {"decoder.upsamples.0", WanKind::Residual, 4, 4, 0},
    {"decoder.upsamples.1", WanKind::Residual, 4, 4, 0},
    {"decoder.upsamples.2", WanKind::Residual, 4, 4, 0},
    {"decoder.upsamples.3", WanKind::GrowTime, 4, 2, 0},
    {"decoder.upsamples.4", WanKind::Residual, 2, 4, 1},
    {"decoder.upsamples.5", WanKind::Residual, 4, 4, 1},
    {"decoder.upsamples.6", WanKind::Residual, 4, 4, 1},
    {"decoder.upsamples.7", WanKind::GrowTime, 4, 2, 1},
    {"decoder.upsamples.8", WanKind::Residual, 2, 2, 2},
    {"decoder.upsamples.9", WanKind::Residual, 2, 2, 2},
    {"decoder.upsamples.10", WanKind::Residual, 2, 2, 2},
    {"decoder.upsamples.11", WanKind::Enlarge, 2, 1, 2},
    {"decoder.upsamples.12", WanKind::Residual, 1, 1, 3},
    {"decoder.upsamples.13", WanKind::Residual, 1, 1, 3},
    {"decoder.upsamples.14", WanKind::Residual, 1, 1, 3},
}};
inline constexpr int kWanLevels = 4;
// The most channels of a level, in multiples of d.
inline constexpr std::array<int, kWanLevels> kWanWidest{4, 4, 2, 1};

// Convolutions and norms by (block, part); -1 is what stands before the blocks, kWanHead what follows them.
inline constexpr int kWanEntry = -1, kWanHead = static_cast<int>(kWanBlocks.size());
enum class WanPart : std::uint8_t {
  First,     // Residual: residual.2 behind norm residual.0. Entry: decoder.conv1. Head: head.2 behind norm head.0
  Second,    // Residual: residual.6 behind norm residual.3. Entry: conv2, which is run first
  Shortcut,  // Residual whose sizes differ
  Time,      // GrowTime: time_conv
  Enlarge,   // GrowTime, Enlarge: resample.1
  Query,     // Attention: to_qkv behind norm
  Project,   // Attention: proj
};

struct WanConvolutionSpec {
  int block = kWanEntry;
  WanPart part = WanPart::First;
  std::string name;  // without ".weight" and ".bias"
  std::int64_t out = 0, in = 0;
  int time = 1, side = 1;  // taps
  bool flat = false;       // the weight has no time axis: (out, in, side, side)
  std::string norm;        // the gamma in front of it, or empty
  bool flatNorm = false;   // gamma is (in, 1, 1), else (in, 1, 1, 1)
};
// In file order, for a decoder of width d and `latentChannels` [16]; d may be kUnknownSize.
std::vector<WanConvolutionSpec> WanConvolutions(std::int64_t width, std::int64_t latentChannels);

// What a latent is multiplied by and moved by before the decoder (16 channels; Wan2.1's own constants).
inline constexpr std::array<float, 16> kWanMean{-0.7571F, -0.7089F, -0.9113F, 0.1075F,  -0.1745F, 0.9653F,
                                                -0.1517F, 1.5508F,  0.4134F,  -0.0715F, 0.5517F,  -0.3632F,
                                                -0.1922F, -0.9497F, 0.2503F,  -0.2921F};
inline constexpr std::array<float, 16> kWanDeviation{2.8184F, 1.4541F, 2.3275F, 2.6558F, 1.2196F, 1.7708F,
                                                     2.6052F, 2.0743F, 3.2687F, 2.1526F, 2.8652F, 1.5579F,
                                                     1.6382F, 1.1253F, 2.8251F, 1.9160F};

}  // namespace flashvsr
