#include "weights/fail.h"

#include <system_error>

#include "common/error.h"

namespace flashvsr {

void FailWeights(std::string_view file, std::string_view reason) {
  std::string message(file);
  if (!message.empty()) message += ": ";
  message += reason;
  throw Error("weights.invalid", ErrorScope::Engine, std::move(message),
              "Download the file again and compare its sha256 with the published one; docs/models.md names the files.");
}

void FailSystem(const std::filesystem::path& file, std::string_view reason, int errorNumber) {
  throw Error("weights.invalid", ErrorScope::Engine,
              file.string() + ": " + std::string(reason) + ": " + std::generic_category().message(errorNumber),
              "Check the path, its permissions and the free space of the disk.");
}

std::string Quoted(std::string_view text) {
  constexpr std::size_t kShown = 80;
  std::string shown = "\"";
  for (const char letter : text.substr(0, kShown)) {
    const bool plain = letter >= 0x20 && letter < 0x7f && letter != '"';
    shown += plain ? letter : '?';
  }
  return shown + (text.size() > kShown ? "...\"" : "\"");
}

}  // namespace flashvsr
