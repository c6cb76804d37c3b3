#include "local-cluster/runner/http2_health.h"

#include <cstdint>

namespace local_cluster {
namespace {

// RFC 9113, section 6.
enum FrameType : unsigned {
  kData = 0,
  kHeaders = 1,
  kReset = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7
};
constexpr unsigned kEndStream = 1;
constexpr unsigned kAck = 1;
constexpr unsigned kPadded = 8;
constexpr unsigned kEndHeaders = 4;
constexpr size_t kFrameHeader = 9;
constexpr size_t kFrameBytesMax = 16384;  // Until we announced more, which we do not.
constexpr size_t kBodyBytesMax = 1024;

std::string Frame(unsigned type, unsigned flags, unsigned stream, std::string_view payload) {
  std::string frame;
  for (const int shift : {16, 8, 0}) frame += static_cast<char>(payload.size() >> shift);
  frame += static_cast<char>(type);
  frame += static_cast<char>(flags);
  for (const int shift : {24, 16, 8, 0}) frame += static_cast<char>(stream >> shift);
  frame += payload;
  return frame;
}

// RFC 7541, 6.2.2: literal without indexing, new name; lengths here are below 127.
std::string Literal(std::string_view name, std::string_view value) {
  std::string field(1, '\0');
  field += static_cast<char>(name.size());
  field += name;
  field += static_cast<char>(value.size());
  field += value;
  return field;
}

}  // namespace

std::string HealthCheckRequest(std::string_view authority, std::string_view service) {
  service = service.substr(0, 100);
  std::string headers;
  headers += Literal(":method", "POST");
  headers += Literal(":scheme", "http");
  headers += Literal(":path", "/grpc.health.v1.Health/Check");
  headers += Literal(":authority", authority.substr(0, 100));
  headers += Literal("content-type", "application/grpc");
  headers += Literal("te", "trailers");
  std::string message;
  if (!service.empty()) {
    message += '\x0a';  // HealthCheckRequest.service
    message += static_cast<char>(service.size());
    message += service;
  }
  std::string body(4, '\0');  // Not compressed; the length, below 256, in 4 bytes.
  body += '\0';
  body.back() = static_cast<char>(message.size());
  body += message;
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(kSettings, 0, 0, "") +
         Frame(kHeaders, kEndHeaders, 1, headers) + Frame(kData, kEndStream, 1, body);
}

HealthCheckReader::Result HealthCheckReader::Feed(std::string_view bytes, std::string& reply) {
  received_ += bytes;
  while (received_.size() >= kFrameHeader) {
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(received_[i]); };
    const size_t length = (size_t{byte(0)} << 16) | (size_t{byte(1)} << 8) | byte(2);
    if (length > kFrameBytesMax) return Result::kFailed;
    if (received_.size() < kFrameHeader + length) return Result::kPending;
    const std::string payload = received_.substr(kFrameHeader, length);
    const unsigned type = byte(3);
    const unsigned flags = byte(4);
    received_.erase(0, kFrameHeader + length);
    const Result result = HandleFrame(type, flags, payload, reply);
    if (result != Result::kPending) return result;
  }
  return Result::kPending;
}

HealthCheckReader::Result HealthCheckReader::HandleFrame(unsigned type, unsigned flags,
                                                         std::string_view payload,
                                                         std::string& reply) {
  switch (type) {
    case kSettings:
      if ((flags & kAck) == 0) reply += Frame(kSettings, kAck, 0, "");
      return Result::kPending;
    case kPing:
      if ((flags & kAck) == 0) reply += Frame(kPing, kAck, 0, payload);
      return Result::kPending;
    case kData:
      if ((flags & kPadded) != 0 || body_.size() + payload.size() > kBodyBytesMax) {
        return Result::kFailed;
      }
      body_ += payload;
      return HandleBody();
    case kHeaders:
      return (flags & kEndStream) != 0 ? Result::kFailed : Result::kPending;
    case kReset:
    case kGoAway:
      return Result::kFailed;
    default:
      return Result::kPending;
  }
}

HealthCheckReader::Result HealthCheckReader::HandleBody() const {
  if (body_.size() < 5) return Result::kPending;
  const size_t length = static_cast<unsigned char>(body_[4]);
  if (body_[0] != 0 || body_[1] != 0 || body_[2] != 0 || body_[3] != 0) return Result::kFailed;
  if (body_.size() < 5 + length) return Result::kPending;
  // HealthCheckResponse.status, field 1: 1 is SERVING; a zero is left out.
  if (length == 0) return Result::kNotServing;
  return body_[5] == '\x08' && length >= 2 && body_[6] == 1 ? Result::kServing
                                                            : Result::kNotServing;
}

}  // namespace local_cluster
