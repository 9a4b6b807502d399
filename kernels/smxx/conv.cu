#include "../conv.h"

#include "product.cuh"

namespace flashvsr::kernels {
namespace {

/// A packed k position is (tap, source, channel); a segment is one (tap, source), whole k-blocks of its padded channels.
struct PixelParams {
  const void* input[2][kMaxConvFrames];
  const void* residual[kMaxConvFrames];
  void* output[kMaxConvFrames];
  int channels[2];
  int blocks[2];  // k-blocks of a segment, per source
  int m;          // output pixels of all frames
  int height, width, pixels;
  int ldOut;
  int kernelY, kernelX, padY, padX, strideT;
  int outStep, outY, outX;
  bool replicate;
};

/// Input pixel of output pixel (y, x) under a tap, or false when it is zero padding.
__device__ __forceinline__ bool InputPixel(const PixelParams& p, int y, int x, int dy, int dx, int& pixel) {
  int iy = y + dy - p.padY, ix = x + dx - p.padX;
  if (p.replicate) {
    iy = min(max(iy, 0), p.height - 1);
    ix = min(max(ix, 0), p.width - 1);
  } else if (iy < 0 || ix < 0 || iy >= p.height || ix >= p.width) {
    return false;
  }
  pixel = iy * p.width + ix;
  return true;
}

/// Rows that are output pixels: k walks the taps and sources, and each row's pointer moves only when the segment changes.
struct PixelRows {
  using Params = PixelParams;
  const Bf16* pointer[4];
  int frame[4];     // first input frame (o * strideT), or -1 outside
  int position[4];  // y << 16 | x
  unsigned valid;
  int tapX, tapY, tapT, source, inside;  // of the next copy

  template <typename Tile>
  __device__ __forceinline__ void Start(const Params& p, int row, int chunk) {
    static_assert(Tile::kPassesA <= 4);
#pragma unroll
    for (int i = 0; i < Tile::kPassesA; ++i) {
      const int m = row + i * Tile::kRowsPerPass;
      const int o = m / p.pixels, rest = m - o * p.pixels;
      const int y = rest / p.width;
      frame[i] = m < p.m ? o * p.strideT : -1;
      position[i] = y << 16 | (rest - y * p.width);
    }
    tapX = tapY = tapT = source = inside = 0;
    Segment<Tile>(p, chunk);
  }

  template <typename Tile>
  __device__ __forceinline__ void Segment(const Params& p, int chunk) {
    valid = 0;
#pragma unroll
    for (int i = 0; i < Tile::kPassesA; ++i) {
      int pixel = 0;
      const bool in = frame[i] >= 0 && InputPixel(p, position[i] >> 16, position[i] & 0xffff, tapY, tapX, pixel);
      valid |= in ? 1u << i : 0u;
      pointer[i] = static_cast<const Bf16*>(p.input[source][in ? frame[i] + tapT : 0]) +
                   static_cast<int64_t>(in ? pixel : 0) * p.channels[source] + chunk * 8;
    }
  }

  template <typename Tile>
  __device__ __forceinline__ void Copy(const Params& p, uint32_t shared, int row, int chunk, int) {
    if (inside == p.blocks[source]) {
      inside = 0;
      if (source == 0 && p.blocks[1] > 0) {
        source = 1;
      } else {
        source = 0;
        if (++tapX == p.kernelX) {
          tapX = 0;
          if (++tapY == p.kernelY) tapY = 0, ++tapT;
        }
      }
      Segment<Tile>(p, chunk);
    }
    const bool column = inside * kBlockK + chunk * 8 < p.channels[source];
#pragma unroll
    for (int i = 0; i < Tile::kPassesA; ++i) {
      const bool copy = column && (valid >> i & 1u);
      CopyAsync16(shared + SwizzledOffset<4>(row + i * Tile::kRowsPerPass, chunk),
                  copy ? pointer[i] + inside * kBlockK : static_cast<const Bf16*>(p.input[0][0]), copy);
    }
    ++inside;
  }

  template <typename Out>
  static __device__ __forceinline__ bool OutputRow(const Params& p, int m, Out*& out, const Out*& residual) {
    if (m >= p.m) return false;
    const int o = m / p.pixels;
    int64_t pixel = m - o * p.pixels;
    if (p.outStep != 1) {
      const int y = static_cast<int>(pixel) / p.width, x = static_cast<int>(pixel) - y * p.width;
      pixel = static_cast<int64_t>(y * p.outStep + p.outY) * (p.width * p.outStep) + x * p.outStep + p.outX;
    }
    const int64_t offset = pixel * p.ldOut;
    out = static_cast<Out*>(p.output[o]) + offset;
    residual = p.residual[0] != nullptr ? static_cast<const Out*>(p.residual[o]) + offset : nullptr;
    return true;
  }

  template <typename In>
  static __device__ __forceinline__ float At(const Params& p, int m, int k) {
    if (m >= p.m) return 0.0f;
    const int depth = (p.blocks[0] + p.blocks[1]) * kBlockK;
    const int tap = k / depth;
    int channel = k - tap * depth, from = 0;
    if (channel >= p.blocks[0] * kBlockK) channel -= p.blocks[0] * kBlockK, from = 1;
    if (channel >= p.channels[from]) return 0.0f;
    const int o = m / p.pixels, rest = m - o * p.pixels;
    const int dx = tap % p.kernelX, dy = tap / p.kernelX % p.kernelY, dt = tap / (p.kernelX * p.kernelY);
    int pixel;
    if (!InputPixel(p, rest / p.width, rest % p.width, dy, dx, pixel)) return 0.0f;
    const In* in = static_cast<const In*>(p.input[from][o * p.strideT + dt]);
    return ToFloat(in[static_cast<int64_t>(pixel) * p.channels[from] + channel]);
  }
};

}  // namespace

cudaError_t LaunchConv(const ConvParams& p, cudaStream_t stream) {
  const int inputs = (p.frames - 1) * p.strideT + p.kernelT;
  const bool shapes = p.frames > 0 && p.frames <= kMaxConvFrames && inputs <= kMaxConvFrames && p.height > 0 && p.width > 0 &&
                      p.height < 32768 && p.width < 32768 && p.outChannels > 0 && p.ldOut >= p.outChannels &&
                      p.channels[0] > 0 && p.channels[1] >= 0 &&
                      p.kernelY >= 1 && p.kernelX >= 1 && p.kernelT >= 1 && p.strideT >= 1 && p.outStep >= 1 &&
                      p.outY >= 0 && p.outY < p.outStep && p.outX >= 0 && p.outX < p.outStep &&
                      static_cast<int64_t>(p.frames) * p.height * p.width < (int64_t{1} << 31);
  if (!shapes || p.weight == nullptr) return cudaErrorInvalidValue;
  PixelParams rows{};
  bool inputsAligned = reinterpret_cast<uintptr_t>(p.weight) % 16 == 0;
  bool aligned = p.ldOut * SizeOf(p.outputType) % 16 == 0 && reinterpret_cast<uintptr_t>(p.bias) % 16 == 0;
  for (int source = 0; source < (p.channels[1] > 0 ? 2 : 1); ++source) {
    for (int i = 0; i < inputs; ++i) {
      if (p.input[source][i] == nullptr) return cudaErrorInvalidValue;
      rows.input[source][i] = p.input[source][i];
      inputsAligned = inputsAligned && reinterpret_cast<uintptr_t>(p.input[source][i]) % 16 == 0;
    }
  }
  for (int o = 0; o < p.frames; ++o) {
    if (p.output[o] == nullptr || (p.residual[0] != nullptr && p.residual[o] == nullptr)) return cudaErrorInvalidValue;
    rows.output[o] = p.output[o];
    rows.residual[o] = p.residual[o];
    aligned = aligned && reinterpret_cast<uintptr_t>(p.output[o]) % 16 == 0 && reinterpret_cast<uintptr_t>(p.residual[o]) % 16 == 0;
  }
  for (int source = 0; source < 2; ++source) {
    rows.channels[source] = p.channels[source];
    rows.blocks[source] = PackedChannels(p.channels[source]) / kBlockK;
  }
  rows.pixels = p.height * p.width;
  rows.m = p.frames * rows.pixels;
  rows.height = p.height, rows.width = p.width;
  rows.ldOut = p.ldOut;
  rows.kernelY = p.kernelY, rows.kernelX = p.kernelX, rows.strideT = p.strideT;
  rows.padY = p.padY, rows.padX = p.padX;
  rows.outStep = p.outStep, rows.outY = p.outY, rows.outX = p.outX;
  rows.replicate = p.replicate;
  const int64_t depth = PackedConvDepth(p.kernelT * p.kernelY * p.kernelX, p.channels[0], p.channels[1]);
  const ProductWeight weight{p.weight, depth, p.outChannels, static_cast<int>(depth)};
  const ProductEpilogue epilogue{p.bias, p.activation, true, aligned};
  const bool vectors = p.channels[0] % 8 == 0 && p.channels[1] % 8 == 0 && inputsAligned;
  return DispatchProduct<PixelRows>(rows, weight, epilogue, rows.m, p.type, p.outputType, vectors, stream);
}

}  // namespace flashvsr::kernels
