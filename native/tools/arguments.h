// Command lines of the native tools: --name value pairs, flags, and at most one bare word.
#pragma once

#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "common/error.h"

namespace flashvsr::tools {

class Arguments {
 public:
  // Throws Error for a word that is neither in `options` (take a value) nor in `flags`, and for a second bare word.
  Arguments(int argc, char** argv, const std::set<std::string>& options, const std::set<std::string>& flags) {
    for (int i = 1; i < argc; ++i) {
      const std::string word = argv[i];
      if (flags.contains(word)) {
        flags_.insert(word);
      } else if (options.contains(word)) {
        if (i + 1 >= argc) throw Error("arguments", ErrorScope::Engine, word + " needs a value");
        values_[word].emplace_back(argv[++i]);
      } else if (word.starts_with("-") || !bare.empty()) {
        throw Error("arguments", ErrorScope::Engine, "unknown argument " + word);
      } else {
        bare = word;
      }
    }
  }
  bool flag(const std::string& name) const { return flags_.contains(name); }
  bool has(const std::string& name) const { return values_.contains(name); }
  std::string text(const std::string& name, const std::string& otherwise) const {
    const auto found = values_.find(name);
    return found == values_.end() ? otherwise : found->second.back();
  }
  std::vector<std::string> all(const std::string& name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? std::vector<std::string>{} : found->second;
  }
  template <typename T>
  T number(const std::string& name, T otherwise) const {
    const auto found = values_.find(name);
    if (found == values_.end()) return otherwise;
    std::istringstream in(found->second.back());
    T value{};
    if (!(in >> value) || !in.eof())
      throw Error("arguments", ErrorScope::Engine, name + " is not a number: " + found->second.back());
    return value;
  }
  // "768x1408" -> rows, columns.
  static std::pair<int, int> Size(const std::string& text) {
    int height = 0, width = 0;
    char x = 0, rest = 0;
    std::istringstream in(text);
    if (!(in >> height >> x >> width) || x != 'x' || (in >> rest) || height < 16 || width < 16)
      throw Error("arguments", ErrorScope::Engine, "a size is HEIGHTxWIDTH, not " + text);
    return {height, width};
  }

  std::string bare;

 private:
  std::map<std::string, std::vector<std::string>> values_;
  std::set<std::string> flags_;
};

}  // namespace flashvsr::tools
