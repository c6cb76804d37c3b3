// Keeps other programs running: gpu-provisioner and workspace-controller.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "absl/time/time.h"

#include "local-cluster/runner/event_loop.h"
#include "local-cluster/runner/process.h"

namespace local_cluster {

struct SupervisedProgram {
  std::string name;
  std::string program;  // Path.
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  std::string folder;    // Working directory.
  std::string log_path;  // Appended to; moved to ".1" at a start when it is larger than 10 MiB.
};

struct SupervisorOptions {
  std::string keeper;  // Path of the binary pod-keeper.
  absl::Duration backoff_initial = absl::Seconds(1);
  absl::Duration backoff_max = absl::Seconds(30);
  // After each start and end, on the supervisor's thread, with pids().
  std::function<void(const std::map<std::string, pid_t>&)> changed;
};

// Programs are started again when they end, with back-off; a run of a minute starts over. None
// outlives this process. Thread-safe.
class Supervisor {
 public:
  explicit Supervisor(SupervisorOptions options);
  ~Supervisor();  // Stop(0).

  void Start(SupervisedProgram program);

  // SIGTERM to all in reverse order of their start, each after the one before has ended; SIGKILL
  // after `grace` each.
  void Stop(absl::Duration grace);

  // Process ids by name; 0: not running now.
  std::map<std::string, pid_t> pids();

 private:
  struct Child;
  void Launch(Child& child);
  void OnEnd(Child& child, const std::string& why);
  std::map<std::string, pid_t> PidsNow() const;

  const SupervisorOptions options_;
  std::vector<std::unique_ptr<Child>> children_;  // The loop's.
  EventLoopThread loop_thread_;
  EventLoop& loop_;
};

}  // namespace local_cluster
