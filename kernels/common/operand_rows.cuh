// The left operand of a gemm, row by row: a plain matrix, or the pixels of frames under a moving tap. Every thread of a
// block copies the same 16-byte chunk of up to kMaxPasses rows, k-block after k-block.
#pragma once

#include "kernels/common/element.cuh"
#include "kernels/common/gemm_operands.h"
#include "kernels/common/mma.cuh"

namespace flashvsr::kernels {

inline constexpr int kMaxPasses = 8;

/// Rows of a plain matrix.
struct MatrixRows {
  using Params = MatrixOperand;
  const Bf16* pointer[kMaxPasses];
  unsigned valid;

  template <typename Tile>
  __device__ __forceinline__ void Start(const Params& p, int row, int chunk) {
    static_assert(Tile::kPassesA <= kMaxPasses);
    valid = 0;
#pragma unroll
    for (int i = 0; i < Tile::kPassesA; ++i) {
      const int m = row + i * Tile::kRowsPerPass;
      const bool inside = m < p.m;
      valid |= inside ? 1u << i : 0u;
      pointer[i] = static_cast<const Bf16*>(p.a) + (inside ? m : 0) * p.lda + chunk * 8;
    }
  }

  template <typename Tile>
  __device__ __forceinline__ void Copy(const Params& p, uint32_t shared, int row, int chunk, int block) {
    const bool column = block * Tile::kBk + chunk * 8 < p.k;
#pragma unroll
    for (int i = 0; i < Tile::kPassesA; ++i) {
      const bool copy = column && (valid >> i & 1u);
      CopyAsync16(shared + SwizzledOffset<Tile::kRowChunks>(row + i * Tile::kRowsPerPass, chunk),
                  copy ? pointer[i] + block * Tile::kBk : static_cast<const Bf16*>(p.a), copy);
    }
  }

  template <typename Out>
  static __device__ __forceinline__ bool OutputRow(const Params& p, int m, Out*& out, const Out*& residual) {
    if (m >= p.m) return false;
    out = static_cast<Out*>(p.d) + m * p.ldd;
    residual = p.residual != nullptr ? static_cast<const Out*>(p.residual) + m * p.ldd : nullptr;
    return true;
  }

  template <typename In>
  static __device__ __forceinline__ float At(const Params& p, int m, int k) {
    return m < p.m && k < p.k ? ToFloat(static_cast<const In*>(p.a)[m * p.lda + k]) : 0.0f;
  }
};

/// Input pixel of output pixel (y, x) under a tap; false when it is zero padding (`pixel` is then some pixel of the
/// picture).
__device__ __forceinline__ bool InputPixel(const PixelOperand& p, int y, int x, int dy, int dx, int& pixel) {
  const int iy = y + dy - p.padY, ix = x + dx - p.padX;
  const int cy = min(max(iy, 0), p.height - 1), cx = min(max(ix, 0), p.width - 1);
  pixel = cy * p.width + cx;
  return p.replicate | ((cy == iy) & (cx == ix));
}

/// Rows that are output pixels: k walks the taps and sources, and each row's pointer moves only when the segment
/// changes.
struct PixelRows {
  using Params = PixelOperand;
  const Bf16* pointer[kMaxPasses];
  int frame[kMaxPasses];     // first input frame (o * strideT), or -1 outside
  int position[kMaxPasses];  // y << 16 | x
  unsigned valid;
  int tapX, tapY, tapT, source, inside;  // of the next copy; inside: 32-channel block of the segment

  template <typename Tile>
  __device__ __forceinline__ void Start(const Params& p, int row, int chunk) {
    static_assert(Tile::kPassesA <= kMaxPasses);
#pragma unroll
    for (int i = 0; i < Tile::kPassesA; ++i) {
      const int m = row + i * Tile::kRowsPerPass;
      const int o = m / p.pixels, rest = m - o * p.pixels;
      const int y = rest / p.width;
      frame[i] = m < p.m ? o * p.strideT : -1;
      position[i] = y << 16 | (rest - y * p.width);
    }
    tapX = tapY = tapT = source = 0;
    inside = chunk >> 2;  // a row of 64 elements is two blocks, each with its own place in the walk
    Segment<Tile>(p, chunk);
  }

  template <typename Tile>
  __device__ __forceinline__ void Segment(const Params& p, int chunk) {
    valid = 0;
#pragma unroll
    for (int i = 0; i < Tile::kPassesA; ++i) {
      int pixel = 0;
      const bool in = static_cast<int>(frame[i] >= 0) & static_cast<int>(tapT < p.kernelT) &
                      static_cast<int>(InputPixel(p, position[i] >> 16, position[i] & 0xffff, tapY, tapX, pixel));
      valid |= in ? 1u << i : 0u;
      pointer[i] = static_cast<const Bf16*>(p.input[source][in ? frame[i] + tapT : 0]) +
                   static_cast<int64_t>(pixel) * p.channels[source] + (chunk & 3) * 8;
    }
  }

  template <typename Tile>
  __device__ __forceinline__ void Copy(const Params& p, uint32_t shared, int row, int chunk, int) {
    if (Tile::kBranchFree) {
      // wgmma in flight: no branch may make the compiler move accumulators, so the walk goes by selects and every
      // pointer is computed again. At most two segments end in one step of two blocks.
#pragma unroll
      for (int i = 0; i < Tile::kRowChunks / 4; ++i) {
        const bool end = inside >= p.blocks[source];
        inside -= end ? p.blocks[source] : 0;
        const bool second = end && source == 0 && p.blocks[1] > 0;
        const bool tap = end && !second;
        source = second ? 1 : tap ? 0 : source;
        tapX += tap ? 1 : 0;
        const bool row = tapX == p.kernelX;
        tapX = row ? 0 : tapX;
        tapY += row ? 1 : 0;
        const bool plane = tapY == p.kernelY;
        tapY = plane ? 0 : tapY;
        tapT += plane ? 1 : 0;
      }
      Segment<Tile>(p, chunk);
    } else if (inside >= p.blocks[source]) {
      do {
        inside -= p.blocks[source];
        if (source == 0 && p.blocks[1] > 0) {
          source = 1;
        } else {
          source = 0;
          if (++tapX == p.kernelX) {
            tapX = 0;
            if (++tapY == p.kernelY) tapY = 0, ++tapT;
          }
        }
      } while (inside >= p.blocks[source]);
      Segment<Tile>(p, chunk);
    }
    const bool column = inside * kBlockK + (chunk & 3) * 8 < p.channels[source];
#pragma unroll
    for (int i = 0; i < Tile::kPassesA; ++i) {
      const bool copy = column && (valid >> i & 1u);
      CopyAsync16(shared + SwizzledOffset<Tile::kRowChunks>(row + i * Tile::kRowsPerPass, chunk),
                  copy ? pointer[i] + inside * kBlockK : static_cast<const Bf16*>(p.input[0][0]), copy);
    }
    inside += Tile::kRowChunks / 4;
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

}  // namespace flashvsr::kernels
