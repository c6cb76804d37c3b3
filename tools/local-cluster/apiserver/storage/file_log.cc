#include "local-cluster/apiserver/storage/file_log.h"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

#include "common/base/check.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "local-cluster/apiserver/storage/record_format.h"

namespace local_cluster {
namespace {

constexpr std::string_view kMagic = "KCLOG001";
constexpr uint64_t kFileBytesMax = uint64_t{4} << 30U;
constexpr absl::Duration kBatchInterval = absl::Milliseconds(10);

// An open file that closes itself.
class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  File& operator=(File&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

absl::Status WriteAll(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return base::ErrnoStatus(errno, "write " + path);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

class FileLog final : public WriteLog {
 public:
  FileLog(FileLogOptions options, std::string path, File lock, File file, uint64_t size)
      : options_(std::move(options)),
        path_(std::move(path)),
        lock_(std::move(lock)),
        file_(std::move(file)),
        size_(size) {}

  ~FileLog() override {
    if (options_.sync != SyncMode::kNever) fdatasync(file_.fd());
  }

  absl::Status Append(const std::vector<LogRecord>& records) override {
    std::string bytes;
    for (const LogRecord& record : records) bytes += EncodeRecord(record);
    if (absl::Status status = WriteAll(file_.fd(), bytes, path_); !status.ok()) {
      // Nothing of a write that failed may stay: the next start would find a damaged record.
      CHECK(ftruncate(file_.fd(), static_cast<off_t>(size_)) == 0);
      CHECK(lseek(file_.fd(), 0, SEEK_END) == static_cast<off_t>(size_));
      struct statvfs space{};
      const bool known = fstatvfs(file_.fd(), &space) == 0;
      return absl::InternalError(
          absl::StrFormat("%s (%d bytes free)", std::string(status.message()),
                          known ? static_cast<uint64_t>(space.f_bavail) * space.f_frsize : 0));
    }
    const absl::Time now = absl::Now();
    const bool due = options_.sync == SyncMode::kAlways ||
                     (options_.sync == SyncMode::kBatch && now - synced_at_ >= kBatchInterval);
    if (due) {
      // After a failed sync the kernel may have dropped the pages: a second one would lie.
      CHECK(fdatasync(file_.fd()) == 0);
      synced_at_ = now;
    }
    size_ += bytes.size();
    grown_ += bytes.size();
    return absl::OkStatus();
  }

  bool WantsSnapshot() const override { return grown_ >= options_.snapshot_bytes; }

  // A new file with only what is there, then swapped in: a crash leaves the one or the other.
  absl::Status Snapshot(uint64_t revision, const std::vector<LogRecord>& objects) override {
    grown_ = 0;
    std::string bytes(kMagic);
    for (const LogRecord& object : objects) bytes += EncodeRecord(object);
    LogRecord mark;
    mark.revision = revision;
    bytes += EncodeRecord(mark);
    RETURN_IF_ERROR(base::WriteFileAtomic(path_, bytes, 0600));
    File file(open(path_.c_str(), O_RDWR | O_APPEND | O_CLOEXEC));
    CHECK(file.fd() >= 0);  // The old file has no name any more.
    file_ = std::move(file);
    size_ = bytes.size();
    return absl::OkStatus();
  }

 private:
  const FileLogOptions options_;
  const std::string path_;
  const File lock_;
  File file_;
  uint64_t size_;
  uint64_t grown_ = 0;
  absl::Time synced_at_ = absl::InfinitePast();
};

absl::StatusOr<File> Lock(const std::string& folder) {
  const std::string path = folder + "/lock";
  File file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (file.fd() < 0) return base::ErrnoStatus(errno, "open " + path);
  if (flock(file.fd(), LOCK_EX | LOCK_NB) != 0) {
    const absl::StatusOr<std::string> holder = base::ReadFile(path, 100);
    return absl::FailedPreconditionError(
        absl::StrFormat("%s is in use by process %s", folder, holder.value_or("?")));
  }
  RETURN_IF_ERROR(ftruncate(file.fd(), 0) == 0 ? absl::OkStatus()
                                               : base::ErrnoStatus(errno, "truncate " + path));
  RETURN_IF_ERROR(WriteAll(file.fd(), std::to_string(getpid()), path));
  return file;
}

absl::Status Damaged(const std::string& path, size_t offset, uint64_t revision) {
  return absl::DataLossError(absl::StrFormat(
      "%s is damaged at offset %d; the last good revision is %d; `kaito up --restore` starts from "
      "there and keeps a copy",
      path, offset, revision));
}

}  // namespace

absl::StatusOr<OpenedLog> OpenFileLog(const FileLogOptions& options) {
  RETURN_IF_ERROR(base::CreateDirectories(options.folder, 0700));
  ASSIGN_OR_RETURN(File lock, Lock(options.folder));
  const std::string path = options.folder + "/wal.log";
  std::string content;
  if (base::FileExists(path)) {
    ASSIGN_OR_RETURN(content, base::ReadFile(path, kFileBytesMax));
  }
  OpenedLog opened;
  size_t offset = kMagic.size();
  const bool no_header =
      content.size() < kMagic.size() && kMagic.starts_with(std::string_view(content));
  if (no_header) {
    opened.tail_cut = !content.empty();
    RETURN_IF_ERROR(base::WriteFileAtomic(path, kMagic, 0600));
  } else {
    if (!std::string_view(content).starts_with(kMagic)) return Damaged(path, 0, 0);
    uint64_t last = 0;
    LogRecord record;
    while (true) {
      const ReadOutcome outcome = DecodeRecord(content, offset, record);
      if (outcome == ReadOutcome::kDamaged) return Damaged(path, offset, last);
      if (outcome == ReadOutcome::kTorn) opened.tail_cut = true;
      if (outcome != ReadOutcome::kRecord) break;
      last = std::max(last, record.revision);
      if (record.key.resource.empty()) opened.snapshot_revision = record.revision;
      opened.records.push_back(record);
    }
  }
  File file(open(path.c_str(), O_RDWR | O_APPEND | O_CLOEXEC));
  if (file.fd() < 0) return base::ErrnoStatus(errno, "open " + path);
  if (ftruncate(file.fd(), static_cast<off_t>(offset)) != 0) {
    return base::ErrnoStatus(errno, "truncate " + path);
  }
  opened.log = std::make_unique<FileLog>(options, path, std::move(lock), std::move(file), offset);
  return opened;
}

}  // namespace local_cluster
