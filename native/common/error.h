// The one exception type of the native code. It crosses every boundary with its parts intact: the addon turns it into
// an AppError of the same code, scope, message and remedy, and never has to read a message to know what happened.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace flashvsr {

// What an error ends. `Engine` means that the device or the shared weights are gone: every stream of the process ends
// and the supervisor should restart it.
enum class ErrorScope : std::uint8_t { Frame, Stream, Engine };

constexpr std::string_view ErrorScopeName(ErrorScope scope) {
  switch (scope) {
    case ErrorScope::Frame:
      return "frame";
    case ErrorScope::Stream:
      return "stream";
    case ErrorScope::Engine:
      return "engine";
  }
  return "engine";
}

// `code` is a code of server/errors.ts ("engine.memory", "weights.invalid", "engine.failed", ...) or, where no code of
// that catalogue fits, a dotted lower-case name that starts with "engine.". `message` names what was wrong with its
// numbers; `remedy` says what the reader can do, and may be empty when the catalogue's remedy is good enough.
class Error : public std::exception {
 public:
  Error(std::string code, ErrorScope scope, std::string message, std::string remedy = {})
      : code_(std::move(code)),
        scope_(scope),
        message_(std::move(message)),
        remedy_(std::move(remedy)) {}

  const char* what() const noexcept override { return message_.c_str(); }
  const std::string& code() const noexcept { return code_; }
  ErrorScope scope() const noexcept { return scope_; }
  const std::string& message() const noexcept { return message_; }
  const std::string& remedy() const noexcept { return remedy_; }

 private:
  std::string code_;
  ErrorScope scope_;
  std::string message_;
  std::string remedy_;
};

// An invariant of this code base did not hold: a defect, not the user's doing.
[[noreturn]] inline void FailInternal(std::string message) {
  throw Error("internal", ErrorScope::Engine, std::move(message), "This is a defect: please report it with the log.");
}

}  // namespace flashvsr
