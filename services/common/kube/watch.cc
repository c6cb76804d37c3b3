#include <algorithm>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "common/kube/client.h"
#include "common/kube/json.h"

namespace kube {
namespace {

namespace json = boost::json;

constexpr size_t kLineBytesMax = 16 << 20;

absl::StatusOr<WatchEvent> ParseEvent(std::string_view line) {
  absl::StatusOr<json::value> parsed = ParseJson(line);
  // A line that is no event means that the stream is broken: reopen, as after a cut.
  if (!parsed.ok()) {
    return absl::UnavailableError(absl::StrFormat("watch: %s", parsed.status().message()));
  }
  const std::string_view type = StringAt(*parsed, {"type"});
  if (FindPath(*parsed, {"object"}) == nullptr) {
    return absl::UnavailableError("watch: an event has no object");
  }
  // at(), not []: that may rehash, and `type` points into the object.
  json::value& object = parsed->as_object().at("object");
  if (type == "ERROR") return StatusOfObject(object, 500, "watch");
  WatchEvent event;
  if (type == "ADDED") {
    event.type = WatchEvent::Type::kAdded;
  } else if (type == "MODIFIED") {
    event.type = WatchEvent::Type::kModified;
  } else if (type == "DELETED") {
    event.type = WatchEvent::Type::kDeleted;
  } else if (type == "BOOKMARK") {
    event.type = WatchEvent::Type::kBookmark;
  } else {
    return absl::UnavailableError(
        absl::StrFormat("watch: unknown event type \"%s\"", type.substr(0, 40)));
  }
  event.object = Object(std::move(object));
  return event;
}

}  // namespace

Watch::Watch(std::unique_ptr<net::HttpStream> stream) : stream_(std::move(stream)) {}

Watch::~Watch() { stream_->Cancel(); }

std::optional<std::string_view> Watch::TakeLine() {
  while (true) {
    const size_t end = buffer_.find('\n', searched_);
    if (end == std::string::npos) {
      buffer_.erase(0, begin_);
      begin_ = 0;
      searched_ = buffer_.size();
      return std::nullopt;
    }
    const std::string_view line = std::string_view(buffer_).substr(begin_, end - begin_);
    begin_ = searched_ = end + 1;
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) return line;
  }
}

absl::StatusOr<std::optional<WatchEvent>> Watch::Next(absl::Duration timeout) {
  const absl::Duration deadline = base::RealClock().Monotonic() + timeout;
  while (true) {
    if (const std::optional<std::string_view> line = TakeLine()) {
      ASSIGN_OR_RETURN(WatchEvent event, ParseEvent(*line));
      return std::optional<WatchEvent>(std::move(event));
    }
    if (buffer_.size() > kLineBytesMax) {
      return absl::UnavailableError(
          absl::StrFormat("watch: an event is larger than %d bytes", kLineBytesMax));
    }
    const absl::Duration left =
        std::max(deadline - base::RealClock().Monotonic(), absl::ZeroDuration());
    ASSIGN_OR_RETURN(const std::string bytes, stream_->Read(left));
    if (!bytes.empty()) {
      buffer_ += bytes;
      continue;
    }
    if (buffer_.find_first_not_of(" \t\r") == std::string::npos) {
      return std::optional<WatchEvent>();
    }
    return absl::UnavailableError("watch: the stream ended inside an event");
  }
}

void Watch::Cancel() { stream_->Cancel(); }

}  // namespace kube
