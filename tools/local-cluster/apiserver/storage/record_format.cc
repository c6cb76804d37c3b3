#include "local-cluster/apiserver/storage/record_format.h"

#include <algorithm>
#include <memory>

#include "boost/json.hpp"
#include "local-cluster/apiserver/storage/crc32c.h"

namespace local_cluster {
namespace {

void Put32(std::string& out, uint32_t value) {
  for (int i = 0; i < 4; ++i) out += static_cast<char>(value >> 8 * i & 255U);
}

uint64_t Get(std::string_view bytes, size_t offset, size_t size) {
  uint64_t value = 0;
  for (size_t i = size; i-- > 0;) {
    value = value << 8U | static_cast<unsigned char>(bytes[offset + i]);
  }
  return value;
}

void PutText(std::string& out, std::string_view text) {
  Put32(out, static_cast<uint32_t>(text.size()));
  out += text;
}

bool TakeText(std::string_view& rest, std::string& text) {
  if (rest.size() < 4) return false;
  const uint64_t size = Get(rest, 0, 4);
  rest.remove_prefix(4);
  if (size > rest.size()) return false;
  text = rest.substr(0, size);
  rest.remove_prefix(size);
  return true;
}

bool DecodePayload(std::string_view payload, LogRecord& record) {
  if (!TakeText(payload, record.key.resource) || !TakeText(payload, record.key.namespace_name) ||
      !TakeText(payload, record.key.name)) {
    return false;
  }
  record.object = nullptr;
  if (payload.empty()) return true;
  boost::system::error_code error;
  boost::json::value json = boost::json::parse(payload, error, {}, {.max_depth = 600});
  if (error || !json.is_object()) return false;
  record.object = std::make_shared<const boost::json::value>(std::move(json));
  return true;
}

}  // namespace

std::string EncodeRecord(const LogRecord& record) {
  std::string payload;
  PutText(payload, record.key.resource);
  PutText(payload, record.key.namespace_name);
  PutText(payload, record.key.name);
  if (record.object != nullptr) payload += boost::json::serialize(*record.object);
  std::string bytes;
  bytes.reserve(payload.size() + kRecordHeaderBytes + 4);
  Put32(bytes, static_cast<uint32_t>(payload.size()));
  Put32(bytes, static_cast<uint32_t>(record.revision));
  Put32(bytes, static_cast<uint32_t>(record.revision >> 32U));
  Put32(bytes, Crc32c(bytes));
  bytes += payload;
  Put32(bytes, Crc32c(payload));
  return bytes;
}

ReadOutcome DecodeRecord(std::string_view file, size_t& offset, LogRecord& record) {
  const std::string_view rest = file.substr(offset);
  if (rest.empty()) return ReadOutcome::kEnd;
  if (rest.size() < kRecordHeaderBytes ||
      std::ranges::all_of(rest, [](char c) { return c == '\0'; })) {
    return ReadOutcome::kTorn;
  }
  const uint64_t size = Get(rest, 0, 4);
  if (Get(rest, 12, 4) != Crc32c(rest.substr(0, 12)) || size > kRecordBytesMax) {
    return ReadOutcome::kDamaged;
  }
  if (rest.size() < kRecordHeaderBytes + size + 4) return ReadOutcome::kTorn;
  const std::string_view payload = rest.substr(kRecordHeaderBytes, size);
  record.revision = Get(rest, 4, 8);
  if (Get(rest, kRecordHeaderBytes + size, 4) != Crc32c(payload)) {
    const std::string_view unwritten = rest.substr(kRecordHeaderBytes);
    const bool zero = std::ranges::all_of(unwritten, [](char c) { return c == '\0'; });
    return zero ? ReadOutcome::kTorn : ReadOutcome::kDamaged;
  }
  if (!DecodePayload(payload, record)) return ReadOutcome::kDamaged;
  offset += kRecordHeaderBytes + size + 4;
  return ReadOutcome::kRecord;
}

}  // namespace local_cluster
