// The tests' own few lines: TEST registers a function, CHECK and its kin end it with a message.
#pragma once

#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "error.h"

namespace hearth::test {

struct Test {
  const char* name;
  void (*run)();
};

/// All tests of the program, in order of registration.
std::vector<Test>& tests();

struct Registration {
  Registration(const char* name, void (*run)()) { tests().push_back({name, run}); }
};

/// No std::exception: the code under test must not mistake it for an error of its own.
struct Failure {
  std::string message;
};

[[noreturn]] inline void fail(const char* file, int line, const std::string& message) {
  throw Failure{format("%s:%d: %s", file, line, message.c_str())};
}

template <class A, class B>
void check_equal(const char* file, int line, const char* text, const A& a, const B& b) {
  if (a == b) return;
  std::ostringstream message;
  message << text << ": " << a << " is not " << b;
  fail(file, line, message.str());
}

/// Runs body, which has to throw an Error of this status whose text contains `part`.
template <class Body>
void check_error(const char* file, int line, hearth_status status, const std::string& part,
                 Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    check_equal(file, line, error.what(), error.status(), status);
    if (std::string(error.what()).find(part) == std::string::npos) {
      fail(file, line, format("\"%s\" does not contain \"%s\"", error.what(), part.c_str()));
    }
    return;
  }
  fail(file, line, "no error was thrown, expected: " + part);
}

}  // namespace hearth::test

#define HEARTH_JOIN2(a, b) a##b
#define HEARTH_JOIN(a, b) HEARTH_JOIN2(a, b)
#define TEST(name)                                                                \
  static void HEARTH_JOIN(test_, __LINE__)();                                     \
  static const ::hearth::test::Registration HEARTH_JOIN(registration_, __LINE__)( \
      name, HEARTH_JOIN(test_, __LINE__));                                        \
  static void HEARTH_JOIN(test_, __LINE__)()
#define CHECK(condition) \
  ((condition) ? void() : ::hearth::test::fail(__FILE__, __LINE__, #condition))
#define CHECK_EQUAL(a, b) ::hearth::test::check_equal(__FILE__, __LINE__, #a " == " #b, a, b)
#define CHECK_ERROR(status, part, ...) \
  ::hearth::test::check_error(__FILE__, __LINE__, status, part, [&] { __VA_ARGS__; })
