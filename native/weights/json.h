// The small part of JSON (RFC 8259) that safetensors headers and manifests need: objects, arrays, strings and unsigned
// integers, read by pulling, with no tree in memory; and string escaping for what is written.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace flashvsr {

// Reads left to right. Every method throws flashvsr::Error that names the byte offset when the text is not as expected.
class JsonReader {
 public:
  // `label` names the file in errors. Both must outlive the reader.
  JsonReader(std::string_view text, std::string_view label) : text_(text), label_(label) {}

  // Consumes white space and `symbol`.
  void expect(char symbol);
  // Consumes `symbol` when it is next.
  bool accept(char symbol);
  // With escapes resolved; refuses unpaired surrogates and control characters.
  std::string string();
  // Digits only: no sign, fraction or exponent; at most 2^63-1.
  std::int64_t unsignedInteger();
  // Only white space is left.
  void end();

  [[noreturn]] void fail(std::string_view reason) const;

 private:
  void skipSpace();
  std::uint32_t hexQuad();

  std::string_view text_;
  std::string_view label_;
  std::size_t at_ = 0;
};

// The text in quotes.
std::string JsonString(std::string_view text);

}  // namespace flashvsr
