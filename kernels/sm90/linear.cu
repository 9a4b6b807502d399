// Linear layers: d = [residual +] activation(a * b^T + bias), bf16.
//
// A tile is 128 rows x 256 columns, each of two consumer warpgroups 64 x 256 as one accumulator: m64n256 reads 80
// B/cycle of shared memory where two m64n128 read 96, and the copies write 48 of the 128 there are. Two blocks of a
// cluster take tiles one above the other and copy half of the weight's tile each, for both: 32 B/cycle of L2 and block
// instead of 48, which 132 of them would not get. One thread copies through a ring of 4 stages of 64 k.
//
// What costs time at k = 1536 (24 steps of 1024 cycles) is the epilogue. Here a warpgroup's tensor cores wait only
// while its sums get their bias (and residual) and are packed into half as many registers; GELU, the transposition to
// 16-byte pieces and the stores happen under the next tile's first 16 steps, a piece a step, and residuals are loaded
// into the same registers during the last two. GELU's two special functions an element are 4096 cycles a tile, so that
// much would show; its argument waits as fp16, whose rounding (2^-12) is an eighth of the result's own.
#include "kernels/sm90/linear_sm90.h"

#include "kernels/common/epilogue.cuh"

#ifdef FLASHVSR_SM90
#include <cuda_fp16.h>

#include "kernels/sm90/hopper.h"
#include "kernels/sm90/tensor_map.h"
#include "kernels/sm90/tma.cuh"
#endif

namespace flashvsr::kernels {

#ifdef FLASHVSR_SM90

namespace {

constexpr int kCluster = 2, kThreads = 384, kTileM = 128, kTileN = 256, kTileK = 64, kStages = 4;
constexpr int kBytesA = kTileM * 128, kStageBytes = kBytesA + kTileN * 128, kBoxRows = 128, kBoxBytes = kBoxRows * 128;
constexpr int kBiases = kStages * kStageBytes, kBarriers = kBiases + 2 * 2 * kTileN * 4,
              kSharedBytes = kBarriers + 2 * kStages * 8;
constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;
static_assert(128 * kProducerRegisters + 256 * kConsumerRegisters <= 168 * kThreads && kSharedBytes <= 232448);
constexpr int kPieces = 16, kLastSteps = 2;  // 16-byte pieces of a lane, one a step; steps under which residuals arrive

enum class Finish { kPlain, kGelu, kResidual };

struct Maps {
  CUtensorMap a, b;  // (k, rows), boxes of 64 x 128
};

struct Shape {
  const float* bias;
  const Bf16* residual;
  Bf16* d;
  int64_t ldd;
  int m, n, steps;
  int unitsM, tilesN, units, group;  // a unit: the tiles of a cluster, one above the other
};

/// Groups of `group` units along m walk all columns, so that what is read at one time stays in L2.
__device__ __forceinline__ void TileOfUnit(const Shape& p, int unit, int& unitM, int& tileN) {
  const int perGroup = p.group * p.tilesN, first = unit / perGroup * p.group, inside = unit % perGroup;
  const int size = min(p.group, p.unitsM - first);
  unitM = first + inside % size;
  tileN = inside / size;
}

__device__ __forceinline__ void Produce(const Maps& maps, const Shape& p, uint32_t stages, uint32_t full,
                                        uint32_t empty, int rank) {
  uint32_t use = 0;
  for (int unit = static_cast<int>(blockIdx.x) / kCluster; unit < p.units;
       unit += static_cast<int>(gridDim.x) / kCluster) {
    int unitM, tileN;
    TileOfUnit(p, unit, unitM, tileN);
    const int m0 = (unitM * kCluster + rank) * kTileM, n0 = tileN * kTileN;
    for (int step = 0; step < p.steps; ++step, ++use) {
      const uint32_t slot = use % kStages, barrier = full + slot * 8, a = stages + slot * kStageBytes, b = a + kBytesA;
      BarrierWait(empty + slot * 8, static_cast<int>(use / kStages & 1) ^ 1);
      BarrierExpect(barrier, kStageBytes);
      CopyBox(a, &maps.a, barrier, step * kTileK, m0);
      CopyBoxToCluster(b + rank * kBoxBytes, &maps.b, barrier, step * kTileK, n0 + rank * kBoxRows, 3);
    }
  }
}

// Predicated loads and stores: wgmma in flight and branches do not mix.
__device__ __forceinline__ void LoadPiece(uint32_t (&w)[4], const Bf16* from, bool inside) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %5, 0;\nmov.b32 %0, 0;\nmov.b32 %1, 0;\nmov.b32 %2, 0;\nmov.b32 %3, 0;\n"
      "@p ld.global.v4.b32 {%0, %1, %2, %3}, [%4];\n}\n"
      : "=&r"(w[0]), "=&r"(w[1]), "=&r"(w[2]), "=&r"(w[3])
      : "l"(from), "r"(inside ? 1 : 0)
      : "memory");
}
__device__ __forceinline__ void StorePiece(Bf16* to, const uint32_t (&w)[4], bool inside) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %5, 0;\n@p st.global.v4.b32 [%4], {%0, %1, %2, %3};\n}\n" ::"r"(w[0]),
               "r"(w[1]), "r"(w[2]), "r"(w[3]), "l"(to), "r"(inside ? 1 : 0)
               : "memory");
}

/// A sum that waited as fp16: what overflowed there is its largest number (GELU of -infinity would not be a number).
__device__ __forceinline__ float GeluOfHalf(float x) {
  x = x < -65504.0f ? -65504.0f : x;
  return Activate(x > 65504.0f ? 65504.0f : x, Activation::kGeluTanh);
}

/// Where a lane's 16 pieces go: piece h * 8 + part is row `h * 8` down, columns `part * 32` to the right.
struct Place {
  int64_t offset;  // elements, of its first piece
  int left[2];     // columns of d from there on, by row half; <= 0: nothing

  __device__ __forceinline__ bool has(int piece) const { return piece % 8 * 32 < left[piece / 8]; }
  __device__ __forceinline__ int64_t of(int piece, int64_t ldd) const {
    return offset + (piece / 8) * 8 * ldd + piece % 8 * 32;
  }
};

template <Finish kFinish>
__global__ void __launch_bounds__(kThreads, 1)
    HopperLinearKernel(const __grid_constant__ Maps maps, const __grid_constant__ Shape p) {
  // Shared memory and roles
  extern __shared__ __align__(1024) unsigned char shared[];
  const uint32_t stages = SharedAddress(shared), full = stages + kBarriers, empty = full + kStages * 8;
  const int lane = threadIdx.x & 31;
  const int warp = __shfl_sync(0xffffffffu, threadIdx.x >> 5, 0);  // uniform, and the compiler can see it
  const int group = warp >> 2;
  const int rank = RankInCluster();
  // Barriers
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      BarrierInit(full + i * 8, 1);
      BarrierInit(empty + i * 8, 8 * kCluster);  // every consumer warp that a refill of this stage overtakes
    }
    FenceBarrierInit();
    FenceAsyncProxy();
    PrefetchMap(&maps.a);
    PrefetchMap(&maps.b);
  }
  __syncthreads();
  SyncCluster();

  // Producer warpgroup: one thread copies for the whole cluster
  if (group == 2) {
    GiveRegisters<kProducerRegisters>();
    if (warp == 8 && lane == 0) Produce(maps, p, stages, full, empty, rank);
    __syncwarp();
    SyncCluster();  // the peer may still arrive at this block's barriers
    return;
  }

  // Consumer warpgroups: 64 rows x 256 columns each
  TakeRegisters<kConsumerRegisters>();
  const int quadLane = lane & 3, threadInGroup = threadIdx.x & 127;
  const uint32_t release = AddressInCluster(empty, lane & (kCluster - 1));
  const uint64_t firstA = DescribeRowsAlongK(stages + group * 64 * 128), firstB = DescribeRowsAlongK(stages + kBytesA);
  float* const biases = reinterpret_cast<float*>(shared + kBiases) + group * 2 * kTileN;

  float acc[32][4];
  uint32_t words[kPieces][4];  // a lane's results, in the accumulator's order until they are stored
#pragma unroll
  for (int j = 0; j < 32; ++j)
#pragma unroll
    for (int c = 0; c < 4; ++c) acc[j][c] = 0.0f;
#pragma unroll
  for (int i = 0; i < kPieces; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) words[i][j] = 0;
  Place place{0, {0, 0}};
  uint32_t use = 0;
  int parity = 0;

  const auto freeStage = [&](uint32_t slot) {
    if (lane < kCluster) BarrierArriveInCluster(release + slot * 8);
  };
  const auto multiply = [&](bool first) {
    const uint32_t slot = use % kStages;
    BarrierWait(full + slot * 8, static_cast<int>(use / kStages & 1));
    const uint64_t a = firstA + slot * (kStageBytes >> 4), b = firstB + slot * (kStageBytes >> 4);
    WgmmaFence();
#pragma unroll
    for (int k = 0; k < kTileK / 16; ++k) Wgmma256(acc, a + k * 2, b + k * 2, first && k == 0 ? 0 : 1);
    WgmmaCommit();
  };
  const auto finishStep = [&](bool first) {
    if (!first) {
      WgmmaWait<1>();  // the step before
      freeStage((use - 1) % kStages);
    }
    ++use;
  };
  const auto store = [&](int i) {
    if constexpr (kFinish == Finish::kGelu) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float2 x = __half22float2(*reinterpret_cast<const __half2*>(&words[i][j]));
        words[i][j] = PackBf16(GeluOfHalf(x.x), GeluOfHalf(x.y));
      }
    }
    TransposeWords(words[i], lane);
    StorePiece(p.d + place.of(i, p.ldd), words[i], place.has(i));
  };

  for (int unit = static_cast<int>(blockIdx.x) / kCluster; unit < p.units;
       unit += static_cast<int>(gridDim.x) / kCluster, parity ^= 1) {
    int unitM, tileN;
    TileOfUnit(p, unit, unitM, tileN);
    const int row = (unitM * kCluster + rank) * kTileM + group * 64 + (warp & 3) * 16 + (lane >> 2),
              n0 = tileN * kTileN;
    // First steps: the epilogue of the tile before, a piece a step
#pragma unroll
    for (int step = 0; step < kPieces; ++step) {
      multiply(step == 0);
      store(step);  // of the tile before
      finishStep(step == 0);
    }
    // Middle steps
#pragma unroll 1
    for (int step = kPieces; step < p.steps - kLastSteps; ++step) {
      multiply(false);
      finishStep(false);
    }
    // Last steps: residuals and bias arrive under them
    place.offset = row * p.ldd + n0 + quadLane * 8;
    place.left[0] = row < p.m ? p.n - n0 - quadLane * 8 : 0;
    place.left[1] = row + 8 < p.m ? p.n - n0 - quadLane * 8 : 0;
    if constexpr (kFinish == Finish::kResidual) {
#pragma unroll
      for (int i = 0; i < kPieces; ++i) LoadPiece(words[i], p.residual + place.of(i, p.ldd), place.has(i));
    }
    float2 bias = make_float2(0.0f, 0.0f);
    if (p.bias != nullptr && n0 + threadInGroup * 2 < p.n)
      bias = __ldg(reinterpret_cast<const float2*>(p.bias + n0 + threadInGroup * 2));
#pragma unroll
    for (int step = 0; step < kLastSteps; ++step) {
      multiply(false);
      finishStep(false);
    }
    // Two buffers and a barrier a tile: a buffer is written again only after all threads have read it for the tile
    // before.
    float* const own = biases + parity * kTileN;
    *reinterpret_cast<float2*>(own + threadInGroup * 2) = bias;
    asm volatile("bar.sync %0, 128;\n" ::"r"(1 + group) : "memory");
    if constexpr (kFinish == Finish::kResidual) {
      // Under the last step's products. Waits for a stage that is there, and stays until it is freed below, cost
      // nothing and keep the compiler from moving the shuffles between those products (which it delays) or behind the
      // wait for them.
      const uint32_t there = full + (use - 1) % kStages * 8;
      const int phase = static_cast<int>((use - 1) / kStages & 1);
      BarrierWait(there, phase);
#pragma unroll
      for (int i = 0; i < kPieces; ++i) TransposeWords(words[i], lane);
      BarrierWait(there, phase);
    }
    WgmmaWait<0>();
    freeStage((use - 1) % kStages);

    // Sums, bias and residual packed into half as many registers; the rest of the epilogue runs under the next tile
#pragma unroll
    for (int nt = 0; nt < 32; ++nt) {
      const float2 add = *reinterpret_cast<const float2*>(own + nt * 8 + quadLane * 2);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t& word = words[half * 8 + nt / 4][nt % 4];
        float x = acc[nt][half * 2] + add.x, y = acc[nt][half * 2 + 1] + add.y;
        if constexpr (kFinish == Finish::kResidual)
          x += __uint_as_float(word << 16), y += __uint_as_float(word & 0xffff0000u);
        if constexpr (kFinish == Finish::kGelu) {
          const __half2 pair = __floats2half2_rn(x, y);
          word = *reinterpret_cast<const uint32_t*>(&pair);
        } else {
          word = PackBf16(x, y);
        }
      }
    }
  }
  // Epilogue of the last tile
#pragma unroll
  for (int i = 0; i < kPieces; ++i) store(i);
  __syncwarp();
  SyncCluster();
}

/// (k, rows) of bf16, rows `ld` elements apart, in boxes of 64 x 128.
bool EncodeRows(CUtensorMap& map, const void* data, int k, int rows, int64_t ld) {
  const cuuint64_t dims[2] = {static_cast<cuuint64_t>(k), static_cast<cuuint64_t>(rows)},
                   strides[1] = {static_cast<cuuint64_t>(ld) * 2};
  const cuuint32_t box[2] = {kTileK, kBoxRows};
  return EncodeTensorMap(map, data, 2, dims, strides, box);
}

template <Finish kFinish>
cudaError_t Launch(const LinearParams& g, int mostBlocks, cudaStream_t stream) {
  Maps maps{};
  if (!EncodeRows(maps.a, g.a, g.k, g.m, g.lda) || !EncodeRows(maps.b, g.b, g.k, g.n, g.ldb))
    return cudaErrorInvalidValue;
  Shape p{};
  p.bias = g.bias, p.residual = static_cast<const Bf16*>(g.residual), p.d = static_cast<Bf16*>(g.d), p.ldd = g.ldd;
  p.m = g.m, p.n = g.n, p.steps = static_cast<int>(CeilDiv(g.k, kTileK));
  p.unitsM = static_cast<int>(CeilDiv(g.m, kTileM * kCluster)), p.tilesN = static_cast<int>(CeilDiv(g.n, kTileN));
  p.units = p.unitsM * p.tilesN;
  p.group = static_cast<int>(
      CeilDiv(p.unitsM, CeilDiv(p.unitsM, 16 / kCluster)));  // 16 tiles or a little less, all groups alike

  auto* kernel = HopperLinearKernel<kFinish>;
  cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                           cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
  int device = 0, processors = 0;
  if (error == cudaSuccess) error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (error != cudaSuccess) return error;
  if (mostBlocks > 0 && mostBlocks < processors) processors = mostBlocks;
  int clusters = processors / kCluster > 0 ? processors / kCluster : 1;
  if (clusters > p.units) clusters = p.units;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(clusters * kCluster));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = kSharedBytes;
  config.stream = stream;
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = kCluster;
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, kernel, maps, p);
}

}  // namespace

bool Sm90SuitsLinear(const LinearParams& p) {
  const auto aligned = [](const void* pointer, uintptr_t bytes) {
    return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
  };
  if (p.type != DataType::kBfloat16 || p.outputType != DataType::kBfloat16 || p.scale != 1.0f || p.outputScale != 1.0f)
    return false;
  if (p.activation != Activation::kNone && (p.activation != Activation::kGeluTanh || p.residual != nullptr))
    return false;
  if (p.m < 1024 || p.n < 8 || p.k <= (kPieces + kLastSteps - 1) * kTileK) return false;
  if (p.a == nullptr || p.b == nullptr || p.d == nullptr || p.lda < p.k || p.ldb < p.k || p.ldd < p.n) return false;
  if (p.n % 8 != 0 || p.k % 8 != 0 || p.lda % 8 != 0 || p.ldb % 8 != 0 || p.ldd % 8 != 0) return false;
  if (!aligned(p.a, 16) || !aligned(p.b, 16) || !aligned(p.d, 16) || !aligned(p.residual, 16) || !aligned(p.bias, 8))
    return false;
  return Sm90Present() && TensorMapEncoder() != nullptr;
}

cudaError_t LaunchLinearSm90(const LinearParams& p, cudaStream_t stream, int mostBlocks) {
  if (p.residual != nullptr) return Launch<Finish::kResidual>(p, mostBlocks, stream);
  if (p.activation == Activation::kGeluTanh) return Launch<Finish::kGelu>(p, mostBlocks, stream);
  return Launch<Finish::kPlain>(p, mostBlocks, stream);
}

#else  // built without 9.0 among the architectures

bool Sm90SuitsLinear(const LinearParams&) { return false; }
cudaError_t LaunchLinearSm90(const LinearParams&, cudaStream_t, int) { return cudaErrorNotSupported; }

#endif

}  // namespace flashvsr::kernels
