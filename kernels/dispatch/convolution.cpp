// Convolutions: checks the shape rules, takes the Hopper halo kernel where it suits, and describes the rest as gemms
// over pixels.
#include "kernels/convolution.h"

#include "kernels/dispatch/gemm.h"
#include "kernels/sm90/convolution_sm90.h"

namespace flashvsr::kernels {
namespace {

bool Aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

int Inputs(const ConvolutionParams& p) { return (p.frames - 1) * p.strideT + p.kernelT; }
int Sources(const ConvolutionParams& p) { return p.channels[1] > 0 ? 2 : 1; }

bool Valid(const ConvolutionParams& p) {
  const int inputs = Inputs(p);
  const bool shapes = p.frames > 0 && p.frames <= kMaxConvolutionFrames && inputs <= kMaxConvolutionFrames &&
                      p.height > 0 && p.width > 0 && p.height <= 8192 && p.width <= 8192 && p.outChannels > 0 &&
                      p.ldOut >= p.outChannels && p.channels[0] > 0 && p.channels[1] >= 0 && p.kernelY >= 1 &&
                      p.kernelX >= 1 && p.kernelT >= 1 && p.strideT >= 1 && p.outStep >= 1 && p.outY >= 0 &&
                      p.outY < p.outStep && p.outX >= 0 && p.outX < p.outStep &&
                      (p.phases == 1 || (p.phases == 4 && p.outStep == 2 && p.kernelY == 2 && p.kernelX == 2)) &&
                      static_cast<int64_t>(p.frames) * p.height * p.width < (int64_t{1} << 31);
  if (!shapes || p.weight == nullptr) return false;
  for (int source = 0; source < Sources(p); ++source)
    for (int i = 0; i < inputs; ++i)
      if (p.input[source][i] == nullptr) return false;
  for (int o = 0; o < p.frames; ++o)
    if (p.output[o] == nullptr || (p.residual[0] != nullptr && p.residual[o] == nullptr)) return false;
  return true;
}

int64_t Depth(const ConvolutionParams& p) {
  return PackedConvolutionDepth(p.kernelT * p.kernelY * p.kernelX, p.channels[0], p.channels[1]);
}

PixelOperand Describe(const ConvolutionParams& p) {
  PixelOperand rows{};
  for (int source = 0; source < Sources(p); ++source)
    for (int i = 0; i < Inputs(p); ++i) rows.input[source][i] = p.input[source][i];
  for (int o = 0; o < p.frames; ++o) rows.output[o] = p.output[o], rows.residual[o] = p.residual[o];
  for (int source = 0; source < 2; ++source) {
    rows.channels[source] = p.channels[source];
    rows.blocks[source] = PackedChannels(p.channels[source]) / kBlockK;
  }
  rows.pixels = p.height * p.width;
  rows.m = p.frames * rows.pixels;
  rows.height = p.height, rows.width = p.width;
  rows.ldOut = p.ldOut;
  rows.kernelT = p.kernelT, rows.kernelY = p.kernelY, rows.kernelX = p.kernelX, rows.strideT = p.strideT;
  rows.padY = p.padY, rows.padX = p.padX;
  rows.outStep = p.outStep, rows.outY = p.outY, rows.outX = p.outX;
  rows.replicate = p.replicate;
  return rows;
}

GemmCall Call(const ConvolutionParams& p) {
  bool vectors = p.channels[0] % 8 == 0 && p.channels[1] % 8 == 0 && Aligned(p.weight);
  for (int source = 0; source < Sources(p); ++source)
    for (int i = 0; i < Inputs(p); ++i) vectors = vectors && Aligned(p.input[source][i]);
  bool vectorised = p.ldOut * SizeOf(p.outputType) % 16 == 0 && Aligned(p.bias);
  for (int o = 0; o < p.frames; ++o) vectorised = vectorised && Aligned(p.output[o]) && Aligned(p.residual[o]);
  const int64_t depth = Depth(p);
  return {{p.weight, depth, p.outChannels, static_cast<int>(depth)},
          {p.bias, p.activation, true, vectorised},
          p.type,
          p.outputType,
          vectors,
          p.path};
}

/// The four phases of a growth convolution, one launch each. What the last one took, all took: their shapes are the
/// same.
Launched LaunchPhases(const ConvolutionParams& p, cudaStream_t stream) {
  Launched launched;
  for (int phase = 0; phase < 4 && launched.error == cudaSuccess; ++phase) {
    ConvolutionParams one = p;
    one.phases = 1;
    one.weight = static_cast<const unsigned char*>(p.weight) + phase * p.outChannels * Depth(p) * SizeOf(p.type);
    one.outY = phase / 2, one.outX = phase % 2;
    one.padY -= one.outY, one.padX -= one.outX;
    launched = LaunchConvolution(one, stream);
  }
  return launched;
}

}  // namespace

Launched LaunchConvolution(const ConvolutionParams& p, cudaStream_t stream) {
  if (!Valid(p)) return {cudaErrorInvalidValue, Taken::kPortable};
  if (p.path == Path::kAuto && Sm90SuitsConvolution(p)) return {LaunchConvolutionSm90(p, stream), Taken::kSm90};
  if (p.phases == 4) return LaunchPhases(p, stream);
  return LaunchGemm(Describe(p), Call(p), stream);
}

}  // namespace flashvsr::kernels
