// One run of a container: its process, its output, its probes, its end.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "local-cluster/runner/container_log.h"
#include "local-cluster/runner/event_loop.h"
#include "local-cluster/runner/pod_spec.h"
#include "local-cluster/runner/probe.h"
#include "local-cluster/runner/process.h"

namespace local_cluster {

struct ContainerRunOptions {
  ContainerSpec spec;
  std::string address;  // Of the pod.
  std::string log_path;
  ProcessOptions process;  // Without output.
  // Rewrites the words of an exec probe or hook for this machine; empty when the program is
  // unknown.
  std::function<std::vector<std::string>(const std::vector<std::string>&)> exec_command;
};

enum class ProbeKind { kStartup, kLiveness, kReadiness };

// Loop's thread only. Destroying it kills what still runs.
class ContainerRun {
 public:
  struct Callbacks {
    std::function<void()> running;
    std::function<void(const absl::Status&)> failed;  // Not executed.
    std::function<void(const ProcessExit&)> exited;   // All output is in the log.
    // Each try that failed; for events.
    std::function<void(ProbeKind, const std::string& message)> probe_failed;
    // The threshold of a probe was reached: started, ready or not ready any more.
    std::function<void(ProbeKind, bool ok)> probe_changed;
  };

  // kUnavailable and the like when the process cannot even be tried.
  static absl::StatusOr<std::unique_ptr<ContainerRun>> Start(EventLoop& loop,
                                                             ContainerRunOptions options,
                                                             Callbacks callbacks);
  ~ContainerRun();

  // preStop, SIGTERM, and SIGKILL after `grace` altogether. A second call may only shorten it.
  void Stop(absl::Duration grace);

  ContainerLog& log() { return log_; }
  pid_t pid() const { return process_ ? process_->pid() : 0; }
  // Once, before Stop(): the memory limit was passed.
  void KillForMemory();
  bool killed_for_memory() const { return killed_for_memory_; }

 private:
  // A probe that repeats.
  struct Schedule {
    ProbeKind kind;
    ProbeSpec spec;
    std::unique_ptr<ProbeRun> run;
    EventLoop::TimerId timer = 0;
    absl::Duration next_counted;  // Monotonic: tries before it do not count as failures.
    absl::Duration quick_wait;
    int successes = 0;
    int failures = 0;
    bool known = false;  // A threshold was reached.
    bool ok = false;
  };

  ContainerRun(EventLoop& loop, ContainerRunOptions options, Callbacks callbacks, int output);
  void OnOutput();
  void OnExit(const ProcessExit& exit);
  void CloseOutput();
  void BeginProbes();
  void BeginProbe(ProbeKind kind, const ProbeSpec& spec);
  void Try(Schedule& schedule);
  void OnResult(Schedule& schedule, const ProbeResult& result);
  void EndProbes();
  ExecContext Exec(const ActionSpec& action) const;

  EventLoop& loop_;
  ContainerRunOptions options_;
  Callbacks callbacks_;
  ContainerLog log_;
  int output_;
  std::unique_ptr<Process> process_;
  std::vector<std::unique_ptr<Schedule>> probes_;
  std::unique_ptr<ProbeRun> pre_stop_;
  EventLoop::TimerId kill_timer_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // For messages that come later.
  bool stopping_ = false;
  bool killed_for_memory_ = false;
};

}  // namespace local_cluster
