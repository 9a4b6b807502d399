// flashvsr_kernel_bench [--filter TEXT] [--height H --width W]: median time of every heavy kernel at the official
// sizes, on random data, and its share of this card's measured ceilings. Default picture: 768x1408.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/cuda/cublaslt.h"
#include "kernels/attention.h"
#include "kernels/attention_input.h"
#include "kernels/colour_match.h"
#include "kernels/convolution.h"
#include "kernels/decoder_output.h"
#include "kernels/dispatch/gemm.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "kernels/patch.h"
#include "kernels/rotate_round.h"
#include "kernels/select.h"
#include "kernels/shuffle.h"
#include "kernels/sm90/linear_sm90.h"

namespace {

using namespace flashvsr::kernels;

std::string filter;

// Standard normals in bf16 or fp32, made on the device: zeros run faster than real data does.
class Buffer {
 public:
  Buffer(std::int64_t count, DataType type = DataType::kBfloat16) {
    const std::int64_t padded = RoundUp(count, 4096);
    cudaMalloc(&data_, static_cast<std::size_t>(padded * SizeOf(type)));
    float* normals = nullptr;
    cudaMalloc(reinterpret_cast<void**>(&normals), static_cast<std::size_t>(padded * 4));
    NoiseParams noise;
    noise.seed = static_cast<std::uint64_t>(count);
    noise.out = normals;
    noise.channels = noise.frames = 1;
    noise.height = static_cast<int>(padded / 64);
    noise.width = 64;
    LaunchNoise(noise, nullptr);
    if (type == DataType::kFloat8) {
      LayerNormParams round;  // rows of 4096 normals to bf16, then to e4m3
      Buffer rounded(padded);
      round.x = rounded.get();
      round.out = data_;
      round.rows = padded / 4096;
      round.width = 4096;
      round.float8 = true;
      round.outputScale = 8.0F;
      LaunchLayerNorm(round, nullptr);
      cudaDeviceSynchronize();
    } else if (type == DataType::kFloat32) {
      cudaMemcpy(data_, normals, static_cast<std::size_t>(padded * 4), cudaMemcpyDeviceToDevice);
    } else {
      ones(padded / 8);
      RmsNormParams round;  // rows of 8 normals to bf16
      round.x = normals;
      round.out = data_;
      round.weight = ones_;
      round.rows = padded / 8;
      round.width = 8;
      round.inputType = DataType::kFloat32;
      round.type = type;
      LaunchRmsNorm(round, nullptr);
    }
    cudaDeviceSynchronize();
    cudaFree(normals);
    if (ones_ != nullptr) cudaFree(ones_);
  }
  Buffer(const Buffer&) = delete;
  ~Buffer() { cudaFree(data_); }
  void* get() const { return data_; }
  float* floats() const { return static_cast<float*>(data_); }

 private:
  void ones(std::int64_t) {
    const std::vector<float> host(8, 1.0F);
    cudaMalloc(reinterpret_cast<void**>(&ones_), 32);
    cudaMemcpy(ones_, host.data(), 32, cudaMemcpyHostToDevice);
  }
  void* data_ = nullptr;
  float* ones_ = nullptr;
};

double MedianMs(const std::function<void()>& body) {
  cudaEvent_t start, end;
  cudaEventCreate(&start);
  cudaEventCreate(&end);
  for (int i = 0; i < 3; ++i) body();
  std::vector<float> times;
  for (int i = 0; i < 15; ++i) {
    cudaEventRecord(start);
    body();
    cudaEventRecord(end);
    cudaEventSynchronize(end);
    float ms = 0;
    cudaEventElapsedTime(&ms, start, end);
    times.push_back(ms);
  }
  cudaEventDestroy(start);
  cudaEventDestroy(end);
  std::nth_element(times.begin(), times.begin() + 7, times.end());
  return times[7];
}

// Ceilings measured on an H100 80GB (see kernels/LOG.md); other cards are still compared with them.
constexpr double kTflops = 798, kTerabytes = 2.96;

void Line(const std::string& name, double flop, double bytes, const std::function<void()>& body) {
  if (name.find(filter) == std::string::npos) return;
  const double ms = MedianMs(body);
  const cudaError_t error = cudaGetLastError();
  const double tflops = flop / ms * 1e-9, terabytes = bytes / ms * 1e-9;
  std::printf("%-44s %9.1f us  %7.1f TFLOP/s %5.1f %%  %6.2f TB/s %5.1f %%%s\n", name.c_str(), ms * 1000, tflops,
              tflops / kTflops * 100, terabytes, terabytes / kTerabytes * 100,
              error == cudaSuccess ? "" : cudaGetErrorString(error));
  std::fflush(stdout);
}

void Linear(const std::string& name, std::int64_t m, int n, int k, Activation activation, bool residual,
            flashvsr::cuda::CublasLt* lt) {
  const Buffer a(m * k), b(static_cast<std::int64_t>(n) * k), d(m * n), bias(n, DataType::kFloat32), stored(n),
      workspace(16 << 20);
  const double flop = 2.0 * static_cast<double>(m) * n * k,
               bytes = 2.0 * static_cast<double>(m * k + static_cast<std::int64_t>(n) * k + m * n * (residual ? 2 : 1));
  LinearParams own;
  own.a = a.get(), own.b = b.get(), own.d = d.get(), own.bias = bias.floats();
  own.residual = residual ? d.get() : nullptr;
  own.m = static_cast<int>(m), own.n = n, own.k = k, own.lda = own.ldb = k, own.ldd = n;
  own.activation = activation;
  for (const Path path : {Path::kPortable, Path::kAuto}) {
    own.path = path;
    Line("linear " + name + (path == Path::kAuto ? " auto" : " portable"), flop, bytes,
         [&] { LaunchGemm(own, nullptr); });
  }
  if (Sm90SuitsLinear(own)) Line("linear " + name + " sm90", flop, bytes, [&] { LaunchLinearSm90(own, nullptr); });
  if (lt == nullptr) return;
  const flashvsr::cuda::DeviceLinear weight{b.get(), bias.floats(), stored.get(), n, k};
  flashvsr::cuda::LinearCall call;
  call.a = a.get(), call.lda = k, call.rows = m, call.weight = &weight, call.activation = activation;
  call.residual = residual ? d.get() : nullptr;
  call.out = d.get(), call.ldd = n;
  bool used = true;
  Line("linear " + name + " cuBLASLt", flop, bytes,
       [&] { used = lt->run(call, workspace.get(), 32 << 20, nullptr) && used; });
  if (!used) std::printf("  (not computed by cuBLASLt)\n");
}

// e4m3 operands; random bytes would hold NaN, so they are rounded normals.
void LinearFloat8(const std::string& name, std::int64_t m, int n, int k, Activation activation, bool residual,
                  bool float8Out, flashvsr::cuda::CublasLt* lt) {
  if (!Float8Suits()) return;
  const Buffer a(m * k, DataType::kFloat8), b(static_cast<std::int64_t>(n) * k, DataType::kFloat8), d(m * n),
      bias(n, DataType::kFloat32), stored(n), workspace(16 << 20);
  const Buffer one(1, DataType::kFloat32);
  const double flop = 2.0 * static_cast<double>(m) * n * k;
  const double bytes =
      static_cast<double>(m * k + static_cast<std::int64_t>(n) * k) + static_cast<double>(m * n) * (float8Out  ? 1
                                                                                                    : residual ? 4
                                                                                                               : 2);
  Line("linear e4m3 " + name + " portable", flop, bytes, [&] {
    LinearParams p;
    p.a = a.get(), p.b = b.get(), p.d = d.get(), p.bias = bias.floats();
    p.residual = residual ? d.get() : nullptr;
    p.m = static_cast<int>(m), p.n = n, p.k = k, p.lda = p.ldb = k, p.ldd = n;
    p.type = DataType::kFloat8, p.outputType = float8Out ? DataType::kFloat8 : DataType::kBfloat16;
    p.scale = 1.0F / 64;
    p.activation = activation;
    LaunchLinear(p, nullptr);
  });
  if (lt == nullptr) return;
  flashvsr::cuda::DeviceLinear weight{b.get(), bias.floats(), stored.get(), n, k};
  weight.type = DataType::kFloat8, weight.scale = 1.0F / 64, weight.float8Out = float8Out,
  weight.outputScaleStored = one.floats();
  flashvsr::cuda::LinearCall call;
  call.a = a.get(), call.lda = k, call.rows = m, call.weight = &weight, call.activation = activation;
  call.residual = residual ? d.get() : nullptr;
  call.out = d.get(), call.ldd = n;
  bool used = true;
  Line("linear e4m3 " + name + " cuBLASLt", flop, bytes,
       [&] { used = lt->run(call, workspace.get(), 32 << 20, nullptr) && used; });
  if (!used) std::printf("  (not computed by cuBLASLt)\n");
}

// int8 operands: the bytes of normals, which take every value.
void LinearInt8(const std::string& name, std::int64_t m, int n, int k, Activation activation, bool residual) {
  const Buffer a(m * k / 2), b(static_cast<std::int64_t>(n) * k / 2), d(m * n), bias(n, DataType::kFloat32),
      rowScales(m, DataType::kFloat32), columnScales(n, DataType::kFloat32);
  LinearParams p;
  p.a = a.get(), p.b = b.get(), p.d = d.get(), p.bias = bias.floats();
  p.residual = residual ? d.get() : nullptr;
  p.m = static_cast<int>(m), p.n = n, p.k = k, p.lda = p.ldb = k, p.ldd = n;
  p.type = DataType::kInt8;
  p.rowScales = rowScales.floats(), p.columnScales = columnScales.floats();
  p.activation = activation;
  Line("linear int8 " + name, 2.0 * static_cast<double>(m) * n * k,
       static_cast<double>(m * k + static_cast<std::int64_t>(n) * k) + static_cast<double>(m * n) * (residual ? 4 : 2),
       [&] { LaunchLinear(p, nullptr); });
}

// From bf16 to int8 and scales.
void RotateRound(const std::string& name, std::int64_t rows, int width, bool norm) {
  const Buffer x(rows * width), out(rows * width), scales(rows, DataType::kFloat32);
  RotateRoundParams p;
  p.x = x.get(), p.out = out.get(), p.scales = scales.floats();
  p.rows = rows, p.width = width, p.ldOut = width, p.norm = norm;
  Line("int8 " + name, 0, 3.0 * static_cast<double>(rows * width), [&] { LaunchRotateRound(p, nullptr); });
}

void Convolution(const std::string& name, int frames, int height, int width, int in, int sources, int out, int kernelT,
                 int kernel, int step, bool residual) {
  const std::int64_t pixels = static_cast<std::int64_t>(height) * width;
  const int inputs = frames * kernelT;
  const Buffer x(pixels * in * (inputs + 1)),
      weight(static_cast<std::int64_t>(out) * step * step *
             PackedConvolutionDepth(kernelT * kernel * kernel, in, sources == 2 ? in : 0));
  const Buffer d(pixels * out * frames * step * step), add(pixels * out * frames), bias(out, DataType::kFloat32);
  ConvolutionParams p;
  for (int i = 0; i < inputs; ++i) p.input[0][i] = static_cast<std::uint8_t*>(x.get()) + pixels * in * i * 2;
  p.input[1][0] = sources == 2 ? static_cast<std::uint8_t*>(x.get()) + pixels * in * 2 : nullptr;
  for (int o = 0; o < frames; ++o)
    p.output[o] = static_cast<std::uint8_t*>(d.get()) + pixels * out * step * step * o * 2;
  if (residual) p.residual[0] = add.get();
  p.channels[0] = in;
  p.channels[1] = sources == 2 ? in : 0;
  p.weight = weight.get();
  p.bias = bias.floats();
  p.frames = frames, p.height = height, p.width = width, p.outChannels = p.ldOut = out;
  p.kernelT = p.strideT = kernelT;
  p.kernelY = p.kernelX = kernel;
  p.padY = p.padX = 1;
  p.outStep = step, p.phases = step * step;
  p.replicate = kernelT > 1;
  p.activation = Activation::kRelu;
  const double taps = kernelT * kernel * kernel * sources * step * step;
  for (const Path path : {Path::kPortable, Path::kAuto}) {
    p.path = path;
    Line("convolution " + name + (path == Path::kAuto ? " auto" : ""),
         2.0 * static_cast<double>(pixels) * frames * in * taps * out,
         2.0 * static_cast<double>(pixels) * frames * (in * sources + out * step * step * (residual ? 2 : 1)),
         [&] { LaunchConvolution(p, nullptr); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  int height = 768, width = 1408;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--filter") == 0) filter = argv[i + 1];
    if (std::strcmp(argv[i], "--height") == 0) height = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--width") == 0) width = std::atoi(argv[i + 1]);
  }
  cudaDeviceProp properties{};
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) return std::fprintf(stderr, "no usable CUDA device\n"), 2;
  std::string reason;
  const auto lt = flashvsr::cuda::CublasLt::Open(reason);
  std::printf("%s, %dx%d, cuBLASLt %s\n", properties.name, height, width, lt ? "found" : reason.c_str());
  const int h = height / 16, w = width / 16, windows = (height / 128) * (width / 128);
  const std::int64_t tokens = static_cast<std::int64_t>(windows) * 128;
  constexpr int kDim = 1536, kHeads = 12, kFfn = 8960;

  Linear("q,k (n 3072)", tokens, 2 * kDim, kDim, Activation::kNone, false, lt.get());
  Linear("v (n 1536)", tokens, kDim, kDim, Activation::kNone, false, lt.get());
  Linear("o + residual", tokens, kDim, kDim, Activation::kNone, true, lt.get());
  Linear("ffn in + GELU", tokens, kFfn, kDim, Activation::kGeluTanh, false, lt.get());
  Linear("ffn out + residual", tokens, kDim, kFfn, Activation::kNone, true, lt.get());
  LinearFloat8("q,k (n 3072)", tokens, 2 * kDim, kDim, Activation::kNone, false, false, lt.get());
  LinearFloat8("v to e4m3 (n 1536)", tokens, kDim, kDim, Activation::kNone, false, true, lt.get());
  LinearFloat8("o + residual", tokens, kDim, kDim, Activation::kNone, true, false, lt.get());
  LinearFloat8("ffn in + GELU to e4m3", tokens, kFfn, kDim, Activation::kGeluTanh, false, true, lt.get());
  LinearFloat8("ffn in + GELU to bf16", tokens, kFfn, kDim, Activation::kGeluTanh, false, false, lt.get());
  LinearFloat8("ffn out + residual", tokens, kDim, kFfn, Activation::kNone, true, false, lt.get());

  LinearInt8("q,k (n 3072)", tokens, 2 * kDim, kDim, Activation::kNone, false);
  LinearInt8("v (n 1536)", tokens, kDim, kDim, Activation::kNone, false);
  LinearInt8("o + residual", tokens, kDim, kDim, Activation::kNone, true);
  LinearInt8("ffn in + GELU", tokens, kFfn, kDim, Activation::kGeluTanh, false);
  LinearInt8("ffn out + residual", tokens, kDim, kFfn, Activation::kNone, true);
  RotateRound("layer norm, turn and round", tokens, kDim, true);
  RotateRound("turn and round, ffn hidden", tokens, kFfn, false);

  {
    const int groups = 4, columns = groups * windows;
    const Buffer q(tokens * kDim), out(tokens * kDim), keys(tokens * kDim * groups), values(tokens * kDim * groups);
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(kHeads) * windows * columns);
    std::uint64_t state = 1, kept = 0;
    for (std::uint8_t& m : mask) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      m = (state >> 33) % 17424 < 7919 ? 1 : 0;
      kept += m;
    }
    std::uint8_t* deviceMask = nullptr;
    std::uint32_t* entries = nullptr;
    int* counts = nullptr;
    cudaMalloc(reinterpret_cast<void**>(&deviceMask), mask.size());
    cudaMalloc(reinterpret_cast<void**>(&entries), mask.size() * 4);
    cudaMalloc(reinterpret_cast<void**>(&counts), static_cast<std::size_t>(kHeads) * windows * 4);
    cudaMemcpy(deviceMask, mask.data(), mask.size(), cudaMemcpyHostToDevice);
    const KeptWindowsParams kp{deviceMask, kHeads * windows, columns, windows, entries, counts};
    Line("kept windows", 0, static_cast<double>(mask.size()) * 3, [&] { LaunchKeptWindows(kp, nullptr); });
    LaunchKeptWindows(kp, nullptr);
    AttentionParams p;
    p.q = q.get(), p.out = out.get();
    for (int g = 0; g < groups; ++g) {
      p.keys[g] = static_cast<std::uint8_t*>(keys.get()) + tokens * kDim * 2 * g;
      p.values[g] = static_cast<std::uint8_t*>(values.get()) + tokens * kDim * 2 * g;
    }
    p.entries = entries, p.counts = counts, p.columns = columns, p.queryWindows = windows, p.heads = kHeads;
    for (const Path path : {Path::kPortable, Path::kAuto}) {
      p.path = path;
      Line(path == Path::kAuto ? "sparse attention auto" : "sparse attention",
           static_cast<double>(kept) * 128 * 128 * 128 * 4, 0, [&] { LaunchAttention(p, nullptr); });
    }
    // Rows as uneven as real masks make them: from a thirteenth to five sixths of the key windows.
    {
      std::vector<std::uint8_t> uneven(mask.size());
      std::uint64_t keptUneven = 0;
      for (std::size_t row = 0; row < static_cast<std::size_t>(kHeads) * windows; ++row) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        const std::uint64_t limit = 1241 + (state >> 33) % 12414;  // of 16384
        for (std::size_t i = row * columns; i < (row + 1) * columns; ++i) {
          state = state * 6364136223846793005ULL + 1442695040888963407ULL;
          uneven[i] = (state >> 33) % 16384 < limit ? 1 : 0;
          keptUneven += uneven[i];
        }
      }
      cudaMemcpy(deviceMask, uneven.data(), uneven.size(), cudaMemcpyHostToDevice);
      LaunchKeptWindows(kp, nullptr);
      for (const Path path : {Path::kPortable, Path::kAuto}) {
        p.path = path;
        Line(path == Path::kAuto ? "sparse attention uneven auto" : "sparse attention uneven",
             static_cast<double>(keptUneven) * 128 * 128 * 128 * 4, 0, [&] { LaunchAttention(p, nullptr); });
      }
      cudaMemcpy(deviceMask, mask.data(), mask.size(), cudaMemcpyHostToDevice);
      LaunchKeptWindows(kp, nullptr);
    }
    if (Float8AttentionSuits()) {
      const Buffer q8(tokens * kDim, DataType::kFloat8), keys8(tokens * kDim * groups, DataType::kFloat8),
          values8(tokens * kDim * groups, DataType::kFloat8);
      AttentionParams e = p;
      e.q = q8.get();
      for (int g = 0; g < groups; ++g) {
        e.keys[g] = static_cast<std::uint8_t*>(keys8.get()) + tokens * kDim * g;
        e.values[g] = static_cast<std::uint8_t*>(values8.get()) + tokens * kDim * g;
      }
      e.type = e.outputType = DataType::kFloat8;
      e.scoreScale = 1.0F / 64;
      Line("sparse attention e4m3", static_cast<double>(kept) * 128 * 128 * 128 * 4, 0,
           [&] { LaunchAttention(e, nullptr); });
    }
    p.entries = nullptr, p.counts = nullptr;
    p.keyLength = 512;
    for (const Path path : {Path::kPortable, Path::kAuto}) {
      p.path = path;
      Line(path == Path::kAuto ? "cross attention auto" : "cross attention",
           static_cast<double>(tokens) * kDim * 512 * 4, static_cast<double>(tokens) * kDim * 4,
           [&] { LaunchAttention(p, nullptr); });
    }

    const Buffer means(static_cast<std::int64_t>(windows) * kDim, DataType::kFloat32),
        probabilities(static_cast<std::int64_t>(mask.size()), DataType::kFloat32);
    SelectParams s;
    s.queryMeans = means.floats();
    for (int g = 0; g < groups; ++g) s.keyMeans[g] = means.floats();
    s.heads = kHeads, s.windowRows = height / 128, s.windowColumns = width / 128, s.queryGroups = 1,
    s.keyGroups = groups, s.localRange = 11;
    s.topk =
        static_cast<std::int64_t>(windows * windows * 2.0 * 768 * 1280 / (static_cast<double>(height) * width)) - 1;
    s.probabilities = probabilities.floats(), s.mask = deviceMask;
    Line("mask selection", 0, static_cast<double>(mask.size()) * 4, [&] { LaunchSelect(s, nullptr); });
    cudaFree(deviceMask);
    cudaFree(entries);
    cudaFree(counts);
  }
  {
    const Buffer x(tokens * kDim * 2), out(tokens * kDim), vector(kDim, DataType::kFloat32),
        tables(16384, DataType::kFloat32);
    const double once = static_cast<double>(tokens) * kDim * 2;
    LayerNormParams n;
    n.x = x.get(), n.out = out.get(), n.scale = n.shift = vector.floats(), n.rows = tokens, n.width = kDim;
    Line("layer norm + modulate", 0, 2 * once, [&] { LaunchLayerNorm(n, nullptr); });
    n.float8 = true, n.scale = n.shift = nullptr, n.outputScale = 8;
    Line("layer norm to e4m3", 0, 1.5 * once, [&] { LaunchLayerNorm(n, nullptr); });
    const Buffer means(static_cast<std::int64_t>(windows) * kDim * 2, DataType::kFloat32), keys(tokens * kDim);
    QueryKeyParams r;
    r.x = x.get(), r.ldx = 2 * kDim, r.frames = r.rows = r.columns = tables.floats();
    r.parts[0] = {vector.floats(), out.get(), means.floats(), 4.0F};
    r.parts[1] = {vector.floats(), keys.get(), means.floats() + windows * kDim, 4.0F};
    r.windows = windows, r.tokenRows = h, r.tokenColumns = w, r.width = kDim;
    Line("q and k: rms, rope, means", 0, 4 * once, [&] { LaunchQueryKey(r, nullptr); });
    r.float8 = true;
    Line("q and k to e4m3: rms, rope, means", 0, 3 * once, [&] { LaunchQueryKey(r, nullptr); });
    Line("values to e4m3's order", 0, once, [&] {
      LaunchTransposeValues({x.get(), out.get(), windows, kHeads}, nullptr);
    });
  }

  Convolution("projector 1 (768 -> 2048), 4 outputs", 4, h, w, 768, 1, 2048, 4, 3, 1, false);
  Convolution("projector 2 (2048 -> 3072), 2 outputs", 2, h, w, 2048, 1, 3072, 4, 3, 1, false);
  Convolution("decoder 784 -> 512 at 1/8", 1, height / 8, width / 8, 784, 1, 512, 1, 3, 1, false);
  Convolution("decoder 2x512 -> 512 at 1/8", 1, height / 8, width / 8, 512, 2, 512, 1, 3, 1, false);
  Convolution("decoder 512 -> 512 + residual at 1/8", 1, height / 8, width / 8, 512, 1, 512, 1, 3, 1, true);
  Convolution("decoder grow 512 -> 256 to 1/4", 1, height / 8, width / 8, 512, 1, 256, 1, 2, 2, false);
  Convolution("decoder 2x256 -> 256 at 1/4", 1, height / 4, width / 4, 256, 2, 256, 1, 3, 1, false);
  Convolution("decoder 256 -> 256 + residual at 1/4", 1, height / 4, width / 4, 256, 1, 256, 1, 3, 1, true);
  Convolution("decoder grow 256 -> 128 to 1/2", 1, height / 4, width / 4, 256, 1, 128, 1, 2, 2, false);
  Convolution("decoder 2x128 -> 128 at 1/2", 1, height / 2, width / 2, 128, 2, 128, 1, 3, 1, false);
  Convolution("decoder 128 -> 128 + residual at 1/2", 1, height / 2, width / 2, 128, 1, 128, 1, 3, 1, true);
  Convolution("decoder grow 128 -> 128 to full size", 1, height / 2, width / 2, 128, 1, 128, 1, 2, 2, false);
  Convolution("decoder 128 -> 128 full size", 1, height, width, 128, 1, 128, 1, 3, 1, false);
  {
    const std::int64_t pixels = static_cast<std::int64_t>(height) * width;
    const Buffer x(pixels * 128), weight(3 * PackedConvolutionDepth(9, 128, 0)), bias(4, DataType::kFloat32),
        out(pixels * 3, DataType::kFloat32);
    DecoderOutputParams p;
    p.x = x.get(), p.weight = weight.get(), p.bias = bias.floats(), p.out = out.floats();
    p.height = height, p.width = width, p.channels = 128;
    Line("decoder output 128 -> 3", 2.0 * static_cast<double>(pixels) * 128 * 27,
         static_cast<double>(pixels) * (256 + 12), [&] { LaunchDecoderOutput(p, nullptr); });
    const Buffer frame(pixels * 3), matched(pixels * 3, DataType::kFloat32), scratch(1 << 16, DataType::kFloat32);
    ColourMatchParams c;
    c.decoded = out.floats(), c.frame = static_cast<std::uint8_t*>(frame.get()), c.out = matched.floats();
    c.width = c.contentWidth = width, c.height = c.contentHeight = height, c.scratch = scratch.get();
    Line("colour match adain", 0, static_cast<double>(pixels) * (12 * 3 + 3), [&] { LaunchColourMatch(c, nullptr); });
  }
  return 0;
}
