// Convolution with a halo in shared memory. A tile is 256 pixels x 128 output channels: each of two consumer warpgroups
// owns a sub-tile of 16x8 (or 8x16) pixels, two m64n128 accumulators of 8x8 pixels. For every 64 input channels the
// copy engine fetches a sub-tile with its border once (outside the picture: zeros, or the border pixel by a repair in
// shared memory), and all taps read it through wgmma descriptors whose start moves by whole 128-byte rows: 64 rows of
// wgmma are 8 groups of 8 pixels of one picture row, `pitch` rows apart. So the pixels cost 5 B/cycle of L2
// instead of 32; the weights, 16 KB a tap, cost 16. (That traffic limits the
// implicit gemm, sm90/gemm.cu: docs/kernels/convolution.md.)
//
// Blocks are persistent. The last warpgroup's first warp issues all copies into two rings (pixels, weights), its other
// warps repair replicated borders, or in the short variant copy pixels and serve the staging areas. All consumers end
// their tiles at about the same time, so where a tile is few taps the epilogue shows: hence two variants
// (ConvolutionVariant).
//
// Here: which shapes, which variant, the launch. convolution_tile.cuh: tiles, rings, barriers;
// convolution_epilogue.cuh: both epilogues; convolution_kernel.cuh: the roles and the kernel.
#include "kernels/sm90/convolution_sm90.h"

#ifdef FLASHVSR_SM90
#include "kernels/sm90/convolution_kernel.cuh"
#include "kernels/sm90/hopper.h"
#include "kernels/sm90/tensor_map.h"
#endif

namespace flashvsr::kernels {

#ifdef FLASHVSR_SM90

namespace {

using namespace convolution;

/// Output or residual picture, viewed as (channels, outStep, width, outStep, height) so that a sub-tile of one phase is
/// a box with unit extents at 1 and 3. Nothing outside the picture or past outChannels is written. Strides are
/// multiples of 16 bytes because ldOut is of 8.
bool EncodeStaged(CUtensorMap& map, const void* data, const ConvolutionParams& p, const Shape& shape) {
  const cuuint64_t step = static_cast<cuuint64_t>(p.outStep), width = static_cast<cuuint64_t>(p.width),
                   pixel = static_cast<cuuint64_t>(p.ldOut) * 2;
  const cuuint64_t dims[5] = {static_cast<cuuint64_t>(p.outChannels), step, width, step,
                              static_cast<cuuint64_t>(p.height)};
  const cuuint64_t strides[4] = {pixel, pixel * step, pixel * step * width, pixel * step * width * step};
  const cuuint32_t box[5] = {kBlockChannels, 1, static_cast<cuuint32_t>(shape.tileColumns), 1,
                             static_cast<cuuint32_t>(shape.tileRows)};
  return EncodeTensorMap(map, data, 5, dims, strides, box);
}

int Inputs(const ConvolutionParams& p) { return (p.frames - 1) * p.strideT + p.kernelT; }

/// Of the two shapes of a sub-tile the one that covers the picture with fewer.
void ChooseSubTile(const ConvolutionParams& p, Shape& shape) {
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

template <int kKernel, int kMaps, bool kStaged>
cudaError_t Launch(const ConvolutionParams& p, cudaStream_t stream) {
  using Ring = Rings<kKernel, kStaged>;
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
  shape.outStep = p.outStep, shape.outY = p.outY, shape.outX = p.outX, shape.padY = p.padY, shape.padX = p.padX,
  shape.phases = p.phases;
  shape.replicate = p.replicate, shape.relu = p.activation == Activation::kRelu;
  const cuuint64_t depth =
      static_cast<cuuint64_t>(PackedConvolutionDepth(p.kernelT * kKernel * kKernel, p.channels[0], p.channels[1]));
  const int64_t pixelBytes = static_cast<int64_t>(shape.inputs) * p.height * p.width * (p.channels[0] + p.channels[1]);
  shape.channelsFirst = pixelBytes > static_cast<int64_t>(depth) * p.outChannels * p.phases;
  for (int o = 0; o < p.frames; ++o) shape.output[o] = p.output[o], shape.residual[o] = p.residual[o];

  Maps<kMaps> maps{};
  const cuuint64_t weightDims[2] = {depth, static_cast<cuuint64_t>(p.outChannels) * p.phases};
  const cuuint32_t weightBox[2] = {kBlockChannels, kTileN};
  if (!EncodeDenseTensorMap(maps.weight, p.weight, 2, weightDims, weightBox)) return cudaErrorInvalidValue;
  const cuuint32_t box[3] = {kBlockChannels, static_cast<cuuint32_t>(shape.tileColumns + kKernel - 1),
                             static_cast<cuuint32_t>(shape.tileRows + kKernel - 1)};
  for (int source = 0; source < shape.sources; ++source) {
    const cuuint64_t dims[3] = {static_cast<cuuint64_t>(p.channels[source]), static_cast<cuuint64_t>(p.width),
                                static_cast<cuuint64_t>(p.height)};
    for (int i = 0; i < shape.inputs; ++i)
      if (!EncodeDenseTensorMap(maps.input[source * shape.inputs + i], p.input[source][i], 3, dims, box))
        return cudaErrorInvalidValue;
  }

  if (kStaged && (!EncodeStaged(maps.output, p.output[0], p, shape) ||
                  (p.residual[0] != nullptr && !EncodeStaged(maps.residual, p.residual[0], p, shape))))
    return cudaErrorInvalidValue;

  auto* kernel = HopperConvolutionKernel<kKernel, kMaps, kStaged>;
  cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                           cudaFuncAttributeMaxDynamicSharedMemorySize, Ring::kSharedBytes);
  int device = 0, processors = 0;
  if (error == cudaSuccess) error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (error != cudaSuccess) return error;
  const int blocks = shape.tiles < processors ? shape.tiles : processors;
  kernel<<<blocks, kThreads, Ring::kSharedBytes, stream>>>(maps, shape);
  return cudaGetLastError();
}

}  // namespace

bool Sm90HasConvolution(const ConvolutionParams& p) {
  const int kernel = p.kernelX, sources = p.channels[1] > 0 ? 2 : 1;
  const auto aligned = [](const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; };
  bool suits = p.type == DataType::kBfloat16 && p.outputType == DataType::kBfloat16 && p.kernelY == kernel &&
               (kernel == 2 || kernel == 3) && p.padY >= 0 && p.padX >= 0 && p.padY < kernel && p.padX < kernel &&
               (p.activation == Activation::kNone || p.activation == Activation::kRelu) && p.channels[0] % 8 == 0 &&
               p.channels[1] % 8 == 0 && p.outChannels % 8 == 0 && p.ldOut % 8 == 0 && aligned(p.weight) &&
               reinterpret_cast<uintptr_t>(p.bias) % 8 == 0 &&
               sources * Inputs(p) <= (kernel == 2 ? kFewMaps : kManyMaps) &&
               (!p.replicate || (kernel == 3 && p.padY == 1 && p.padX == 1));
  for (int source = 0; source < sources && suits; ++source)
    for (int i = 0; i < Inputs(p); ++i) suits = suits && aligned(p.input[source][i]);
  for (int o = 0; o < p.frames && suits; ++o) suits = aligned(p.output[o]) && aligned(p.residual[o]);
  return suits && Sm90Present() && TensorMapEncoder() != nullptr;
}

bool Sm90SuitsConvolution(const ConvolutionParams& p) {
  if (p.outChannels < 96 || p.channels[0] < 64) return false;
  if (CeilDiv(static_cast<int64_t>(p.frames) * p.height * p.width, 256) * CeilDiv(p.outChannels, kTileN) * p.phases <
      64)
    return false;
  return Sm90HasConvolution(p);
}

bool Sm90HasShortConvolution(const ConvolutionParams& p) {
  return p.frames == 1 && !p.replicate && (p.channels[1] > 0 ? 2 : 1) * Inputs(p) <= kFewMaps;
}

ConvolutionVariant Sm90ChooseConvolution(const ConvolutionParams& p) {
  // Steps of 64 channels by one tap, 1024 cycles each. The decoder's tiles are 8 (growth 128 -> 128) to 144 (2x512 ->
  // 512) steps and their weights stay in L2; the projector's are 432 and 1152, and theirs come from memory.
  constexpr int64_t kShortSteps = 160;
  const int64_t blocks = CeilDiv(p.channels[0], kBlockChannels) + CeilDiv(p.channels[1], kBlockChannels);
  const int64_t steps = p.kernelT * p.kernelY * p.kernelX * blocks;
  return steps <= kShortSteps && Sm90HasShortConvolution(p) ? ConvolutionVariant::kShort : ConvolutionVariant::kDeep;
}

cudaError_t LaunchConvolutionSm90As(const ConvolutionParams& p, ConvolutionVariant variant, cudaStream_t stream) {
  const bool few = !p.replicate && (p.channels[1] > 0 ? 2 : 1) * Inputs(p) <= kFewMaps;
  if (variant == ConvolutionVariant::kShort) {
    if (!Sm90HasShortConvolution(p)) return cudaErrorInvalidValue;
    return p.kernelX == 2 ? Launch<2, kFewMaps, true>(p, stream) : Launch<3, kFewMaps, true>(p, stream);
  }
  if (p.kernelX == 2) return Launch<2, kFewMaps, false>(p, stream);
  return few ? Launch<3, kFewMaps, false>(p, stream) : Launch<3, kManyMaps, false>(p, stream);
}

cudaError_t LaunchConvolutionSm90(const ConvolutionParams& p, cudaStream_t stream) {
  return LaunchConvolutionSm90As(p, Sm90ChooseConvolution(p), stream);
}

#else  // built without 9.0 among the architectures

bool Sm90HasConvolution(const ConvolutionParams&) { return false; }
bool Sm90SuitsConvolution(const ConvolutionParams&) { return false; }
bool Sm90HasShortConvolution(const ConvolutionParams&) { return false; }
ConvolutionVariant Sm90ChooseConvolution(const ConvolutionParams&) { return ConvolutionVariant::kDeep; }
cudaError_t LaunchConvolutionSm90As(const ConvolutionParams&, ConvolutionVariant, cudaStream_t) {
  return cudaErrorNotSupported;
}
cudaError_t LaunchConvolutionSm90(const ConvolutionParams&, cudaStream_t) { return cudaErrorNotSupported; }

#endif

}  // namespace flashvsr::kernels
