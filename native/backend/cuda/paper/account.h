// What launches ask of a card and how many tensor-core instructions they issue, read from their own arguments.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "backend/cuda/paper/paper_runtime.h"

namespace flashvsr::paper {

// mma.sync instructions of the portable kernels by what they compute: m16n8k16 on bf16 and m16n8k32 on 8-bit operands.
// Tiles' ragged edges count, as they run.
struct Instructions {
  double projector = 0, linear = 0, linear8 = 0, sparseAttention = 0, crossAttention = 0, decoder = 0;
  double sum() const { return projector + linear + linear8 + sparseAttention + crossAttention + decoder; }
};

// The largest needs of one kernel over all its launches.
struct Need {
  unsigned threads = 0;
  int registers = 0;
  std::size_t sharedBytes = 0;
  std::int64_t launches = 0;
};

class Account {
 public:
  void add(const Launch& launch);
  const Instructions& instructions() const { return instructions_; }
  // By readable name.
  const std::map<std::string, Need>& needs() const { return needs_; }
  // "kernel: what it exceeds", one a kernel.
  const std::map<std::string, std::string>& problems() const { return problems_; }

 private:
  void count(const Launch& launch, const std::string& name);

  Instructions instructions_;
  double keptWindows_ = 0;  // of the selection that the next sparse attention reads
  std::map<std::string, Need> needs_;
  std::map<std::string, std::string> problems_;
};

// What ptxas -v reported for one architecture: FOLDER/ARCH-*.ptxas, as scripts/check-kernels.sh keeps them. By
// normalised name; empty when there is no such file.
std::map<std::string, Resources> ReadResources(const std::filesystem::path& folder, int architecture);

}  // namespace flashvsr::paper
