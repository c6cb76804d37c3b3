// The write log in a folder: one file of checked records, rewritten as a snapshot when it has
// grown.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

#include "local-cluster/apiserver/storage/store.h"

namespace local_cluster {

enum class SyncMode {
  kAlways,  // Append() returns after fdatasync.
  kBatch,   // At most about 10 ms of writes are not synced.
  kNever,
};

struct FileLogOptions {
  std::string folder;
  SyncMode sync = SyncMode::kAlways;
  uint64_t snapshot_bytes = 64 << 20;  // The log is rewritten when it has grown by this much.
};

// What a log held when it was opened.
struct OpenedLog {
  std::unique_ptr<WriteLog> log;
  uint64_t snapshot_revision = 0;  // Records up to here are state, later ones are history too.
  std::vector<LogRecord> records;  // In order.
  bool tail_cut = false;           // The last record was incomplete: a write nobody was told of.
};

// Reads `folder`/wal.log, or makes it. kFailedPrecondition: another process holds the folder (its
// pid is named). kDataLoss: damaged; the message names file, offset, last good revision and the
// remedy.
absl::StatusOr<OpenedLog> OpenFileLog(const FileLogOptions& options);

}  // namespace local_cluster
