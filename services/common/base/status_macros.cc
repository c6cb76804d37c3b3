#include "common/base/status_macros.h"

#include <string>

#include "absl/strings/str_format.h"

namespace base {

absl::Status Annotate(const absl::Status& status, std::string_view what) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), absl::StrFormat("%s: %s", what, status.message()));
  status.ForEachPayload(
      [&annotated](auto url, const absl::Cord& payload) { annotated.SetPayload(url, payload); });
  return annotated;
}

}  // namespace base
