// flashvsr_tests [PART-OF-A-NAME]: runs the cases whose name contains it. Exit 1 when one fails or none was run.
#include "test/harness.h"

int main(int argc, char** argv) {
  using namespace flashvsr::test;
  const std::string wanted = argc > 1 ? argv[1] : "";
  int run = 0, failed = 0;
  for (const Case& test : Cases()) {
    if (test.name.find(wanted) == std::string::npos) continue;
    ++run;
    const auto since = std::chrono::steady_clock::now();
    std::string failure;
    try {
      test.body();
    } catch (const std::exception& error) {
      failure = error.what();
      ++failed;
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
    std::printf("%s %s (%.1f s)%s%s\n", failure.empty() ? "ok  " : "FAIL", test.name.c_str(), seconds, failure.empty() ? "" : "\n     ", failure.c_str());
    std::fflush(stdout);
  }
  std::printf("%d run, %d failed\n", run, failed);
  return run == 0 || failed > 0 ? 1 : 0;
}
