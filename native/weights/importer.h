// From the four official files to what the server loads: one safetensors file, mapped as it is, and a manifest.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "weights/model_weights.h"

namespace flashvsr {

// `step` is "check" (reading and checking every weight) or "write". Return false to give up: nothing is left behind.
using ImportProgress = std::function<bool(std::string_view step, std::uint64_t doneBytes, std::uint64_t totalBytes)>;

struct ImportOptions {
  OfficialFiles files;
  std::filesystem::path outputFolder;  // <models folder>/<name>; its parent is made when missing
  std::string name;                    // for the manifest
  ModelVariant variant = ModelVariant::V1_1;
  std::string origin;  // where the files came from: a hub repository or a folder's name
  std::string licence = "Apache-2.0";
  std::string createdAt;  // ISO 8601
  bool replace = false;   // an existing model of that name, once the new one is whole
  ImportProgress progress;
};

inline constexpr std::string_view kModelFileName = "model.safetensors";
inline constexpr std::string_view kManifestFileName = "manifest.json";

// Checks the model as OpenOfficialFiles does, writes both files into a hidden folder beside `outputFolder` and renames
// it into place: a model folder is either whole or not there. Tensors keep their type and the order of ExpectedTensors.
// Returns the manifest's text. Throws flashvsr::Error.
std::string ImportModel(const ImportOptions& options);

}  // namespace flashvsr
