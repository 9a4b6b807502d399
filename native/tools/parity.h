// Compares a backend with the official code's outputs: every case of a folder laid out like testdata/golden.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "backend/backend.h"

namespace flashvsr::tools {

struct ParityOptions {
  std::filesystem::path folder;
  std::string device = "reference";
  Precision precision = Precision::Fp32;
  std::string onlyCase;  // empty: all
  int threads = 0;
  std::string cudaLibraryPath;
  std::function<void(const std::string& line)> print;
};

struct ParityResult {
  int cases = 0, lines = 0, failures = 0;
  bool passed() const { return cases > 0 && failures == 0; }
};

// One line per tensor through options.print: case, run, tensor, error, tolerance, ok/FAIL. Runs of a case:
//   forced  from video and noise, with the golden masks       free  the same with the backend's own masks
//   given   the decoder alone, from the golden latents        load  constants made when the model is loaded
// Errors of a single case (unreadable file, missing tensor or setting) are FAIL lines, not exceptions.
ParityResult RunParity(const ParityOptions& options);

}  // namespace flashvsr::tools
