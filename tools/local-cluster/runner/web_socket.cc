#include "local-cluster/runner/web_socket.h"

#include <utility>

#include <openssl/sha.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"

namespace local_cluster {
namespace {

constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr unsigned kFinal = 0x80;
constexpr unsigned kMasked = 0x80;
constexpr size_t kControlBytesMax = 125;

bool IsControl(unsigned opcode) { return opcode >= 8; }

}  // namespace

std::string WebSocketAccept(std::string_view key) {
  const std::string text = std::string(key) + std::string(kGuid);
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  return absl::Base64Escape(
      absl::string_view(reinterpret_cast<const char*>(digest), sizeof(digest)));
}

std::string WebSocketFrame(WebSocketOpcode opcode, std::string_view payload) {
  std::string frame(1, static_cast<char>(kFinal | static_cast<unsigned>(opcode)));
  if (payload.size() <= kControlBytesMax) {
    frame += static_cast<char>(payload.size());
  } else if (payload.size() <= 0xFFFF) {
    frame += '\x7e';
    for (const int shift : {8, 0}) frame += static_cast<char>(payload.size() >> shift);
  } else {
    frame += '\x7f';
    for (int shift = 56; shift >= 0; shift -= 8) {
      frame += static_cast<char>(static_cast<uint64_t>(payload.size()) >> shift);
    }
  }
  frame += payload;
  return frame;
}

std::string WebSocketClose(uint16_t code) {
  const char payload[] = {static_cast<char>(code >> 8), static_cast<char>(code)};
  return WebSocketFrame(WebSocketOpcode::kClose, std::string_view(payload, sizeof(payload)));
}

absl::Status WebSocketReader::Feed(std::string_view bytes,
                                   std::vector<WebSocketMessage>& messages) {
  received_ += bytes;
  size_t begin = 0;
  while (true) {
    const std::string_view rest = std::string_view(received_).substr(begin);
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(rest[i]); };
    if (rest.size() < 2) break;
    const unsigned opcode = byte(0) & 0x0FU;
    const bool final = (byte(0) & kFinal) != 0;
    if ((byte(0) & 0x70U) != 0) return absl::InvalidArgumentError("reserved bits are set");
    if ((byte(1) & kMasked) == 0) return absl::InvalidArgumentError("a client's frame is unmasked");
    uint64_t length = byte(1) & 0x7FU;
    const size_t extra = length == 126 ? 2 : length == 127 ? 8 : 0;
    if (rest.size() < 2 + extra + 4) break;
    if (extra > 0) length = 0;
    for (size_t i = 0; i < extra; ++i) length = (length << 8) | byte(2 + i);
    if (IsControl(opcode) && (length > kControlBytesMax || !final)) {
      return absl::InvalidArgumentError("a control frame is long or in parts");
    }
    if (length > message_bytes_max_ || partial_.payload.size() + length > message_bytes_max_) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("a message is larger than %d bytes", message_bytes_max_));
    }
    const size_t header = 2 + extra + 4;
    if (rest.size() < header + length) break;
    std::string payload(rest.substr(header, length));
    for (size_t i = 0; i < payload.size(); ++i) {
      payload[i] = static_cast<char>(payload[i] ^ rest[header - 4 + i % 4]);
    }
    begin += header + length;
    if (IsControl(opcode)) {
      messages.push_back({static_cast<WebSocketOpcode>(opcode), std::move(payload)});
      continue;
    }
    if (in_message_ != (opcode == 0)) {
      return absl::InvalidArgumentError("a message's parts are out of order");
    }
    if (opcode != 0) partial_.opcode = static_cast<WebSocketOpcode>(opcode);
    partial_.payload += payload;
    in_message_ = !final;
    if (final) messages.push_back(std::exchange(partial_, {}));
  }
  received_.erase(0, begin);
  return absl::OkStatus();
}

}  // namespace local_cluster
