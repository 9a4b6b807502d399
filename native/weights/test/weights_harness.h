// A test is a function; a failed check names the place and what was there, and the program goes on with the next test.
#pragma once

#include <cstdio>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "common/error.h"

namespace flashvsr::test {

struct Case {
  const char* name;
  void (*run)();
};
inline std::vector<Case>& Cases() {
  static std::vector<Case> cases;
  return cases;
}
struct Registration {
  Registration(const char* name, void (*run)()) { Cases().push_back({name, run}); }
};
inline int& Failures() {
  static int failures = 0;
  return failures;
}

inline void Report(const char* file, int line, const std::string& what) {
  std::printf("  %s:%d: %s\n", file, line, what.c_str());
  ++Failures();
}

template <typename Left, typename Right>
void CheckEqual(const char* file, int line, const char* text, const Left& left, const Right& right) {
  if (left == right) return;
  std::ostringstream out;
  out << text << ": ";
  if constexpr (requires { out << left; out << right; }) out << left << " is not " << right;
  Report(file, line, out.str());
}

// The call must throw a flashvsr::Error whose message contains `part`.
inline void CheckRefused(const char* file, int line, const std::string& part, const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    if (error.message().find(part) == std::string::npos) {
      Report(file, line, "refused, but not for \"" + part + "\": " + error.message());
    }
    return;
  }
  Report(file, line, "was accepted; \"" + part + "\" should have been refused");
}

inline int RunAll(const char* filter) {
  int failedCases = 0;
  int cases = 0;
  for (const Case& test : Cases()) {
    if (filter != nullptr && std::string(test.name).find(filter) == std::string::npos) continue;
    const int before = Failures();
    ++cases;
    try {
      test.run();
    } catch (const std::exception& error) {
      Report(test.name, 0, std::string("threw: ") + error.what());
    }
    const bool failed = Failures() != before;
    failedCases += failed;
    std::printf("%s %s\n", failed ? "FAIL" : "ok  ", test.name);
  }
  std::printf("%d of %d passed\n", cases - failedCases, cases);
  return failedCases == 0 && cases > 0 ? 0 : 1;
}

}  // namespace flashvsr::test

#define FLASHVSR_JOIN2(a, b) a##b
#define FLASHVSR_JOIN(a, b) FLASHVSR_JOIN2(a, b)
#define TEST_CASE(name)                                                                                     \
  static void FLASHVSR_JOIN(RunCase, __LINE__)();                                                           \
  static const ::flashvsr::test::Registration FLASHVSR_JOIN(registration, __LINE__)(name,                   \
                                                                                    FLASHVSR_JOIN(RunCase, __LINE__)); \
  static void FLASHVSR_JOIN(RunCase, __LINE__)()
#define CHECK(condition) \
  do {                   \
    if (!(condition)) ::flashvsr::test::Report(__FILE__, __LINE__, #condition); \
  } while (false)
#define CHECK_EQUAL(left, right) ::flashvsr::test::CheckEqual(__FILE__, __LINE__, #left, left, right)
#define CHECK_REFUSED(part, ...) ::flashvsr::test::CheckRefused(__FILE__, __LINE__, part, [&] { __VA_ARGS__; })
