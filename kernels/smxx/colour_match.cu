#include "kernels/colour_match.h"

namespace flashvsr::kernels {
namespace {

constexpr int kThreads = 256, kMomentBlocks = 128, kMoments = 12;  // sum and square sum of 3 decoded and 3 LQ channels

__device__ __forceinline__ float PixelToUnit(uint8_t x) { return static_cast<float>(x) / 255.0f * 2.0f - 1.0f; }

/// Block b adds rows b, b + 128, ...; its threads' sums are folded in a fixed tree. Moments about zero in double lose
/// nothing that matters: values lie near [-1, 1].
__global__ void __launch_bounds__(kThreads) MomentsKernel(const __grid_constant__ ColourMatchParams p) {
  __shared__ double shared[kThreads];
  double sums[kMoments] = {};
  const int64_t plane = static_cast<int64_t>(p.width) * p.height;
  for (int y = blockIdx.x; y < p.contentHeight; y += kMomentBlocks) {
    for (int x = threadIdx.x; x < p.contentWidth; x += kThreads) {
      const int64_t at = static_cast<int64_t>(y) * p.width + x;
#pragma unroll
      for (int c = 0; c < 3; ++c) {
        const double ours = p.decoded[c * plane + at], theirs = PixelToUnit(p.frame[at * 3 + c]);
        sums[c] += ours;
        sums[3 + c] += ours * ours;
        sums[6 + c] += theirs;
        sums[9 + c] += theirs * theirs;
      }
    }
  }
  double* const out = static_cast<double*>(p.scratch) + blockIdx.x * kMoments;
#pragma unroll
  for (int i = 0; i < kMoments; ++i) {
    shared[threadIdx.x] = sums[i];
    __syncthreads();
    for (int half = kThreads / 2; half > 0; half /= 2) {
      if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
      __syncthreads();
    }
    if (threadIdx.x == 0) out[i] = shared[0];
    __syncthreads();
  }
}

/// scratch[128 * 12 + c*4 ..]: our mean, 1 / our deviation * their deviation, their mean, as floats' worth of doubles.
__global__ void FactorsKernel(const __grid_constant__ ColourMatchParams p) {
  __shared__ double total[kMoments];
  double* const scratch = static_cast<double*>(p.scratch);
  if (threadIdx.x < kMoments) {
    double sum = 0;
    for (int block = 0; block < kMomentBlocks; ++block) sum += scratch[block * kMoments + threadIdx.x];
    total[threadIdx.x] = sum;
  }
  __syncthreads();
  if (threadIdx.x < 3) {
    const int c = threadIdx.x;
    const double count = static_cast<double>(p.contentWidth) * p.contentHeight;
    const double ours = total[c] / count, theirs = total[6 + c] / count;
    const double ourVariance = fmax(total[3 + c] / count - ours * ours, 0.0);
    const double theirVariance = fmax(total[9 + c] / count - theirs * theirs, 0.0);
    double* const factors = scratch + kMomentBlocks * kMoments + c * 3;
    factors[0] = ours;
    factors[1] = sqrt(theirVariance + 1e-5) / sqrt(ourVariance + 1e-5);
    factors[2] = theirs;
  }
}

template <bool kAdain>
__global__ void __launch_bounds__(kThreads) ApplyKernel(const __grid_constant__ ColourMatchParams p) {
  const int x = blockIdx.x * kThreads + threadIdx.x, y = blockIdx.y, c = blockIdx.z;
  if (x >= p.contentWidth) return;
  const int64_t at = (static_cast<int64_t>(c) * p.height + y) * p.width + x;
  float v = p.decoded[at];
  if (kAdain) {
    const double* const factors = static_cast<const double*>(p.scratch) + kMomentBlocks * kMoments + c * 3;
    v = static_cast<float>((v - factors[0]) * factors[1] + factors[2]);
  }
  p.out[at] = fminf(fmaxf(v, -1.0f), 1.0f);
}

/// Six tight planes (3 decoded, 3 LQ) of the content rectangle.
__global__ void __launch_bounds__(kThreads) GatherKernel(const __grid_constant__ ColourMatchParams p, float* planes) {
  const int x = blockIdx.x * kThreads + threadIdx.x, y = blockIdx.y, i = blockIdx.z;
  if (x >= p.contentWidth) return;
  const int64_t from = static_cast<int64_t>(y) * p.width + x;
  const float v =
      i < 3 ? p.decoded[static_cast<int64_t>(i) * p.height * p.width + from] : PixelToUnit(p.frame[from * 3 + i - 3]);
  planes[(static_cast<int64_t>(i) * p.contentHeight + y) * p.contentWidth + x] = v;
}

/// [1 2 1] / 4 along one axis of six planes, taps `dilation` apart, edges replicated.
template <bool kVertical>
__global__ void __launch_bounds__(kThreads)
    BlurKernel(const float* in, float* out, int width, int height, int dilation) {
  const int x = blockIdx.x * kThreads + threadIdx.x, y = blockIdx.y;
  if (x >= width) return;
  const float* const plane = in + static_cast<int64_t>(blockIdx.z) * height * width;
  const auto at = [&](int py, int px) { return plane[static_cast<int64_t>(py) * width + px]; };
  const float low = kVertical ? at(max(y - dilation, 0), x) : at(y, max(x - dilation, 0));
  const float high = kVertical ? at(min(y + dilation, height - 1), x) : at(y, min(x + dilation, width - 1));
  out[(static_cast<int64_t>(blockIdx.z) * height + y) * width + x] = 0.25f * (low + 2.0f * at(y, x) + high);
}

__global__ void __launch_bounds__(kThreads)
    WaveletKernel(const __grid_constant__ ColourMatchParams p, const float* planes) {
  const int x = blockIdx.x * kThreads + threadIdx.x, y = blockIdx.y, c = blockIdx.z;
  if (x >= p.contentWidth) return;
  const int64_t at = (static_cast<int64_t>(c) * p.height + y) * p.width + x;
  const int64_t content = static_cast<int64_t>(p.contentHeight) * p.contentWidth;
  const int64_t low = c * content + static_cast<int64_t>(y) * p.contentWidth + x;
  const float v = p.decoded[at] - planes[low] + planes[3 * content + low];
  p.out[at] = fminf(fmaxf(v, -1.0f), 1.0f);
}

}  // namespace

int64_t ColourMatchScratchBytes(ColourMatchKind kind, int contentWidth, int contentHeight) {
  if (kind == ColourMatchKind::kAdain) return (kMomentBlocks * kMoments + 9) * static_cast<int64_t>(sizeof(double));
  if (kind == ColourMatchKind::kWavelet) return int64_t{12} * contentWidth * contentHeight * 4;
  return 0;
}

cudaError_t LaunchColourMatch(const ColourMatchParams& p, cudaStream_t stream) {
  if (p.decoded == nullptr || p.frame == nullptr || p.out == nullptr || p.contentWidth <= 0 || p.contentHeight <= 0 ||
      p.width < p.contentWidth || p.height < p.contentHeight ||
      (p.kind != ColourMatchKind::kNone && p.scratch == nullptr))
    return cudaErrorInvalidValue;
  const unsigned columns = static_cast<unsigned>(CeilDiv(p.contentWidth, kThreads)),
                 rows = static_cast<unsigned>(p.contentHeight);
  if (p.kind == ColourMatchKind::kAdain) {
    MomentsKernel<<<kMomentBlocks, kThreads, 0, stream>>>(p);
    FactorsKernel<<<1, 32, 0, stream>>>(p);
    ApplyKernel<true><<<dim3(columns, rows, 3), kThreads, 0, stream>>>(p);
  } else if (p.kind == ColourMatchKind::kNone) {
    ApplyKernel<false><<<dim3(columns, rows, 3), kThreads, 0, stream>>>(p);
  } else {
    float* const planes = static_cast<float*>(p.scratch);
    float* const middle = planes + int64_t{6} * p.contentWidth * p.contentHeight;
    const dim3 six(columns, rows, 6);
    GatherKernel<<<six, kThreads, 0, stream>>>(p, planes);
    for (int dilation = 1; dilation <= 16; dilation *= 2) {
      BlurKernel<false><<<six, kThreads, 0, stream>>>(planes, middle, p.contentWidth, p.contentHeight, dilation);
      BlurKernel<true><<<six, kThreads, 0, stream>>>(middle, planes, p.contentWidth, p.contentHeight, dilation);
    }
    WaveletKernel<<<dim3(columns, rows, 3), kThreads, 0, stream>>>(p, planes);
  }
  return cudaGetLastError();
}

}  // namespace flashvsr::kernels
