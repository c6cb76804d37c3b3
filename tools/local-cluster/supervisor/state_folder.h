// The folder in which a local cluster keeps everything.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace local_cluster {

// One process per folder: holds the lock while it lives. Not thread-safe.
class StateFolder {
 public:
  // Makes the folder and those in it. kFailedPrecondition names the process that has it.
  static absl::StatusOr<std::unique_ptr<StateFolder>> Open(const std::string& path);
  ~StateFolder();
  StateFolder(const StateFolder&) = delete;
  StateFolder& operator=(const StateFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string Path(std::string_view name) const;

  // The port kept under `name`; a free one is chosen at first, and when the kept one is taken by
  // another program. `wanted`, if not 0, replaces what is kept. SavePorts() keeps the choice.
  absl::StatusOr<int> Port(const std::string& name, int wanted = 0);
  absl::Status SavePorts();

  // 32 random bytes in hexadecimal, kept in the file run/NAME.
  absl::StatusOr<std::string> Secret(std::string_view name);

 private:
  StateFolder(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  absl::Status LoadPorts();

  const std::string path_;
  const int lock_;
  std::map<std::string, int> ports_;
  bool ports_changed_ = false;
};

}  // namespace local_cluster
