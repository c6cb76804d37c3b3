#include "common/base/files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"

namespace base {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::Status WriteAll(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t written = write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus(errno, absl::StrFormat("write %s", path));
    content.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

// A rename is durable only when its folder is synced too.
absl::Status SyncFolderOf(const std::string& path) {
  std::string folder = std::filesystem::path(path).parent_path().string();
  if (folder.empty()) folder = ".";
  const Descriptor fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || fsync(fd.get()) != 0) {
    return ErrnoStatus(errno, absl::StrFormat("sync %s", folder));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ErrnoStatus(int error, std::string_view what) {
  const std::string message = absl::StrFormat("%s: %s", what, std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::InternalError(message);
  }
}

absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t bytes_max) {
  const Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return ErrnoStatus(errno, absl::StrFormat("open %s", path));
  std::string content;
  char buffer[16384];
  while (true) {
    const ssize_t got = read(fd.get(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, absl::StrFormat("read %s", path));
    if (got == 0) return content;
    if (content.size() + static_cast<size_t>(got) > bytes_max) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("read %s: larger than %d bytes", path, bytes_max));
    }
    content.append(buffer, static_cast<size_t>(got));
  }
}

absl::Status WriteFileAtomic(const std::string& path, std::string_view content, mode_t mode) {
  std::string aside = absl::StrFormat("%s.XXXXXX", path);
  const Descriptor fd(mkostemp(aside.data(), O_CLOEXEC));
  if (fd.get() < 0) return ErrnoStatus(errno, absl::StrFormat("create %s", aside));
  absl::Status status = WriteAll(fd.get(), content, path);
  if (status.ok() && fchmod(fd.get(), mode) != 0) status = ErrnoStatus(errno, "chmod " + path);
  if (status.ok() && fsync(fd.get()) != 0) status = ErrnoStatus(errno, "sync " + path);
  if (status.ok() && rename(aside.c_str(), path.c_str()) != 0) {
    status = ErrnoStatus(errno, absl::StrFormat("rename to %s", path));
  }
  if (!status.ok()) {
    unlink(aside.c_str());
    return status;
  }
  return SyncFolderOf(path);
}

absl::Status CreateDirectories(const std::string& path, mode_t mode) {
  for (size_t end = path.find('/', 1); true; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), mode) != 0 && errno != EEXIST) {
      return ErrnoStatus(errno, absl::StrFormat("create folder %s", part));
    }
    if (end == std::string::npos) break;
  }
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    return ErrnoStatus(ENOTDIR, absl::StrFormat("create folder %s", path));
  }
  return absl::OkStatus();
}

absl::Status RemoveAll(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return ErrnoStatus(error.value(), absl::StrFormat("remove %s", path));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) {
  std::error_code error;
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) return ErrnoStatus(error.value(), absl::StrFormat("list %s", path));
  std::sort(names.begin(), names.end());
  return names;
}

bool FileExists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

std::string ExecutableFolder() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path().string();
}

}  // namespace base
