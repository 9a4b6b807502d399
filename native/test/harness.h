// The C++ tests' harness. A case states in its name what it proves. TEST registers one; a failed check throws with its
// place and ends the case, not the program. Report is for cases made at run time (the kernels' tests, one line a result
// with what was measured).
#pragma once

#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/error.h"

namespace flashvsr::test {

struct Tally {
  int passed = 0, failed = 0;
  std::string filter;  // only cases whose name contains it
};
inline Tally& Results() {
  static Tally tally;
  return tally;
}

// Counts and prints one result.
inline void Report(const std::string& name, bool ok, const std::string& detail) {
  ++(ok ? Results().passed : Results().failed);
  std::printf("%-4s %-58s %s\n", ok ? "ok" : "FAIL", name.c_str(), detail.c_str());
  std::fflush(stdout);
}

inline bool Wanted(const std::string& name) { return name.find(Results().filter) != std::string::npos; }

// The last line, and the exit code: 1 when a case failed or none was run.
inline int Finish() {
  const Tally& tally = Results();
  std::printf("%d run, %d failed\n", tally.passed + tally.failed, tally.failed);
  return tally.failed == 0 && tally.passed > 0 ? 0 : 1;
}

struct Case {
  std::string name;
  std::function<void()> body;
};
inline std::vector<Case>& Cases() {
  static std::vector<Case> cases;
  return cases;
}
struct Register {
  Register(std::string name, std::function<void()> body) { Cases().push_back({std::move(name), std::move(body)}); }
};

// Every registered case that is wanted, each with its time.
inline void RunCases() {
  for (const Case& test : Cases()) {
    if (!Wanted(test.name)) continue;
    const auto since = std::chrono::steady_clock::now();
    std::string failure;
    try {
      test.body();
    } catch (const std::exception& error) {
      failure = error.what();
    }
    char seconds[32];
    std::snprintf(seconds, sizeof seconds, "%.1f s",
                  std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count());
    Report(test.name, failure.empty(), failure.empty() ? seconds : std::string(seconds) + "\n     " + failure);
  }
}

[[noreturn]] inline void FailAt(const char* file, int line, const std::string& what) {
  throw std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " + what);
}

template <typename A, typename B>
void CheckEqual(const A& a, const B& b, const char* text, const char* file, int line) {
  if (a == b) return;
  std::ostringstream out;
  out << text;
  if constexpr (requires { out << a << b; }) out << ": " << a << " is not " << b;
  FailAt(file, line, out.str());
}

// `body` must throw flashvsr::Error of that code; returns it.
inline Error Thrown(const std::function<void()>& body, const std::string& code, const char* file, int line) {
  try {
    body();
  } catch (const Error& error) {
    if (error.code() != code)
      FailAt(file, line, "threw " + error.code() + " (" + error.message() + "), expected " + code);
    return error;
  }
  FailAt(file, line, "nothing was thrown, expected " + code);
}

// `body` must throw flashvsr::Error whose message contains `part`.
inline void Refused(const std::function<void()>& body, const std::string& part, const char* file, int line) {
  try {
    body();
  } catch (const Error& error) {
    if (error.message().find(part) == std::string::npos)
      FailAt(file, line, "refused, but not for \"" + part + "\": " + error.message());
    return;
  }
  FailAt(file, line, "was accepted; \"" + part + "\" should have been refused");
}

// ||a - b|| / ||b||; infinite when the sizes differ.
inline double Relative(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size() || a.empty()) return HUGE_VAL;
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    norm += static_cast<double>(b[i]) * b[i];
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

}  // namespace flashvsr::test

#define FLASHVSR_JOIN2(a, b) a##b
#define FLASHVSR_JOIN(a, b) FLASHVSR_JOIN2(a, b)
#define TEST(name)                                                                                                \
  static void FLASHVSR_JOIN(Test, __LINE__)();                                                                    \
  static const ::flashvsr::test::Register FLASHVSR_JOIN(register, __LINE__)(name, FLASHVSR_JOIN(Test, __LINE__)); \
  static void FLASHVSR_JOIN(Test, __LINE__)()
#define CHECK(condition)                                                                     \
  do {                                                                                       \
    if (!(condition)) ::flashvsr::test::FailAt(__FILE__, __LINE__, "not true: " #condition); \
  } while (false)
#define CHECK_EQUAL(a, b) ::flashvsr::test::CheckEqual((a), (b), #a, __FILE__, __LINE__)
#define CHECK_THROWS(expression, code) ::flashvsr::test::Thrown([&] { (void)(expression); }, code, __FILE__, __LINE__)
#define CHECK_REFUSED(part, ...) ::flashvsr::test::Refused([&] { __VA_ARGS__; }, part, __FILE__, __LINE__)
#define CHECK_BELOW(value, limit)                                                                                \
  do {                                                                                                           \
    const double checked = (value);                                                                              \
    if (!(checked <= (limit)))                                                                                   \
      ::flashvsr::test::FailAt(__FILE__, __LINE__, #value " is " + std::to_string(checked) + ", above " #limit); \
  } while (false)
