// A small test harness: cases register themselves, a failed check throws with its place, a case states what it proves.
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

inline void FailAt(const char* file, int line, const std::string& what) {
  throw std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " + what);
}

template <typename A, typename B>
void CheckEqual(const A& a, const B& b, const char* text, const char* file, int line) {
  if (a == b) return;
  std::ostringstream out;
  out << text << ": " << a << " is not " << b;
  FailAt(file, line, out.str());
}

// Body must throw flashvsr::Error of that code; returns it.
inline Error Thrown(const std::function<void()>& body, const std::string& code, const char* file, int line) {
  try {
    body();
  } catch (const Error& error) {
    if (error.code() != code) FailAt(file, line, "threw " + error.code() + " (" + error.message() + "), expected " + code);
    return error;
  }
  FailAt(file, line, "nothing was thrown, expected " + code);
  return Error("", ErrorScope::Engine, "");
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
#define TEST(name)                                                                                   \
  static void FLASHVSR_JOIN(Test, __LINE__)();                                                       \
  static const ::flashvsr::test::Register FLASHVSR_JOIN(register, __LINE__)(name, FLASHVSR_JOIN(Test, __LINE__)); \
  static void FLASHVSR_JOIN(Test, __LINE__)()
#define CHECK(condition)                                                                   \
  do {                                                                                     \
    if (!(condition)) ::flashvsr::test::FailAt(__FILE__, __LINE__, "not true: " #condition); \
  } while (false)
#define CHECK_EQUAL(a, b) ::flashvsr::test::CheckEqual((a), (b), #a, __FILE__, __LINE__)
#define CHECK_THROWS(expression, code) ::flashvsr::test::Thrown([&] { (void)(expression); }, code, __FILE__, __LINE__)
#define CHECK_BELOW(value, limit)                                                                                   \
  do {                                                                                                              \
    const double checked = (value);                                                                                 \
    if (!(checked <= (limit)))                                                                                      \
      ::flashvsr::test::FailAt(__FILE__, __LINE__, #value " is " + std::to_string(checked) + ", above " #limit);    \
  } while (false)
