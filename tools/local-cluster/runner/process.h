// One process tree that never outlives this process.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "local-cluster/runner/event_loop.h"

namespace local_cluster {

struct ProcessOptions {
  std::string keeper;                    // Path of the binary pod-keeper.
  std::string program;                   // Path.
  std::vector<std::string> arguments;    // Without the program's own name.
  std::vector<std::string> environment;  // "NAME=value"; nothing else is handed on.
  std::string folder;                    // Working directory.
  // Borrowed until Start() returns; -1: /dev/null, and for `error_fd` the same as `output_fd`. A
  // terminal as input becomes the controlling one.
  int input_fd = -1;
  int output_fd = -1;
  int error_fd = -1;
};

struct ProcessExit {
  int exit_code = 0;  // 128 + signal where a signal ended it.
  int signal = 0;
};

// The whole tree ends with its first process, with ~Process, and when this process is killed.
// Callbacks and methods: the loop's thread only.
class Process {
 public:
  struct Callbacks {
    std::function<void(pid_t)> started;
    std::function<void(const absl::Status&)> failed;  // The program could not be executed.
    std::function<void(const ProcessExit&)> exited;
  };

  // After this exactly one of `failed` and `exited` is called, unless the Process is destroyed
  // before. Both may destroy it.
  static absl::StatusOr<std::unique_ptr<Process>> Start(EventLoop& loop, ProcessOptions options,
                                                        Callbacks callbacks);
  ~Process();

  void Terminate();  // SIGTERM to the process group.
  void Kill();       // SIGKILL to all.
  pid_t pid() const { return pid_; }

 private:
  Process(EventLoop& loop, Callbacks callbacks, int control, pid_t keeper);
  void OnControl();
  void HandleLine(std::string_view line);
  void Command(char command);
  void CloseControl();

  EventLoop& loop_;
  Callbacks callbacks_;
  int control_;
  pid_t keeper_;
  pid_t pid_ = 0;
  std::string received_;
  bool ended_ = false;
  absl::Status failure_;
  ProcessExit exit_{137, 9};
};

// Ends every process whose environment has `marker` ("NAME=value"): what a killed predecessor of
// this process may have left. Returns how many there were.
int KillMarkedProcesses(const std::string& marker);

}  // namespace local_cluster
