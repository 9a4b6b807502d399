#include "kernels/picture_conversion.h"

namespace flashvsr::kernels {
namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ uint8_t ClampByte(int value) { return static_cast<uint8_t>(min(max(value, 0), 255)); }
__device__ __forceinline__ uint8_t RoundSum(int sum) { return ClampByte((sum + (1 << 21)) >> 22); }

__global__ void __launch_bounds__(kThreads) YuvToRgbKernel(const __grid_constant__ YuvToRgbParams p) {
  const int x = blockIdx.x * kThreads + threadIdx.x, y = blockIdx.y;
  if (x >= p.width) return;
  const int chromaWidth = (p.width + 1) / 2, chromaHeight = (p.height + 1) / 2;
  const uint8_t* const u = p.picture + static_cast<int64_t>(p.width) * p.height;
  const uint8_t* const v = u + static_cast<int64_t>(chromaWidth) * chromaHeight;
  const int near = y / 2, far = min(max(y % 2 == 0 ? near - 1 : near + 1, 0), chromaHeight - 1);
  const int left = x / 2, right = min(max(x % 2 == 0 ? left - 1 : left + 1, 0), chromaWidth - 1);
  const auto chroma = [&](const uint8_t* plane) {
    return 9 * plane[near * chromaWidth + left] + 3 * plane[near * chromaWidth + right] +
           3 * plane[far * chromaWidth + left] + plane[far * chromaWidth + right] - 2048;
  };
  const YuvMatrix& k = p.matrix;
  const int luma = 16 * k.y * (p.picture[static_cast<int64_t>(y) * p.width + x] - k.yOffset) + (1 << 19);
  const int cu = chroma(u), cv = chroma(v);
  uint8_t* const to = p.rgb + (static_cast<int64_t>(y) * p.width + x) * 3;
  to[0] = ClampByte((luma + k.rv * cv) >> 20);
  to[1] = ClampByte((luma + k.gu * cu + k.gv * cv) >> 20);
  to[2] = ClampByte((luma + k.bu * cu) >> 20);
}

/// One thread an output pixel. The sums fit 32 bits: 255 * 2^22 times the positive weights' sum, which is below 1.3.
__global__ void __launch_bounds__(kThreads) AcrossKernel(const __grid_constant__ ResizeParams p) {
  const int x = blockIdx.x * kThreads + threadIdx.x, y = blockIdx.y;
  if (x >= p.contentWidth) return;
  const int* const weights = p.across.weights + static_cast<int64_t>(x) * p.across.taps;
  const uint8_t* const from = p.in + (static_cast<int64_t>(y) * p.inWidth + p.across.first[x]) * 3;
  int sum[3] = {0, 0, 0};
  for (int j = 0; j < p.across.count[x]; ++j) {
    const int weight = weights[j];
    for (int c = 0; c < 3; ++c) sum[c] += weight * from[j * 3 + c];
  }
  uint8_t* const to = p.middle + (static_cast<int64_t>(y) * p.contentWidth + x) * 3;
  for (int c = 0; c < 3; ++c) to[c] = RoundSum(sum[c]);
}

/// One thread an output byte; padding repeats the last content column and row.
__global__ void __launch_bounds__(kThreads) DownKernel(const __grid_constant__ ResizeParams p) {
  const int i = blockIdx.x * kThreads + threadIdx.x, y = blockIdx.y;
  if (i >= p.width * 3) return;
  const int row = min(y, p.contentHeight - 1), x = min(i / 3, p.contentWidth - 1), c = i % 3;
  const int* const weights = p.down.weights + static_cast<int64_t>(row) * p.down.taps;
  const uint8_t* const from = p.middle + (static_cast<int64_t>(p.down.first[row]) * p.contentWidth + x) * 3 + c;
  int sum = 0;
  for (int j = 0; j < p.down.count[row]; ++j) sum += weights[j] * from[static_cast<int64_t>(j) * p.contentWidth * 3];
  p.out[static_cast<int64_t>(y) * p.width * 3 + i] = RoundSum(sum);
}

/// The same two operations, not contracted, as the specification.
__device__ __forceinline__ uint8_t UnitToPixel(float x) {
  const float scaled = __fadd_rn(__fmul_rn(__fadd_rn(x, 1.0f), 127.5f), 0.5f);
  return static_cast<uint8_t>(fminf(fmaxf(floorf(scaled), 0.0f), 255.0f));
}

/// One thread a 2x2 block: four luma, one pair of chroma; or twelve bytes of RGB.
__global__ void __launch_bounds__(kThreads) PackPictureKernel(const __grid_constant__ PackPictureParams p) {
  const int cx = blockIdx.x * kThreads + threadIdx.x, cy = blockIdx.y;
  const int chromaWidth = (p.contentWidth + 1) / 2, chromaHeight = (p.contentHeight + 1) / 2;
  if (cx >= chromaWidth) return;
  const int64_t plane = static_cast<int64_t>(p.width) * p.height;
  const YuvMatrix& k = p.matrix;
  int sum[3] = {0, 0, 0};
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      const int y = min(cy * 2 + i, p.contentHeight - 1), x = min(cx * 2 + j, p.contentWidth - 1);
      int rgb[3];
      for (int c = 0; c < 3; ++c) {
        rgb[c] = UnitToPixel(p.planes[c * plane + static_cast<int64_t>(y) * p.width + x]);
        sum[c] += rgb[c];
      }
      const int64_t at = static_cast<int64_t>(y) * p.contentWidth + x;
      if (p.yuv) {
        p.out[at] = ClampByte(((k.yr * rgb[0] + k.yg * rgb[1] + k.yb * rgb[2] + (1 << 15)) >> 16) + k.yOffset);
      } else {
        for (int c = 0; c < 3; ++c) p.out[at * 3 + c] = static_cast<uint8_t>(rgb[c]);
      }
    }
  }
  if (!p.yuv) return;
  uint8_t* const u = p.out + static_cast<int64_t>(p.contentWidth) * p.contentHeight;
  uint8_t* const v = u + static_cast<int64_t>(chromaWidth) * chromaHeight;
  const int64_t at = static_cast<int64_t>(cy) * chromaWidth + cx;
  u[at] = ClampByte(((k.ur * sum[0] + k.ug * sum[1] + k.ub * sum[2] + (1 << 17)) >> 18) + 128);
  v[at] = ClampByte(((k.vr * sum[0] + k.vg * sum[1] + k.vb * sum[2] + (1 << 17)) >> 18) + 128);
}

dim3 Grid(int64_t width, int height) {
  return {static_cast<unsigned>(CeilDiv(width, kThreads)), static_cast<unsigned>(height), 1};
}

}  // namespace

cudaError_t LaunchYuvToRgb(const YuvToRgbParams& p, cudaStream_t stream) {
  if (p.picture == nullptr || p.rgb == nullptr || p.width <= 0 || p.height <= 0) return cudaErrorInvalidValue;
  YuvToRgbKernel<<<Grid(p.width, p.height), kThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

cudaError_t LaunchResize(const ResizeParams& p, cudaStream_t stream) {
  if (p.in == nullptr || p.middle == nullptr || p.out == nullptr || p.inWidth <= 0 || p.inHeight <= 0 ||
      p.contentWidth <= 0 || p.contentHeight <= 0 || p.width < p.contentWidth || p.height < p.contentHeight ||
      p.across.first == nullptr || p.down.first == nullptr)
    return cudaErrorInvalidValue;
  AcrossKernel<<<Grid(p.contentWidth, p.inHeight), kThreads, 0, stream>>>(p);
  DownKernel<<<Grid(static_cast<int64_t>(p.width) * 3, p.height), kThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

cudaError_t LaunchPackPicture(const PackPictureParams& p, cudaStream_t stream) {
  if (p.planes == nullptr || p.out == nullptr || p.contentWidth <= 0 || p.contentHeight <= 0 ||
      p.width < p.contentWidth || p.height < p.contentHeight)
    return cudaErrorInvalidValue;
  PackPictureKernel<<<Grid((p.contentWidth + 1) / 2, (p.contentHeight + 1) / 2), kThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace flashvsr::kernels
