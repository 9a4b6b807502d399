#include "kernels/convolution.h"

#include "kernels/sm90/convolution_sm90.h"
#include "kernels/smxx/gemm.cuh"

namespace flashvsr::kernels {

cudaError_t LaunchConv(const ConvParams& p, cudaStream_t stream) {
  const int inputs = (p.frames - 1) * p.strideT + p.kernelT;
  const bool shapes = p.frames > 0 && p.frames <= kMaxConvFrames && inputs <= kMaxConvFrames && p.height > 0 && p.width > 0 &&
                      p.height <= 8192 && p.width <= 8192 && p.outChannels > 0 && p.ldOut >= p.outChannels &&
                      p.channels[0] > 0 && p.channels[1] >= 0 &&
                      p.kernelY >= 1 && p.kernelX >= 1 && p.kernelT >= 1 && p.strideT >= 1 && p.outStep >= 1 &&
                      p.outY >= 0 && p.outY < p.outStep && p.outX >= 0 && p.outX < p.outStep &&
                      (p.phases == 1 || (p.phases == 4 && p.outStep == 2 && p.kernelY == 2 && p.kernelX == 2)) &&
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
  rows.kernelT = p.kernelT, rows.kernelY = p.kernelY, rows.kernelX = p.kernelX, rows.strideT = p.strideT;
  rows.padY = p.padY, rows.padX = p.padX;
  rows.outStep = p.outStep, rows.outY = p.outY, rows.outX = p.outX;
  rows.replicate = p.replicate;
  if (p.path == Path::kAuto && Sm90SuitsConvolution(p)) return LaunchConvolutionSm90(p, stream);
  const int64_t depth = PackedConvDepth(p.kernelT * p.kernelY * p.kernelX, p.channels[0], p.channels[1]);
  if (p.phases == 4) {
    for (int phase = 0; phase < 4; ++phase) {
      ConvParams one = p;
      one.phases = 1;
      one.weight = static_cast<const unsigned char*>(p.weight) + phase * p.outChannels * depth * SizeOf(p.type);
      one.outY = phase / 2, one.outX = phase % 2;
      one.padY -= one.outY, one.padX -= one.outX;
      if (const cudaError_t error = LaunchConv(one, stream); error != cudaSuccess) return error;
    }
    return cudaSuccess;
  }
  const ProductWeight weight{p.weight, depth, p.outChannels, static_cast<int>(depth)};
  const ProductEpilogue epilogue{p.bias, p.activation, true, aligned};
  const bool vectors = p.channels[0] % 8 == 0 && p.channels[1] % 8 == 0 && inputsAligned;
  return DispatchProduct<PixelRows>(rows, weight, epilogue, rows.m, p.type, p.outputType, vectors, p.path, stream);
}

}  // namespace flashvsr::kernels
