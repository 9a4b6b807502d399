// Results of the benchmark: a flat JSON object by part, and the lines of its table.
#pragma once

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace flashvsr::bench {

// {"name": value, ...} in the order of the calls.
class Object {
 public:
  Object& number(const std::string& name, double value, int digits = 2) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return raw(name, text);
  }
  Object& text(const std::string& name, const std::string& value) {
    std::string escaped;
    for (const char c : value) {
      if (c == '"' || c == '\\') escaped += '\\';
      escaped += c == '\n' ? ' ' : c;
    }
    return raw(name, "\"" + escaped + "\"");
  }
  Object& object(const std::string& name, const Object& value) { return raw(name, value.json()); }
  Object& list(const std::string& name, const std::vector<double>& values) {
    std::string all;
    for (const double value : values) {
      char text[64];
      std::snprintf(text, sizeof text, "%s%.2f", all.empty() ? "" : ", ", value);
      all += text;
    }
    return raw(name, "[" + all + "]");
  }
  Object& raw(const std::string& name, const std::string& json) {
    members_.emplace_back(name, json);
    return *this;
  }
  bool empty() const { return members_.empty(); }
  std::string json() const {
    std::string all;
    for (const auto& [name, value] : members_) all += (all.empty() ? "" : ", ") + ("\"" + name + "\": " + value);
    return "{" + all + "}";
  }

 private:
  std::vector<std::pair<std::string, std::string>> members_;
};

}  // namespace flashvsr::bench
