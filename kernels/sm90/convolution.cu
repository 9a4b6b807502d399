// Convolution with a halo in shared memory. A tile is 256 pixels x 128 output channels: each of two consumer warpgroups owns a
// sub-tile of 16x8 (or 8x16) pixels, two m64n128 accumulators of 8x8 pixels. For every 64 input channels the copy engine fetches a
// sub-tile with its border once (outside the picture: zeros, or the border pixel by a repair in shared memory), and all taps read it
// through wgmma descriptors whose start moves by whole 128-byte rows: 64 rows of wgmma are 8 groups of 8 pixels of one picture row,
// `pitch` rows apart. So the pixels cost 5 bytes a cycle of L2 instead of 32; the weights, 16 KB a tap, cost 16. (What limited the
// product before, sm90/product.cu, was that traffic; see NOTES.md.)
//
// Blocks are persistent. The last warpgroup's first warp issues all copies into two rings (pixels, weights), its other warps repair
// replicated borders. All consumers end their tiles at about the same time, so where a tile is few taps the way out shows (NOTES.md).
#include "convolution.h"

#include "../smxx/epilogue.cuh"

#ifdef FLASHVSR_SM90
#include <cuda.h>
#include <cudaTypedefs.h>

#include "tma.cuh"
#endif

namespace flashvsr::kernels {

#ifdef FLASHVSR_SM90

namespace {

constexpr int kThreads = 384, kFixers = 96;
constexpr int kTileN = 128, kBlockChannels = 64, kWeightBytes = kTileN * 128;
constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;
static_assert(128 * kProducerRegisters + 256 * kConsumerRegisters <= 168 * kThreads);
constexpr int kFewMaps = 2, kManyMaps = kMaxConvFrames;

/// Shared memory by kernel size: boxes of both warpgroups, then weights, then barriers.
template <int kKernel>
struct Rings {
  static constexpr int kBoxRows = (16 + kKernel - 1) * (8 + kKernel - 1);
  static constexpr int kBoxBytes = static_cast<int>((kBoxRows * 128 + 1023) / 1024 * 1024);
  static constexpr int kPixelStages = kKernel == 2 ? 3 : 2, kWeightStages = kKernel == 2 ? 6 : 8;
  static constexpr int kPixels = kPixelStages * 2 * kBoxBytes, kWeights = kWeightStages * kWeightBytes;
  static constexpr int kSharedBytes = kPixels + kWeights + 8 * (3 * kPixelStages + 2 * kWeightStages);
  static_assert(kSharedBytes <= 232448);
};

template <int kMaps>
struct Maps {
  CUtensorMap weight;       // (channels of all taps and sources, output channels of all phases), boxes of 64 x 128
  CUtensorMap input[kMaps];  // [source * inputs + frame]: (channels, width, height), boxes of 64 x a sub-tile with its halo
};

struct Shape {
  const float* bias;
  const void* residual[kMaxConvFrames];
  void* output[kMaxConvFrames];
  int inputs, kernelT, strideT;
  int sources, blocks[2], packed[2];  // 64-channel blocks; packed channels (conv.h)
  int height, width, outChannels, ldOut, outStep, outY, outX, padY, padX, phases;
  int tileRows, tileColumns, subsAcross, subsPerFrame, subs;  // sub-tiles
  int tiles, tilesM, tilesN, tilesNPhase;
  bool channelsFirst;  // consecutive blocks share pixels, not weights
  bool replicate, relu;
};

/// Where a tile lies. Both warpgroups share its output channels.
struct Place {
  int phase, column;  // first output channel within the phase

  __device__ __forceinline__ Place(const Shape& p, int tile, int& tileM) {
    int tileN;
    if (p.channelsFirst) {
      tileM = tile / p.tilesN, tileN = tile - tileM * p.tilesN;
    } else {
      tileN = tile / p.tilesM, tileM = tile - tileN * p.tilesM;
    }
    phase = tileN / p.tilesNPhase;
    column = (tileN - phase * p.tilesNPhase) * kTileN;
  }
};

/// A warpgroup's sub-tile; the one after the last repeats it and is not stored.
struct SubTile {
  int frame, y, x;
  bool real;

  __device__ __forceinline__ SubTile(const Shape& p, int tileM, int group) {
    int sub = tileM * 2 + group;
    real = sub < p.subs;
    sub = min(sub, p.subs - 1);
    frame = sub / p.subsPerFrame;
    sub -= frame * p.subsPerFrame;
    const int down = sub / p.subsAcross;
    y = down * p.tileRows;
    x = (sub - down * p.subsAcross) * p.tileColumns;
  }
};

/// Slot and parity of a ring's next use.
template <int kStages>
struct Cursor {
  int slot = 0, parity = 0;
  __device__ __forceinline__ void advance() {
    const bool wrap = slot + 1 == kStages;
    slot = wrap ? 0 : slot + 1;
    parity ^= wrap ? 1 : 0;
  }
};

struct Barriers {
  uint32_t landed, ready, freePixels, fullWeights, freeWeights;
};

template <int kKernel, int kMaps>
__device__ __forceinline__ void Produce(const Maps<kMaps>& maps, const Shape& p, uint32_t pixels, uint32_t weights, const Barriers& barriers) {
  using Ring = Rings<kKernel>;
  constexpr int kTaps = kKernel * kKernel;
  const uint32_t boxBytes = Ring::kBoxRows * 128;
  const int perTap = p.packed[0] + p.packed[1];
  Cursor<Ring::kPixelStages> a;
  Cursor<Ring::kWeightStages> b;
  for (int tile = blockIdx.x; tile < p.tiles; tile += gridDim.x) {
    int tileM;
    const Place place(p, tile, tileM);
    const SubTile first(p, tileM, 0), second(p, tileM, 1);
    const int padY = p.padY - (p.phases > 1 ? place.phase >> 1 : 0), padX = p.padX - (p.phases > 1 ? place.phase & 1 : 0);
    const int row = place.phase * p.outChannels + place.column;
    for (int t = 0; t < p.kernelT; ++t) {
      for (int source = 0; source < p.sources; ++source) {
        const CUtensorMap* const frames = maps.input + source * p.inputs + t;
        for (int block = 0; block < p.blocks[source]; ++block) {
          const int channel = block * kBlockChannels;
          BarrierWait(barriers.freePixels + a.slot * 8, a.parity ^ 1);
          const uint32_t landed = barriers.landed + a.slot * 8, box = pixels + a.slot * 2 * Ring::kBoxBytes;
          BarrierExpect(landed, 2 * boxBytes);
          CopyBox(box, frames + first.frame * p.strideT, landed, channel, first.x - padX, first.y - padY);
          CopyBox(box + Ring::kBoxBytes, frames + second.frame * p.strideT, landed, channel, second.x - padX, second.y - padY);
          a.advance();
          int column = t * kTaps * perTap + source * p.packed[0] + channel;
          for (int tap = 0; tap < kTaps; ++tap, column += perTap) {
            BarrierWait(barriers.freeWeights + b.slot * 8, b.parity ^ 1);
            BarrierExpect(barriers.fullWeights + b.slot * 8, kWeightBytes);
            CopyBox(weights + b.slot * kWeightBytes, &maps.weight, barriers.fullWeights + b.slot * 8, column, row);
            b.advance();
          }
        }
      }
    }
  }
}

/// Replicated borders: the copy engine wrote zeros around the picture; copies the border pixels there.
template <int kKernel>
__device__ __forceinline__ void Repair(const Shape& p, unsigned char* pixels, const Barriers& barriers, int thread) {
  using Ring = Rings<kKernel>;
  Cursor<Ring::kPixelStages> a;
  const int rows = p.tileRows + kKernel - 1, columns = p.tileColumns + kKernel - 1;
  const int steps = p.kernelT * (p.blocks[0] + p.blocks[1]);
  for (int tile = blockIdx.x; tile < p.tiles; tile += gridDim.x) {
    int tileM;
    const Place place(p, tile, tileM);
    for (int step = 0; step < steps; ++step) {
      BarrierWait(barriers.landed + a.slot * 8, a.parity);
      if (p.replicate) {
#pragma unroll 1
        for (int group = 0; group < 2; ++group) {
          const SubTile sub(p, tileM, group);
          const int y0 = sub.y - p.padY, x0 = sub.x - p.padX;
          unsigned char* const box = pixels + (a.slot * 2 + group) * Ring::kBoxBytes;
          // The two rows above and below the picture, then the two columns beside it, as far as they lie in the box.
          const int cells = 2 * (columns + rows);
#pragma unroll 1
          for (int i = thread; i < cells * 8; i += kFixers) {
            const int chunk = i & 7;
            int cell = i >> 3, hy, hx;
            if (cell < 2 * columns) {
              hy = (cell < columns ? -1 : p.height) - y0;
              hx = cell < columns ? cell : cell - columns;
            } else {
              cell -= 2 * columns;
              hx = (cell < rows ? -1 : p.width) - x0;
              hy = cell < rows ? cell : cell - rows;
            }
            if (hy < 0 || hy >= rows || hx < 0 || hx >= columns) continue;
            const int fromY = min(max(y0 + hy, 0), p.height - 1) - y0, fromX = min(max(x0 + hx, 0), p.width - 1) - x0;
            // Cells further out than one pixel feed no output.
            if (abs(fromY - hy) > 1 || abs(fromX - hx) > 1) continue;
            const int to = hy * columns + hx, from = fromY * columns + fromX;
            *reinterpret_cast<uint4*>(box + SwizzledOffset<8>(to, chunk)) = *reinterpret_cast<const uint4*>(box + SwizzledOffset<8>(from, chunk));
          }
        }
        FenceAsyncProxy();
      }
      BarrierArrive(barriers.ready + a.slot * 8);
      a.advance();
    }
  }
}

/// Transposes 4 words across the 4 lanes of a quad: lane q ends with word q of lanes 0..3. Its own inverse.
__device__ __forceinline__ void TransposeWords(uint32_t w[4], int lane) {
#pragma unroll
  for (int s = 1; s <= 2; s <<= 1) {
    const bool upper = (lane & s) != 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (j & s) continue;
      const int k = j | s;
      const uint32_t got = __shfl_xor_sync(0xffffffffu, upper ? w[j] : w[k], s);
      w[j] = upper ? got : w[j];
      w[k] = upper ? w[k] : got;
    }
  }
}

/// Where lane's pixel of half `half` of m-tile `i` goes, in elements; negative: outside.
__device__ __forceinline__ int64_t OutputOffset(const Shape& p, const SubTile& sub, int phase, int i, int half, int warp, int lane) {
  const bool down = p.tileRows == 16;
  const int y = sub.y + (down ? i * 8 : 0) + 2 * warp + half, x = sub.x + (down ? 0 : i * 8) + (lane >> 2);
  if (!sub.real || y >= p.height || x >= p.width) return -1;
  const int outY = p.phases > 1 ? phase >> 1 : p.outY, outX = p.phases > 1 ? phase & 1 : p.outX;
  return (static_cast<int64_t>(y * p.outStep + outY) * (p.width * p.outStep) + x * p.outStep + outX) * p.ldOut;
}

/// Bias, residual, ReLU and the way to memory. A lane holds columns 2q, 2q+1 of every 8 (q: lane of its quad); 16-byte pieces of 8
/// columns are made by transposing words within the quad, residuals go the same way back.
__device__ __forceinline__ void Store(const Shape& p, const SubTile& sub, const Place& place, const float (&acc)[2][16][4], int warp, int lane) {
  const int quadLane = lane & 3;
  float2 bias[16];
#pragma unroll
  for (int j = 0; j < 16; ++j) {
    const int column = place.column + j * 8 + quadLane * 2;
    bias[j] = p.bias != nullptr && column < p.outChannels ? __ldg(reinterpret_cast<const float2*>(p.bias + column)) : make_float2(0.0f, 0.0f);
  }
  const int firstColumn = place.column + quadLane * 8;
  Bf16* const out = static_cast<Bf16*>(p.output[sub.frame]);
  const Bf16* const residual = static_cast<const Bf16*>(p.residual[sub.frame]);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    int64_t offset[2];
    uint4 add[2][4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      offset[half] = OutputOffset(p, sub, place.phase, i, half, warp, lane);
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        const int column = firstColumn + part * 32;
        add[half][part] = make_uint4(0, 0, 0, 0);
        if (residual != nullptr && offset[half] >= 0 && column < p.outChannels)
          add[half][part] = *reinterpret_cast<const uint4*>(residual + offset[half] + column);
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
          for (int j = 0; j < 4; ++j) v[j].x += __uint_as_float(r[j] << 16), v[j].y += __uint_as_float(r[j] & 0xffff0000u);
        }
        uint32_t w[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          if (p.relu) v[j] = make_float2(fmaxf(v[j].x, 0.0f), fmaxf(v[j].y, 0.0f));
          w[j] = PackBf16(v[j].x, v[j].y);
        }
        TransposeWords(w, lane);
        const int column = firstColumn + part * 32;
        if (offset[half] >= 0 && column < p.outChannels)
          *reinterpret_cast<uint4*>(out + offset[half] + column) = make_uint4(w[0], w[1], w[2], w[3]);
      }
    }
  }
}

/// kMaps > kFewMaps: frames in time, whose borders may be replicated.
template <int kKernel, int kMaps>
__global__ void __launch_bounds__(kThreads, 1)
    HopperConvolutionKernel(const __grid_constant__ Maps<kMaps> maps, const __grid_constant__ Shape p) {
  using Ring = Rings<kKernel>;
  constexpr int kTaps = kKernel * kKernel;
  constexpr bool kRepair = kMaps > kFewMaps;
  extern __shared__ __align__(1024) unsigned char shared[];
  const uint32_t pixels = SharedAddress(shared), weights = pixels + Ring::kPixels;
  Barriers barriers;
  barriers.landed = weights + Ring::kWeights;
  barriers.ready = barriers.landed + 8 * Ring::kPixelStages;
  barriers.freePixels = barriers.ready + 8 * Ring::kPixelStages;
  barriers.fullWeights = barriers.freePixels + 8 * Ring::kPixelStages;
  barriers.freeWeights = barriers.fullWeights + 8 * Ring::kWeightStages;
  const int lane = threadIdx.x & 31;
  const int warp = __shfl_sync(0xffffffffu, threadIdx.x >> 5, 0);  // uniform, and the compiler can see it
  const int group = warp >> 2;
  if (threadIdx.x == 0) {
    for (int i = 0; i < Ring::kPixelStages; ++i) {
      BarrierInit(barriers.landed + i * 8, 1);
      BarrierInit(barriers.ready + i * 8, kFixers);
      BarrierInit(barriers.freePixels + i * 8, 8);
    }
    for (int i = 0; i < Ring::kWeightStages; ++i) {
      BarrierInit(barriers.fullWeights + i * 8, 1);
      BarrierInit(barriers.freeWeights + i * 8, 8);
    }
    FenceBarrierInit();
    FenceAsyncProxy();
  }
  __syncthreads();

  if (group == 2) {
    GiveRegisters<kProducerRegisters>();
    if (warp == 8) {
      if (lane == 0) Produce<kKernel, kMaps>(maps, p, pixels, weights, barriers);
    } else if (kRepair) {
      Repair<kKernel>(p, shared, barriers, threadIdx.x - 288);
    }
    return;
  }

  TakeRegisters<kConsumerRegisters>();
  float acc[2][16][4];
#pragma unroll
  for (int i = 0; i < 2; ++i)
#pragma unroll
    for (int j = 0; j < 16; ++j)
#pragma unroll
      for (int c = 0; c < 4; ++c) acc[i][j][c] = 0.0f;
  const int pitch = p.tileColumns + kKernel - 1;
  const uint64_t firstA = DescribeRows(pixels + group * Ring::kBoxBytes, pitch * 128), firstB = DescribeRowsAlongK(weights);
  const int secondHalf = p.tileRows == 16 ? pitch * 64 : 64;  // 8 rows down or 8 pixels across, in 16 bytes
  const int steps = p.kernelT * (p.blocks[0] + p.blocks[1]);
  Cursor<Ring::kPixelStages> a;
  Cursor<Ring::kWeightStages> b;
  for (int tile = blockIdx.x; tile < p.tiles; tile += gridDim.x) {
    int lastA = 0, lastB = 0;
    for (int step = 0; step < steps; ++step) {
      BarrierWait(barriers.landed + a.slot * 8, a.parity);
      if (kRepair) BarrierWait(barriers.ready + a.slot * 8, a.parity);
      const uint64_t box = firstA + a.slot * (2 * Ring::kBoxBytes >> 4);
#pragma unroll
      for (int tap = 0; tap < kTaps; ++tap) {
        BarrierWait(barriers.fullWeights + b.slot * 8, b.parity);
        const uint64_t rowA = box + (tap / kKernel * pitch + tap % kKernel) * 8, rowB = firstB + b.slot * (kWeightBytes >> 4);
        WgmmaFence();
#pragma unroll
        for (int k = 0; k < kBlockChannels / 16; ++k) {
          const int accumulate = tap > 0 || k > 0 ? 1 : step > 0;
          Wgmma128(acc[0], rowA + k * 2, rowB + k * 2, accumulate);
          Wgmma128(acc[1], rowA + secondHalf + k * 2, rowB + k * 2, accumulate);
        }
        WgmmaCommit();
        WgmmaWait<1>();  // the tap before
        if (lane == 0 && (tap > 0 || step > 0)) BarrierArrive(barriers.freeWeights + lastB * 8);
        if (tap == 0 && lane == 0 && step > 0) BarrierArrive(barriers.freePixels + lastA * 8);
        lastB = b.slot;
        b.advance();
      }
      lastA = a.slot;
      a.advance();
    }
    WgmmaWait<0>();
    if (lane == 0) {
      BarrierArrive(barriers.freeWeights + lastB * 8);
      BarrierArrive(barriers.freePixels + lastA * 8);
    }
    int tileM;
    const Place place(p, tile, tileM);
    Store(p, SubTile(p, tileM, group), place, acc, warp & 3, lane);
  }
}

PFN_cuTensorMapEncodeTiled_v12000 Encoder() {
  static const PFN_cuTensorMapEncodeTiled_v12000 encode = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result);
    return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(error == cudaSuccess && result == cudaDriverEntryPointSuccess ? found : nullptr);
  }();
  return encode;
}

/// bf16, dense rows of dims[0]; outside reads zero.
bool Encode(CUtensorMap& map, const void* data, int rank, const cuuint64_t* dims, const cuuint32_t* box) {
  cuuint64_t strides[2];
  cuuint64_t stride = 2;
  for (int i = 0; i + 1 < rank; ++i) strides[i] = stride *= dims[i];
  const cuuint32_t ones[3] = {1, 1, 1};
  return Encoder()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, static_cast<cuuint32_t>(rank), const_cast<void*>(data), dims, strides, box, ones,
                   CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                   CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

bool IsHopper() {
  int device = 0, major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess && major == 9;
}

int Inputs(const ConvParams& p) { return (p.frames - 1) * p.strideT + p.kernelT; }

/// Of the two shapes of a sub-tile the one that covers the picture with fewer.
void ChooseSubTile(const ConvParams& p, Shape& shape) {
  const int64_t tall = CeilDiv(p.height, 16) * CeilDiv(p.width, 8), wide = CeilDiv(p.height, 8) * CeilDiv(p.width, 16);
  shape.tileRows = tall <= wide ? 16 : 8;
  shape.tileColumns = 24 - shape.tileRows;
  shape.subsAcross = static_cast<int>(CeilDiv(p.width, shape.tileColumns));
  shape.subsPerFrame = shape.subsAcross * static_cast<int>(CeilDiv(p.height, shape.tileRows));
  shape.subs = shape.subsPerFrame * p.frames;
  shape.tilesM = static_cast<int>(CeilDiv(shape.subs, 2));
  shape.tilesNPhase = static_cast<int>(CeilDiv(p.outChannels, kTileN));
  shape.tilesN = shape.tilesNPhase * p.phases;
  shape.tiles = shape.tilesM * shape.tilesN;
}

template <int kKernel, int kMaps>
cudaError_t Launch(const ConvParams& p, cudaStream_t stream) {
  using Ring = Rings<kKernel>;
  Shape shape{};
  ChooseSubTile(p, shape);
  shape.bias = p.bias;
  shape.inputs = Inputs(p), shape.kernelT = p.kernelT, shape.strideT = p.strideT;
  shape.sources = p.channels[1] > 0 ? 2 : 1;
  for (int source = 0; source < 2; ++source) {
    shape.packed[source] = PackedChannels(p.channels[source]);
    shape.blocks[source] = static_cast<int>(CeilDiv(p.channels[source], kBlockChannels));
  }
  shape.height = p.height, shape.width = p.width, shape.outChannels = p.outChannels, shape.ldOut = p.ldOut;
  shape.outStep = p.outStep, shape.outY = p.outY, shape.outX = p.outX, shape.padY = p.padY, shape.padX = p.padX, shape.phases = p.phases;
  shape.replicate = p.replicate, shape.relu = p.activation == Activation::kRelu;
  const cuuint64_t depth = static_cast<cuuint64_t>(PackedConvDepth(p.kernelT * kKernel * kKernel, p.channels[0], p.channels[1]));
  const int64_t pixelBytes = static_cast<int64_t>(shape.inputs) * p.height * p.width * (p.channels[0] + p.channels[1]);
  shape.channelsFirst = pixelBytes > static_cast<int64_t>(depth) * p.outChannels * p.phases;
  for (int o = 0; o < p.frames; ++o) shape.output[o] = p.output[o], shape.residual[o] = p.residual[o];

  Maps<kMaps> maps{};
  const cuuint64_t weightDims[2] = {depth, static_cast<cuuint64_t>(p.outChannels) * p.phases};
  const cuuint32_t weightBox[2] = {kBlockChannels, kTileN};
  if (!Encode(maps.weight, p.weight, 2, weightDims, weightBox)) return cudaErrorInvalidValue;
  const cuuint32_t box[3] = {kBlockChannels, static_cast<cuuint32_t>(shape.tileColumns + kKernel - 1), static_cast<cuuint32_t>(shape.tileRows + kKernel - 1)};
  for (int source = 0; source < shape.sources; ++source) {
    const cuuint64_t dims[3] = {static_cast<cuuint64_t>(p.channels[source]), static_cast<cuuint64_t>(p.width), static_cast<cuuint64_t>(p.height)};
    for (int i = 0; i < shape.inputs; ++i)
      if (!Encode(maps.input[source * shape.inputs + i], p.input[source][i], 3, dims, box)) return cudaErrorInvalidValue;
  }

  auto* kernel = HopperConvolutionKernel<kKernel, kMaps>;
  cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, Ring::kSharedBytes);
  int device = 0, processors = 0;
  if (error == cudaSuccess) error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (error != cudaSuccess) return error;
  kernel<<<shape.tiles < processors ? shape.tiles : processors, kThreads, Ring::kSharedBytes, stream>>>(maps, shape);
  return cudaGetLastError();
}

}  // namespace

bool Sm90HasConvolution(const ConvParams& p) {
  const int kernel = p.kernelX, sources = p.channels[1] > 0 ? 2 : 1;
  const auto aligned = [](const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; };
  bool suits = p.type == DataType::kBfloat16 && p.outputType == DataType::kBfloat16 && p.kernelY == kernel && (kernel == 2 || kernel == 3) &&
               p.padY >= 0 && p.padX >= 0 && p.padY < kernel && p.padX < kernel &&
               (p.activation == Activation::kNone || p.activation == Activation::kRelu) && p.channels[0] % 8 == 0 && p.channels[1] % 8 == 0 &&
               p.outChannels % 8 == 0 && p.ldOut % 8 == 0 && aligned(p.weight) && reinterpret_cast<uintptr_t>(p.bias) % 8 == 0 &&
               sources * Inputs(p) <= (kernel == 2 ? kFewMaps : kManyMaps) &&
               (!p.replicate || (kernel == 3 && p.padY == 1 && p.padX == 1));
  for (int source = 0; source < sources && suits; ++source)
    for (int i = 0; i < Inputs(p); ++i) suits = suits && aligned(p.input[source][i]);
  for (int o = 0; o < p.frames && suits; ++o) suits = aligned(p.output[o]) && aligned(p.residual[o]);
  return suits && IsHopper() && Encoder() != nullptr;
}

bool Sm90SuitsConvolution(const ConvParams& p) {
  if (p.outChannels < 96 || p.channels[0] < 64) return false;
  if (CeilDiv(static_cast<int64_t>(p.frames) * p.height * p.width, 256) * CeilDiv(p.outChannels, kTileN) * p.phases < 64) return false;
  return Sm90HasConvolution(p);
}

cudaError_t LaunchConvolutionSm90(const ConvParams& p, cudaStream_t stream) {
  taken = Taken::kSm90;
  if (p.kernelX == 2) return Launch<2, kFewMaps>(p, stream);
  const bool few = !p.replicate && (p.channels[1] > 0 ? 2 : 1) * Inputs(p) <= kFewMaps;
  return few ? Launch<3, kFewMaps>(p, stream) : Launch<3, kManyMaps>(p, stream);
}

#else  // built without 9.0 among the architectures

bool Sm90HasConvolution(const ConvParams&) { return false; }
bool Sm90SuitsConvolution(const ConvParams&) { return false; }
cudaError_t LaunchConvolutionSm90(const ConvParams&, cudaStream_t) { return cudaErrorNotSupported; }

#endif

}  // namespace flashvsr::kernels
