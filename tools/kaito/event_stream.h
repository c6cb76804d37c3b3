// Server-sent events as chat completions are streamed with them.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kaito {

// Takes bytes cut anywhere and gives the data of one event after the other.
class EventStreamParser {
 public:
  void Feed(std::string_view bytes) { buffer_ += bytes; }

  // The next whole event's data, lines joined by \n; nullopt when more bytes are needed.
  std::optional<std::string> Next();

  // An event that never ends is an error of the server's.
  bool too_large() const { return buffer_.size() > (4 << 20); }

 private:
  std::string buffer_;
};

}  // namespace kaito
