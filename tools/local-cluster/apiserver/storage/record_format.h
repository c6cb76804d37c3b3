// Records as bytes: length u32, revision u64, crc of both u32, payload, crc of the payload u32.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "local-cluster/apiserver/storage/store.h"

namespace local_cluster {

inline constexpr size_t kRecordHeaderBytes = 16;
inline constexpr size_t kRecordBytesMax = 64 << 20;

std::string EncodeRecord(const LogRecord& record);

enum class ReadOutcome { kRecord, kEnd, kTorn, kDamaged };

// The record at `offset`, which moves behind it. kTorn: the file's end cuts it short, or all that
// follows is zero.
ReadOutcome DecodeRecord(std::string_view file, size_t& offset, LogRecord& record);

}  // namespace local_cluster
