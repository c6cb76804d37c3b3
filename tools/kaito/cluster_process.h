// Starting the process `local-cluster`, and ending what is left of one.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "kaito/cluster_state.h"

namespace kaito {

// A child process whose standard output is read line by line. Its standard error goes to a file.
// Ends nothing when destroyed. One thread.
class ChildProcess {
 public:
  // In a process group of its own, so that Ctrl-C reaches only us; `new_session`: it also outlives
  // the terminal. The file is appended to.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(
      const std::vector<std::string>& command, const std::string& stderr_path, bool new_session);
  ~ChildProcess();

  int pid() const { return pid_; }

  // The next line, or nullopt when none has come within `timeout`.
  std::optional<std::string> ReadLine(absl::Duration timeout);

  // False once it has ended; exit_text() then says how.
  bool Running();
  std::string exit_text() const;

 private:
  ChildProcess(int pid, int output) : pid_(pid), output_(output) {}

  int pid_;
  int output_;
  int wait_status_ = 0;
  bool ended_ = false;
  std::string buffer_;
};

// SIGTERM, and SIGKILL to what is still there after `grace`. OK only when all of them are gone.
// `reap` is called while waiting, to collect children of our own.
absl::Status EndProcesses(const std::vector<ProcessInfo>& processes, absl::Duration grace,
                          const std::function<void()>& reap);

// The message of the last error in a log of JSON lines, or its last line, on one line; "" when
// there is none. Only what was written from byte `offset` on counts.
std::string LastError(const std::string& path, uint64_t offset);
uint64_t FileSize(const std::string& path);

}  // namespace kaito
