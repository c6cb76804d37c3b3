// Whole files and folders, with errors that name the path.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace base {

// The status of a failed system call: "open /x/y: No such file or directory". kNotFound,
// kPermissionDenied, kAlreadyExists, kResourceExhausted (disk full) or kInternal.
absl::Status ErrnoStatus(int error, std::string_view what);

// Fails with kResourceExhausted when the file has more than `bytes_max` bytes.
absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t bytes_max = 64 << 20);

// Written aside, synced and renamed: after a crash either the old or the new content is there.
absl::Status WriteFileAtomic(const std::string& path, std::string_view content, mode_t mode = 0600);

// Like mkdir -p. Folders that are made get `mode`.
absl::Status CreateDirectories(const std::string& path, mode_t mode = 0700);

// Like rm -rf; what is not there is no error. Does not follow links.
absl::Status RemoveAll(const std::string& path);

// Names in a folder without "." and "..", sorted.
absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path);

bool FileExists(const std::string& path);

// The path of the running binary's folder: where its siblings lie.
std::string ExecutableFolder();

}  // namespace base
