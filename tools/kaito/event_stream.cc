#include "kaito/event_stream.h"

namespace kaito {
namespace {

// Where the empty line that ends an event is, and how long it is with the line end before it.
std::pair<size_t, size_t> FindEnd(std::string_view text) {
  for (size_t at = text.find('\n'); at != std::string_view::npos; at = text.find('\n', at + 1)) {
    if (text.substr(at + 1).starts_with('\n')) return {at, 2};
    if (text.substr(at + 1).starts_with("\r\n")) return {at, 3};
  }
  return {std::string_view::npos, 0};
}

std::optional<std::string> DataOf(std::string_view event) {
  std::optional<std::string> data;
  while (!event.empty()) {
    const size_t end = event.find('\n');
    std::string_view line = event.substr(0, end);
    event = end == std::string_view::npos ? "" : event.substr(end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.starts_with("data:")) continue;
    line.remove_prefix(5);
    if (line.starts_with(' ')) line.remove_prefix(1);
    if (data) {
      *data += '\n';
      *data += line;
    } else {
      data = std::string(line);
    }
  }
  return data;
}

}  // namespace

std::optional<std::string> EventStreamParser::Next() {
  while (true) {
    const auto [end, length] = FindEnd(buffer_);
    if (end == std::string_view::npos) return std::nullopt;
    std::optional<std::string> data = DataOf(std::string_view(buffer_).substr(0, end));
    buffer_.erase(0, end + length);
    if (data) return data;  // Else a comment, such as a keep-alive.
  }
}

}  // namespace kaito
