#include "weights/test/weights_harness.h"

// With an argument, only the cases whose names contain it.
int main(int count, char** arguments) { return flashvsr::test::RunAll(count > 1 ? arguments[1] : nullptr); }
