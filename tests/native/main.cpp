// Runs the native tests: all, or those whose names contain the first argument.
#include <cstdio>
#include <cstring>

#include "check.h"

std::vector<hearth::test::Test>& hearth::test::tests() {
  static std::vector<Test> all;
  return all;
}

int main(int argc, char** argv) {
  const char* filter = argc > 1 ? argv[1] : "";
  int num_passed = 0;
  int num_failed = 0;
  for (const auto& test : hearth::test::tests()) {
    if (std::strstr(test.name, filter) == nullptr) continue;
    std::string failure;
    try {
      test.run();
    } catch (const hearth::test::Failure& thrown) {
      failure = thrown.message;
    } catch (const std::exception& thrown) {
      failure = std::string("thrown: ") + thrown.what();
    }
    ++(failure.empty() ? num_passed : num_failed);
    if (!failure.empty()) std::printf("FAILED %s\n  %s\n", test.name, failure.c_str());
  }
  if (num_failed > 0 || num_passed == 0) {
    std::printf("failed %d of %d tests\n", num_failed, num_passed + num_failed);
    return 1;
  }
  std::printf("ok %d tests\n", num_passed);
  return 0;
}
