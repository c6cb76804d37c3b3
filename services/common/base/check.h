// CHECK: our own program is broken; stop with file and line rather than go on with wrong data.

#pragma once

#include <string>
#include <string_view>

namespace base {

[[noreturn]] void CheckFailed(const char* file, int line, std::string_view what);

}  // namespace base

// Stays on in release builds. Not for errors that come from outside: those are absl::Status.
#define CHECK(condition)                                   \
  do {                                                     \
    if (!(condition)) [[unlikely]]                         \
      ::base::CheckFailed(__FILE__, __LINE__, #condition); \
  } while (false)

#define CHECK_OK(expression)                                                            \
  do {                                                                                  \
    if (const auto& check_ok_result = (expression); !check_ok_result.ok()) [[unlikely]] \
      ::base::CheckFailed(__FILE__, __LINE__,                                           \
                          std::string(::base::ToStatus(check_ok_result).message()));    \
  } while (false)

#include "common/base/status_macros.h"  // ToStatus, for CHECK_OK.
