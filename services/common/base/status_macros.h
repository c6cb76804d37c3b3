// Shortcuts for code that passes errors up.

#pragma once

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace base {

// `status` with "`what`: " before its message; payloads are kept. OK stays OK.
absl::Status Annotate(const absl::Status& status, std::string_view what);

// NOLINTNEXTLINE(bugprone-return-const-ref-from-parameter): used within one expression.
inline const absl::Status& ToStatus(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& ToStatus(const absl::StatusOr<T>& result) {
  return result.status();
}

}  // namespace base

#define RETURN_IF_ERROR(expression)                                                     \
  do {                                                                                  \
    if (::absl::Status status_macro_result = (expression); !status_macro_result.ok()) { \
      return status_macro_result;                                                       \
    }                                                                                   \
  } while (false)

#define STATUS_MACROS_CONCAT_INNER(x, y) x##y
#define STATUS_MACROS_CONCAT(x, y) STATUS_MACROS_CONCAT_INNER(x, y)

#define ASSIGN_OR_RETURN(declaration, expression)                                         \
  STATUS_MACROS_ASSIGN_OR_RETURN(STATUS_MACROS_CONCAT(status_or_, __LINE__), declaration, \
                                 expression)

// NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in parentheses.
#define STATUS_MACROS_ASSIGN_OR_RETURN(result, declaration, expression) \
  auto result = (expression);                                           \
  if (!result.ok()) return std::move(result).status();                  \
  declaration = std::move(result).value()
// NOLINTEND(bugprone-macro-parentheses)
