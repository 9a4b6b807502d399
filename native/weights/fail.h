// How the weight readers report: always the code "weights.invalid" of server/errors.ts, with the
// file named first, what was wrong second; the remedy distinguishes a damaged file from one that the system would not
// open.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace flashvsr {

// The file's content is not acceptable. `file` is shown as it stands; may be empty for sources in memory.
[[noreturn]] void FailWeights(std::string_view file, std::string_view reason);
// The operating system refused: `reason` is what was tried, errno's text is added.
[[noreturn]] void FailSystem(const std::filesystem::path& file, std::string_view reason, int errorNumber);

// Text of a file shown in a message: at most 80 characters, control characters and non-ASCII replaced, so that a
// hostile file can neither flood a log nor write escape sequences into a terminal.
std::string Quoted(std::string_view text);

}  // namespace flashvsr
