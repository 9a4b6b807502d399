#include "weights/json.h"

#include <limits>

#include "weights/fail.h"

namespace flashvsr {

namespace {

void AppendUtf8(std::string& text, std::uint32_t point) {
  const auto put = [&text](std::uint32_t byte) { text += static_cast<char>(byte); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xc0 | (point >> 6));
    put(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    put(0xe0 | (point >> 12));
    put(0x80 | ((point >> 6) & 0x3f));
    put(0x80 | (point & 0x3f));
  } else {
    put(0xf0 | (point >> 18));
    put(0x80 | ((point >> 12) & 0x3f));
    put(0x80 | ((point >> 6) & 0x3f));
    put(0x80 | (point & 0x3f));
  }
}

}  // namespace

void JsonReader::fail(std::string_view reason) const {
  FailWeights(label_, "header is not valid: " + std::string(reason) + " at byte " + std::to_string(at_));
}

void JsonReader::skipSpace() {
  while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
    ++at_;
  }
}

bool JsonReader::accept(char symbol) {
  skipSpace();
  if (at_ >= text_.size() || text_[at_] != symbol) return false;
  ++at_;
  return true;
}

void JsonReader::expect(char symbol) {
  if (!accept(symbol)) fail(std::string("expected '") + symbol + "'");
}

void JsonReader::end() {
  skipSpace();
  if (at_ != text_.size()) fail("unexpected text after the end");
}

std::int64_t JsonReader::unsignedInteger() {
  skipSpace();
  const std::size_t start = at_;
  std::int64_t value = 0;
  while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
    const int digit = text_[at_] - '0';
    if (value > (std::numeric_limits<std::int64_t>::max() - digit) / 10) fail("number too large");
    value = value * 10 + digit;
    ++at_;
  }
  if (at_ == start) fail("expected a non-negative integer");
  if (text_[start] == '0' && at_ > start + 1) fail("number with a leading zero");
  if (at_ < text_.size() && (text_[at_] == '.' || text_[at_] == 'e' || text_[at_] == 'E')) fail("expected an integer");
  return value;
}

std::uint32_t JsonReader::hexQuad() {
  std::uint32_t value = 0;
  for (int digit = 0; digit < 4; ++digit) {
    if (at_ >= text_.size()) fail("string ends inside an escape");
    const char letter = text_[at_];
    std::uint32_t nibble = 0;
    if (letter >= '0' && letter <= '9') {
      nibble = static_cast<std::uint32_t>(letter - '0');
    } else if ((letter >= 'a' && letter <= 'f') || (letter >= 'A' && letter <= 'F')) {
      nibble = static_cast<std::uint32_t>((letter | 0x20) - 'a' + 10);
    } else {
      fail("bad \\u escape");
    }
    value = value * 16 + nibble;
    ++at_;
  }
  return value;
}

std::string JsonReader::string() {
  expect('"');
  std::string value;
  while (true) {
    if (at_ >= text_.size()) fail("string without an end");
    const char letter = text_[at_];
    if (static_cast<unsigned char>(letter) < 0x20) fail("control character in a string");
    ++at_;
    if (letter == '"') return value;
    if (letter != '\\') {
      value += letter;
      continue;
    }
    if (at_ >= text_.size()) fail("string ends inside an escape");
    switch (text_[at_++]) {
      case '"':
        value += '"';
        break;
      case '\\':
        value += '\\';
        break;
      case '/':
        value += '/';
        break;
      case 'b':
        value += '\b';
        break;
      case 'f':
        value += '\f';
        break;
      case 'n':
        value += '\n';
        break;
      case 'r':
        value += '\r';
        break;
      case 't':
        value += '\t';
        break;
      case 'u': {
        std::uint32_t point = hexQuad();
        if (point >= 0xdc00 && point < 0xe000) fail("unpaired surrogate");
        if (point >= 0xd800 && point < 0xdc00) {
          if (text_.substr(at_, 2) != "\\u") fail("unpaired surrogate");
          at_ += 2;
          const std::uint32_t low = hexQuad();
          if (low < 0xdc00 || low >= 0xe000) fail("unpaired surrogate");
          point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
        }
        AppendUtf8(value, point);
        break;
      }
      default:
        fail("unknown escape");
    }
  }
}

std::string JsonString(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if (letter == '"' || letter == '\\') {
      quoted += '\\';
      quoted += letter;
    } else if (byte < 0x20) {
      quoted += "\\u00";
      quoted += kHex[byte >> 4];
      quoted += kHex[byte & 15];
    } else {
      quoted += letter;
    }
  }
  return quoted + '"';
}

}  // namespace flashvsr
