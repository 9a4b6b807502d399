#include "backend/cuda/paper/account.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>

#include "kernels/attention.h"
#include "kernels/common/gemm_operands.h"
#include "kernels/decoder_output.h"
#include "kernels/select.h"

namespace flashvsr::paper {
namespace {

constexpr double kFlopOfInstruction = 2.0 * 16 * 8 * 16;

// "flashvsr::kernels::(anonymous namespace)::AttentionKernel<true, __nv_bfloat16>(..)" as "AttentionKernel<true,
// bf16>".
std::string Readable(const std::string& mangled) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status),
                                                    std::free);
  std::string name = status == 0 ? text.get() : mangled;
  const auto drop = [&](const std::string& what, const std::string& with = "") {
    for (std::size_t at; (at = name.find(what)) != std::string::npos;) name.replace(at, what.size(), with);
  };
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {  // the parameter list: the first parenthesis outside of < >
    depth += name[i] == '<' ? 1 : name[i] == '>' ? -1 : 0;
    if (depth == 0 && name[i] == '(' && name.compare(i, 11, "(anonymous ") != 0) {
      name.resize(i);
      break;
    }
  }
  drop("void ");
  drop("flashvsr::kernels::");
  drop("(anonymous namespace)::");
  drop("__nv_bfloat16", "bf16");
  drop("__nv_fp8_e4m3", "e4m3");
  for (const char* type : {"(int)", "(bool)"}) drop(type);
  return name;
}

template <typename T>
const T& Argument(const Launch& launch, std::size_t index) {
  return *static_cast<const T*>(launch.arguments[index]);
}

// Rows and columns of a gemm's tile, from "GemmKernel<GemmTileShape<256, 128, ..".
std::pair<double, double> TileOf(const std::string& name) {
  const std::size_t at = name.find("GemmTileShape<");
  double rows = 0, columns = 0;
  char comma = 0;
  std::istringstream in(name.substr(at + 14));
  in >> rows >> comma >> columns;
  return {rows, columns};
}

}  // namespace

void Account::add(const Launch& launch) {
  const std::string name = Readable(launch.kernel);
  Need& need = needs_[name];
  need.threads = std::max(need.threads, launch.threads);
  need.registers = std::max(need.registers, launch.registers);
  need.sharedBytes = std::max(need.sharedBytes, launch.dynamicSharedBytes + launch.staticSharedBytes);
  ++need.launches;
  if (!launch.problem.empty()) problems_.emplace(name, launch.problem);
  if (launch.arguments != nullptr) count(launch, name);
}

void Account::count(const Launch& launch, const std::string& name) {
  using namespace kernels;  // NOLINT(google-build-using-namespace)
  if (name.starts_with("GemmKernel<")) {
    const GemmWeight& weight = Argument<GemmWeight>(launch, 1);
    const auto [rows, columns] = TileOf(name);
    // Blocks of 32 elements, two instructions of 16 (e4m3 goes through as half as many bf16) each.
    const double all =
        launch.blocks * (rows / 16) * (columns / 8) * 2 * static_cast<double>(CeilDiv(weight.k, kBlockK));
    if (name.find("PixelRows") != std::string::npos) {
      (Argument<PixelOperand>(launch, 0).kernelT > 1 ? instructions_.projector : instructions_.decoder) += all;
    } else {
      (name.find("8Product") != std::string::npos ? instructions_.linear8 : instructions_.linear) += all;
    }
  } else if (name.starts_with("ThresholdKernel<")) {
    const auto& select = Argument<SelectParams>(launch, 0);
    keptWindows_ = static_cast<double>(select.topk) * select.heads * select.queryGroups;
  } else if (name.starts_with("AttentionKernel<true")) {
    instructions_.sparseAttention += keptWindows_ * 4.0 * 128 * 128 * 128 / kFlopOfInstruction;
  } else if (name.starts_with("AttentionKernel<false")) {
    const auto& dense = Argument<AttentionParams>(launch, 0);
    instructions_.crossAttention += static_cast<double>(dense.queryWindows) * dense.heads * 4.0 * 128 * 128 *
                                    static_cast<double>(RoundUp(dense.keyLength, 64)) / kFlopOfInstruction;
  } else if (name.starts_with("OutputKernel")) {
    const auto& output = Argument<DecoderOutputParams>(launch, 0);
    // 27 columns as four fragments of 8, over tiles of 34 x 18 pixels that 39 fragments of 16 cover.
    instructions_.decoder += launch.blocks * 39.0 * 4 * static_cast<double>(RoundUp(output.channels, 32)) / 16;
  }
}

std::map<std::string, Resources> ReadResources(const std::filesystem::path& folder, int architecture) {
  std::map<std::string, Resources> all;
  const std::string prefix = std::to_string(architecture) + "-";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!entry.path().filename().string().starts_with(prefix) || entry.path().extension() != ".ptxas") continue;
    std::ifstream file(entry.path());
    std::string line, kernel;
    while (std::getline(file, line)) {
      if (const std::size_t at = line.find("Compiling entry function '"); at != std::string::npos) {
        const std::size_t begin = at + 26;
        kernel = Normalised(line.substr(begin, line.find('\'', begin) - begin));
      } else if (const std::size_t used = line.find("Used "); used != std::string::npos && !kernel.empty()) {
        Resources& resources = all[kernel];
        resources.registers = std::max(resources.registers, std::atoi(line.c_str() + used + 5));
        if (const std::size_t smem = line.find(" bytes smem"); smem != std::string::npos) {
          const std::size_t start = line.rfind(' ', smem - 1) + 1;
          resources.staticSharedBytes =
              std::max<std::size_t>(resources.staticSharedBytes, std::strtoul(line.c_str() + start, nullptr, 10));
        }
        kernel.clear();
      }
    }
  }
  return all;
}

}  // namespace flashvsr::paper
