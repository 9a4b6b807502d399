// The halo convolution's two epilogues.
#pragma once

#include "kernels/common/epilogue.cuh"
#include "kernels/sm90/convolution_tile.cuh"

namespace flashvsr::kernels::convolution {

/// A lane's bias: columns 2q, 2q+1 of every 8 (q: lane of its quad), zeros where there is none. Volatile, so that the
/// loads stay where they are called, in the shadow of the last products.
__device__ __forceinline__ void LoadBias(const Shape& p, int firstColumn, int lane, float2 (&bias)[16]) {
  const int first = firstColumn + (lane & 3) * 2;
#pragma unroll
  for (int j = 0; j < 16; ++j) {
    const int column = first + j * 8;
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %3, 0;\nmov.b32 %0, 0f00000000;\nmov.b32 %1, 0f00000000;\n@p "
        "ld.global.nc.v2.f32 {%0, %1}, [%2];\n}\n"
        : "=&f"(bias[j].x), "=&f"(bias[j].y)
        : "l"(p.bias + column), "r"(p.bias != nullptr && column < p.outChannels ? 1 : 0));
  }
}

/// Accumulators are only there once wgmma was waited for: nothing that reads them moves before this.
__device__ __forceinline__ void Pin(float (&acc)[16][4]) {
#pragma unroll
  for (int j = 0; j < 16; ++j)
#pragma unroll
    for (int c = 0; c < 4; ++c) asm volatile("" : "+f"(acc[j][c])::"memory");
}

// The deep variant: from registers straight to memory.

/// Where lane's pixel of half `half` of m-tile `i` goes, in elements; negative: outside.
__device__ __forceinline__ int64_t OutputOffset(const Shape& p, const SubTile& sub, const Place& place, int i, int half,
                                                int warp, int lane) {
  const bool down = p.tileRows == 16;
  const int y = sub.y + (down ? i * 8 : 0) + 2 * warp + half, x = sub.x + (down ? 0 : i * 8) + (lane >> 2);
  if (!sub.real || y >= p.height || x >= p.width) return -1;
  return (static_cast<int64_t>(y * p.outStep + place.outY(p)) * (p.width * p.outStep) + x * p.outStep + place.outX(p)) *
         p.ldOut;
}

/// Bias, residual, ReLU and the way to memory. A lane holds columns 2q, 2q+1 of every 8 (q: lane of its quad); 16-byte
/// pieces of 8 columns are made by transposing words within the quad, residuals go the same way back. `offset`: of
/// OutputOffset, by m-tile and half.
__device__ __forceinline__ void Store(const Shape& p, const SubTile& sub, const Place& place, const float2 (&bias)[16],
                                      const int64_t (&offset)[2][2], const float (&acc)[2][16][4], int lane) {
  const int quadLane = lane & 3;
  const int firstColumn = place.column + quadLane * 8;
  Bf16* const out = static_cast<Bf16*>(p.output[sub.frame]);
  const Bf16* const residual = static_cast<const Bf16*>(p.residual[sub.frame]);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    uint4 add[2][4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        const int column = firstColumn + part * 32;
        add[half][part] = make_uint4(0, 0, 0, 0);
        if (residual != nullptr && offset[i][half] >= 0 && column < p.outChannels)
          add[half][part] = *reinterpret_cast<const uint4*>(residual + offset[i][half] + column);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        float2 v[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int nt = part * 4 + j;
          v[j] = make_float2(acc[i][nt][2 * half] + bias[nt].x, acc[i][nt][2 * half + 1] + bias[nt].y);
        }
        if (residual != nullptr) {
          uint32_t r[4] = {add[half][part].x, add[half][part].y, add[half][part].z, add[half][part].w};
          TransposeWords(r, lane);
#pragma unroll
          for (int j = 0; j < 4; ++j)
            v[j].x += __uint_as_float(r[j] << 16), v[j].y += __uint_as_float(r[j] & 0xffff0000u);
        }
        uint32_t w[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          if (p.relu) v[j] = make_float2(fmaxf(v[j].x, 0.0f), fmaxf(v[j].y, 0.0f));
          w[j] = PackBf16(v[j].x, v[j].y);
        }
        TransposeWords(w, lane);
        const int column = firstColumn + part * 32;
        if (offset[i][half] >= 0 && column < p.outChannels)
          *reinterpret_cast<uint4*>(out + offset[i][half] + column) = make_uint4(w[0], w[1], w[2], w[3]);
      }
    }
  }
}

// The short variant: through shared memory and the copy engine. A warpgroup's staging area holds its sub-tile as the
// copy engine lays it down: pixel (y, x) is row y * columns + x of 128 bytes, 64 channels a box, swizzled. Residuals
// arrive there while the tile is multiplied, results replace them in place, and the warpgroup goes on while the area is
// stored.

/// The thread that serves warpgroup `group`'s staging area over all this block's tiles: `open` says that the warpgroup
/// may use the area, `staged` that results lie in it. A sub-tile that is not real is neither fetched nor stored.
template <int kMaps>
__device__ __forceinline__ void ServeStaging(const Maps<kMaps>& maps, const Shape& p, uint32_t area, uint32_t open,
                                             uint32_t staged, int group) {
  const bool residual = p.residual[0] != nullptr;
  int parity = 0;
  for (int tile = blockIdx.x; tile < p.tiles; tile += gridDim.x, parity ^= 1) {
    int tileM;
    const Place place(p, tile, tileM);
    const SubTile sub(p, tileM, group);
    const int outY = place.outY(p), outX = place.outX(p), secondColumn = place.column + kBlockChannels;
    const bool second = secondColumn < p.outChannels;
    if (residual && sub.real) {
      BarrierExpect(open, second ? kStagedGroupBytes : kStagedBoxBytes);
      CopyBox(area, &maps.residual, open, place.column, outX, sub.x, outY, sub.y);
      if (second) CopyBox(area + kStagedBoxBytes, &maps.residual, open, secondColumn, outX, sub.x, outY, sub.y);
    } else {
      BarrierArrive(open);
    }
    BarrierWait(staged, parity);
    if (sub.real) {
      StoreBox(&maps.output, area, place.column, outX, sub.x, outY, sub.y);
      if (second) StoreBox(&maps.output, area + kStagedBoxBytes, secondColumn, outX, sub.x, outY, sub.y);
      CommitStores();
      WaitStoresRead<0>();
    }
  }
}

/// Stores four 8x8 matrices: lane l gives the address of row l % 8 of matrix l / 8 and holds columns 2q, 2q+1 of row l
/// / 4 of each.
__device__ __forceinline__ void StoreMatrix4(uint32_t shared, const uint32_t (&w)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};\n" ::"r"(shared), "r"(w[0]), "r"(w[1]),
               "r"(w[2]), "r"(w[3])
               : "memory");
}

template <bool kRelu>
__device__ __forceinline__ uint32_t Round(float low, float high) {
  if constexpr (!kRelu) return PackBf16(low, high);
  uint32_t out;
  asm("cvt.rn.relu.bf16x2.f32 %0, %1, %2;\n" : "=r"(out) : "f"(high), "f"(low));
  return out;
}

/// A lane's addresses in its warpgroup's staging area.
struct StagedRows {
  uint32_t first, chunk, tileBytes,
      halfBytes;  // row of (m-tile 0, half 0), its swizzled first chunk; steps to m-tile 1 and half 1

  __device__ __forceinline__ StagedRows(const Shape& p, uint32_t area, int warp, int lane) {
    const bool down = p.tileRows == 16;
    first = area + warp * (down ? 2048 : 4096) + (lane & 7) * 128;
    chunk = ((lane >> 3) ^ (lane & 7)) * 16;
    tileBytes = down ? 8192 : 1024;
    halfBytes = down ? 1024 : 2048;
  }
  /// Of columns 32 * part and on, 8 for each 8 lanes. Every row of a lane is lane % 8 modulo 8, so the swizzle is the
  /// same for all.
  __device__ __forceinline__ uint32_t at(int i, int half, int part) const {
    return first + i * tileBytes + half * halfBytes + (part >> 1) * kStagedBoxBytes + (chunk ^ (part & 1) * 64);
  }
};

/// m-tile i's residuals from the staging area, laid out as the accumulators are.
__device__ __forceinline__ void LoadStaged(const StagedRows& rows, int i, uint32_t (&add)[2][4][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half)
#pragma unroll
    for (int part = 0; part < 4; ++part)
      LoadMatrix4(rows.at(i, half, part), add[half][part][0], add[half][part][1], add[half][part][2],
                  add[half][part][3]);
}

/// Bias, residual and ReLU of m-tile i, rounded and stored to the staging area.
template <bool kResidual, bool kRelu>
__device__ __forceinline__ void Stage(const StagedRows& rows, int i, const float2 (&bias)[16],
                                      const uint32_t (&add)[2][4][4], const float (&acc)[16][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int part = 0; part < 4; ++part) {
      uint32_t w[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int nt = part * 4 + j;
        float x = acc[nt][2 * half] + bias[nt].x, y = acc[nt][2 * half + 1] + bias[nt].y;
        if (kResidual)
          x += __uint_as_float(add[half][part][j] << 16), y += __uint_as_float(add[half][part][j] & 0xffff0000u);
        w[j] = Round<kRelu>(x, y);
      }
      StoreMatrix4(rows.at(i, half, part), w);
    }
  }
}

/// A warpgroup's epilogue while its last products are in flight, committed as two groups, one an m-tile: the first
/// m-tile is finished under the second's products. `release` gives the rings' slots back once nothing reads them any
/// more.
template <bool kResidual, bool kRelu, typename Release>
__device__ __forceinline__ void StageTile(const Shape& p, const Place& place, const StagedRows& rows, uint32_t open,
                                          uint32_t staged, int parity, float (&acc)[2][16][4], int lane,
                                          const Release& release) {
  float2 bias[16];
  uint32_t add[2][4][4];
  LoadBias(p, place.column, lane, bias);
  BarrierWait(open, parity);
  if (kResidual) LoadStaged(rows, 0, add);
  WgmmaWait<1>();
  Pin(acc[0]);
  Stage<kResidual, kRelu>(rows, 0, bias, add, acc[0]);
  if (kResidual) LoadStaged(rows, 1, add);
  WgmmaWait<0>();
  release();
  Pin(acc[1]);
  Stage<kResidual, kRelu>(rows, 1, bias, add, acc[1]);
  FenceAsyncProxy();
  __syncwarp();
  if (lane == 0) BarrierArrive(staged);
}

}  // namespace flashvsr::kernels::convolution
