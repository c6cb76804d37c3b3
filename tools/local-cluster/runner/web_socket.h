// WebSocket (RFC 6455), the server's side: handshake and frames.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace local_cluster {

// The value of Sec-WebSocket-Accept for a client's Sec-WebSocket-Key.
std::string WebSocketAccept(std::string_view key);

enum class WebSocketOpcode : uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kClose = 8,
  kPing = 9,
  kPong = 10,
};

// One unfragmented, unmasked frame.
std::string WebSocketFrame(WebSocketOpcode opcode, std::string_view payload);

// A close frame with its code.
std::string WebSocketClose(uint16_t code);

struct WebSocketMessage {
  WebSocketOpcode opcode = WebSocketOpcode::kBinary;
  std::string payload;
};

// Puts the frames of a client together. Not thread-safe.
class WebSocketReader {
 public:
  explicit WebSocketReader(size_t message_bytes_max = 1 << 20)
      : message_bytes_max_(message_bytes_max) {}

  // Appends the messages that `bytes` completes; control frames count as messages.
  // kInvalidArgument: the client broke the protocol; kResourceExhausted: a message is too large.
  absl::Status Feed(std::string_view bytes, std::vector<WebSocketMessage>& messages);

 private:
  const size_t message_bytes_max_;
  std::string received_;
  WebSocketMessage partial_;
  bool in_message_ = false;
};

}  // namespace local_cluster
