// Runs the registered cases whose names contain the argument (all without one). The last line counts them.
#include "test/harness.h"

int main(int argc, char** argv) {
  using namespace flashvsr::test;
  if (argc > 1) Results().filter = argv[1];
  RunCases();
  return Finish();
}
