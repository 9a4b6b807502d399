// How CudaModel brings its weights to the device: piece by piece through one staging buffer, packed, folded and rounded
// there.
#pragma once

#include <algorithm>
#include <cmath>

#include "backend/cuda/model.h"
#include "backend/int8.h"
#include "kernels/convolution.h"
#include "kernels/rotate_round.h"

namespace flashvsr::cuda {

// Copies tensors to the device piece by piece and packs them there.
class Loader {
 public:
  Loader(const ModelWeights& weights, kernels::DataType type, const LoadProgress& progress)
      : weights_(weights),
        type_(type),
        progress_(progress),
        staging_(kStagingBytes, "Preparing the weights does") {}

  std::vector<float> floats(const TensorSource& part, const std::string& name) {
    const TensorView& tensor = part.checked(name);
    done(tensor.data.size());
    return ReadFloats(tensor);
  }

  void upload(float* to, std::span<const float> values) {
    Check(cudaMemcpy(to, values.data(), values.size() * 4, cudaMemcpyHostToDevice), "copying weights");
  }

  // Bias (times `scale`) in fp32 and in the weights' type.
  void bias(const DeviceLinear& to, std::span<const float> values, std::span<const float> scale,
            std::int64_t firstRow = 0) {
    std::vector<float> scaled(values.begin(), values.end());
    for (std::size_t i = 0; i < scale.size(); ++i) scaled[i] *= scale[i];
    upload(to.bias + firstRow, scaled);
    if (type_ == kernels::DataType::kFloat32) {
      upload(static_cast<float*>(to.biasStored) + firstRow, scaled);
      return;
    }
    std::vector<std::uint16_t> stored(scaled.size());
    for (std::size_t i = 0; i < scaled.size(); ++i) stored[i] = FloatToBFloat16(scaled[i]);
    Check(cudaMemcpy(static_cast<std::uint16_t*>(to.biasStored) + firstRow, stored.data(), stored.size() * 2,
                     cudaMemcpyHostToDevice),
          "copying weights");
  }

  // Rows of `name`.weight into rows firstRow.. of `to`, each times `scale`'s entry when there is a scale.
  void linear(const DeviceLinear& to, const TensorSource& part, const std::string& name,
              std::span<const float> scale = {}, std::int64_t firstRow = 0) {
    const TensorView& tensor = part.checked(name + ".weight");
    const std::int64_t rows = tensor.shape[0], columns = tensor.elements() / rows;
    float* deviceScale = nullptr;
    std::int64_t reserved = 0;
    if (!scale.empty()) {
      deviceScale = reinterpret_cast<float*>(staging_.data());
      upload(deviceScale, scale);
      reserved = (static_cast<std::int64_t>(scale.size()) * 4 + 255) / 256 * 256;
    }
    slices(tensor, rows, reserved, [&](const void* staged, std::int64_t first, std::int64_t count) {
      kernels::PackRowsParams params;
      params.in = staged;
      params.source = Source(tensor.dtype);
      params.rowScale = deviceScale != nullptr ? deviceScale + first : nullptr;
      params.out = static_cast<std::byte*>(to.weight) + (firstRow + first) * columns * kernels::SizeOf(type_);
      params.rows = count;
      params.columns = params.ldOut = columns;
      params.type = type_;
      Check(kernels::LaunchPackRows(params, nullptr), "packing weights");
    });
    bias(to, floats(part, name + ".bias"), scale, firstRow);
  }

  // The same for an e4m3 layer whose input comes from a norm (or has the bound `inputBound`) and is multiplied by
  // `columnScale` and shifted by `columnShift` on its way there: both go into the layer. `names` share one scale, their
  // rows one after the other. Returns a bound of the layer's results.
  float linear8(DeviceLinear& to, const TensorSource& part, const std::vector<std::string>& names, float inputBound,
                std::span<const float> columnScale, std::span<const float> columnShift,
                std::span<const float> rowScale = {}) {
    const Folding folding = fold(to, rowScale, columnScale, columnShift);
    eachSlice(part, names, folding, [&](kernels::PackFloat8RowsParams params, std::int64_t row) {
      takeStatistics(params, to, folding, row);
    });
    const Statistics found = statisticsOf(to, part, names, rowScale, folding);
    float largest = 0, bound = 0;
    for (std::size_t i = 0; i < found.bias.size(); ++i) {
      largest = std::max(largest, found.largest[i]);
      // |w x| <= ||w|| ||x||; a norm's output has length sqrt(width), which is also its elements' bound.
      bound = std::max(bound, std::sqrt(found.squares[i]) * inputBound + std::abs(found.bias[i]));
    }
    const float scale = float8::ScaleFor(largest);
    to.inputScale = float8::ScaleFor(inputBound);
    to.scale = 1.0F / (to.inputScale * scale);
    counting_ = false;  // the same bytes once more
    eachSlice(part, names, folding, [&](kernels::PackFloat8RowsParams params, std::int64_t row) {
      params.scale = scale;
      params.out = static_cast<std::byte*>(to.weight) + row * params.columns;
      Check(kernels::LaunchPackFloat8Rows(params, nullptr), "packing weights");
    });
    counting_ = true;
    bias(to, found.bias, {});
    return bound;
  }

  // The same for an int8 layer (backend/int8.h), whose rows have a scale each and which takes any input.
  void linearInt8(DeviceLinear& to, const TensorSource& part, const std::vector<std::string>& names,
                  std::span<const float> columnScale = {}, std::span<const float> columnShift = {},
                  std::span<const float> rowScale = {}) {
    to.rotation = int8::RotationWanted() ? static_cast<int>(int8::RotationOf(to.k)) : 1;
    const Folding folding = fold(to, rowScale, columnScale, columnShift);
    eachSlice(part, names, folding, [&](const kernels::PackFloat8RowsParams& slice, std::int64_t row) {
      takeStatistics(slice, to, folding, row);
      const std::int64_t bytes = slice.rows * slice.columns * 4;
      if (turned_.bytes() < bytes) turned_ = DeviceMemory(bytes, "Preparing the weights does");
      kernels::PackRowsParams plain;
      plain.in = slice.in;
      plain.source = slice.source;
      plain.rowScale = slice.rowScale;
      plain.columnScale = slice.columnScale;
      plain.out = turned_.data();
      plain.rows = slice.rows;
      plain.columns = plain.ldOut = slice.columns;
      plain.type = kernels::DataType::kFloat32;
      Check(kernels::LaunchPackRows(plain, nullptr), "packing weights");
      kernels::RotateRoundParams round;
      round.x = turned_.data();
      round.out = static_cast<std::byte*>(to.weight) + row * slice.columns;
      round.scales = to.columnScales + row;
      round.rows = slice.rows;
      round.width = to.k;
      round.ldOut = to.k;
      round.rotation = to.rotation;
      round.type = kernels::DataType::kFloat32;
      Check(kernels::LaunchRotateRound(round, nullptr), "packing weights");
    });
    bias(to, statisticsOf(to, part, names, rowScale, folding).bias, {});
  }

  // Results of `to` in e4m3, none above `bound`.
  void float8Out(DeviceLinear& to, float bound) {
    to.float8Out = true;
    to.outputScale = float8::ScaleFor(bound);
    upload(to.outputScaleStored, std::span(&to.outputScale, 1));
  }

  void convolution(const DeviceConvolution& to, const TensorSource& part, const std::string& name, int sources) {
    const TensorView& tensor = part.checked(name + ".weight");
    const std::int64_t rows = tensor.shape[0], taps = tensor.elements() / (rows * tensor.shape[1]);
    const int second = sources == 2 ? to.inChannels : 0;
    const std::int64_t depth = kernels::PackedConvolutionDepth(static_cast<int>(taps), to.inChannels, second);
    slices(tensor, rows, 0, [&](const void* staged, std::int64_t first, std::int64_t count) {
      kernels::PackConvolutionParams params;
      params.in = staged;
      params.source = Source(tensor.dtype);
      params.out = static_cast<std::byte*>(to.weight) + first * depth * kernels::SizeOf(type_);
      params.outChannels = static_cast<int>(count);
      params.channels[0] = to.inChannels;
      params.channels[1] = second;
      params.taps = static_cast<int>(taps);
      params.type = type_;
      Check(kernels::LaunchPackConvolution(params, nullptr), "packing weights");
    });
    if (to.bias != nullptr) upload(to.bias, floats(part, name + ".bias"));
  }

  // A 3x3 behind nearest x2.
  void enlarge(const DeviceConvolution& to, const TensorSource& part, const std::string& name) {
    const TensorView& weight = part.checked(name + ".weight");
    const DeviceMemory bytes(static_cast<std::int64_t>(weight.data.size()), "Preparing the weights does");
    Check(cudaMemcpy(bytes.data(), weight.data.data(), weight.data.size(), cudaMemcpyHostToDevice), "copying weights");
    done(weight.data.size());
    kernels::FoldGrowParams params;
    params.weight = bytes.data();
    params.weightSource = Source(weight.dtype);
    params.out = to.weight;
    params.outChannels = to.outChannels;
    params.channels = to.inChannels;
    params.type = type_;
    Check(kernels::LaunchFoldGrow(params, nullptr), "folding weights");
    Check(cudaDeviceSynchronize(), "folding weights");
    upload(to.bias, floats(part, name + ".bias"));
  }

  void grow(std::span<const DeviceConvolution> steps, const TensorSource& part, const std::string& grow,
            const std::string& convolution) {
    const TensorView& one = part.checked(grow);
    const TensorView& three = part.checked(convolution);
    const DeviceMemory growBytes(static_cast<std::int64_t>(one.data.size()), "Preparing the weights does");
    const DeviceMemory convBytes(static_cast<std::int64_t>(three.data.size()), "Preparing the weights does");
    Check(cudaMemcpy(growBytes.data(), one.data.data(), one.data.size(), cudaMemcpyHostToDevice), "copying weights");
    Check(cudaMemcpy(convBytes.data(), three.data.data(), three.data.size(), cudaMemcpyHostToDevice),
          "copying weights");
    done(one.data.size() + three.data.size());
    for (std::size_t step = 0; step < steps.size(); ++step) {
      const std::int64_t channels = steps[step].inChannels;
      kernels::FoldGrowParams params;
      params.grow = growBytes.data() + static_cast<std::int64_t>(step) * channels * channels *
                                           static_cast<std::int64_t>(DTypeSize(one.dtype));
      params.growSource = Source(one.dtype);
      params.weight = convBytes.data();
      params.weightSource = Source(three.dtype);
      params.out = steps[step].weight;
      params.outChannels = steps[step].outChannels;
      params.channels = steps[step].inChannels;
      params.type = type_;
      Check(kernels::LaunchFoldGrow(params, nullptr), "folding weights");
    }
    Check(cudaDeviceSynchronize(), "folding weights");
  }

 private:
  static constexpr std::int64_t kStagingBytes = 64 << 20;

  // What is folded into an 8-bit layer, on the device in the first `reserved` bytes of the staging buffer.
  struct Folding {
    const float *rowScale = nullptr, *columnScale = nullptr, *columnShift = nullptr;  // null: none
    float* statistics = nullptr;                                                      // (3, n)
    std::int64_t reserved = 0;
  };
  struct Statistics {
    std::vector<float> largest, squares, bias;  // of rows; the bias with everything that was folded into it
  };

  Folding fold(const DeviceLinear& to, std::span<const float> rowScale, std::span<const float> columnScale,
               std::span<const float> columnShift) {
    Bump bump(staging_.data());
    const auto put = [&](std::span<const float> values) -> const float* {
      if (values.empty()) return nullptr;
      float* const at = bump.floats(static_cast<std::int64_t>(values.size()));
      upload(at, values);
      return at;
    };
    Folding folding{put(rowScale), put(columnScale), put(columnShift), bump.floats(3 * to.n), 0};
    folding.reserved = bump.used();
    return folding;
  }

  // The rows of `names`, one after the other, in pieces on the device: `use` gets what a piece is and its first row.
  template <typename Use>
  void eachSlice(const TensorSource& part, const std::vector<std::string>& names, const Folding& folding,
                 const Use& use) {
    std::int64_t firstRow = 0;
    for (const std::string& name : names) {
      const TensorView& tensor = part.checked(name + ".weight");
      kernels::PackFloat8RowsParams params;
      params.source = Source(tensor.dtype);
      params.columns = tensor.elements() / tensor.shape[0];
      params.columnScale = folding.columnScale;
      params.columnShift = folding.columnShift;
      slices(tensor, tensor.shape[0], folding.reserved,
             [&](const void* staged, std::int64_t first, std::int64_t count) {
               params.in = staged;
               params.rows = count;
               params.rowScale = folding.rowScale != nullptr ? folding.rowScale + firstRow + first : nullptr;
               use(params, firstRow + first);
             });
      firstRow += tensor.shape[0];
    }
  }

  static void takeStatistics(kernels::PackFloat8RowsParams params, const DeviceLinear& to, const Folding& folding,
                             std::int64_t row) {
    params.largest = folding.statistics + row;
    params.squares = folding.statistics + to.n + row;
    params.shifts = folding.statistics + 2 * to.n + row;
    Check(kernels::LaunchRowStatistics(params, nullptr), "packing weights");
  }

  Statistics statisticsOf(const DeviceLinear& to, const TensorSource& part, const std::vector<std::string>& names,
                          std::span<const float> rowScale, const Folding& folding) {
    const std::size_t n = static_cast<std::size_t>(to.n);
    std::vector<float> found(n * 3);
    Check(cudaMemcpy(found.data(), folding.statistics, found.size() * 4, cudaMemcpyDeviceToHost), "packing weights");
    Statistics statistics;
    for (const std::string& name : names) {
      const std::vector<float> own = floats(part, name + ".bias");
      statistics.bias.insert(statistics.bias.end(), own.begin(), own.end());
    }
    for (std::size_t i = 0; i < n; ++i)
      statistics.bias[i] = statistics.bias[i] * (rowScale.empty() ? 1.0F : rowScale[i]) + found[2 * n + i];
    const auto part3 = [&](std::size_t i) {
      const auto first = found.begin() + static_cast<std::ptrdiff_t>(i * n);
      return std::vector<float>(first, first + static_cast<std::ptrdiff_t>(n));
    };
    statistics.largest = part3(0);
    statistics.squares = part3(1);
    return statistics;
  }

  static kernels::SourceType Source(DType dtype) {
    switch (dtype) {
      case DType::F16:
        return kernels::SourceType::kFloat16;
      case DType::BF16:
        return kernels::SourceType::kBfloat16;
      default:
        return kernels::SourceType::kFloat32;
    }
  }

  // The first dimension's rows in pieces that fit the staging buffer after its first `reserved` bytes.
  template <typename Use>
  void slices(const TensorView& tensor, std::int64_t rows, std::int64_t reserved, const Use& use) {
    const std::int64_t rowBytes = static_cast<std::int64_t>(tensor.data.size()) / rows;
    const std::int64_t each = std::max<std::int64_t>(1, (kStagingBytes - reserved) / rowBytes);
    if (rowBytes > kStagingBytes - reserved) FailInternal("a weight's row is larger than the staging buffer");
    for (std::int64_t first = 0; first < rows; first += each) {
      const std::int64_t count = std::min(each, rows - first);
      std::byte* const staged = staging_.data() + reserved;
      // The copy waits for the kernel before it: both use the default stream.
      Check(cudaMemcpy(staged, tensor.data.data() + first * rowBytes, static_cast<std::size_t>(count * rowBytes),
                       cudaMemcpyHostToDevice),
            "copying weights");
      use(staged, first, count);
      done(static_cast<std::size_t>(count * rowBytes));
    }
  }

  void done(std::size_t bytes) {
    if (counting_) done_ += bytes;
    if (progress_ && !progress_(std::min<std::uint64_t>(done_, weights_.bytes()), weights_.bytes()))
      throw Error("engine.cancelled", ErrorScope::Engine, "Preparing the weights was cancelled.");
  }

  const ModelWeights& weights_;
  kernels::DataType type_;
  const LoadProgress& progress_;
  DeviceMemory staging_;
  DeviceMemory turned_;  // int8: rows in fp32 before they are turned
  std::uint64_t done_ = 0;
  bool counting_ = true;
};

}  // namespace flashvsr::cuda
