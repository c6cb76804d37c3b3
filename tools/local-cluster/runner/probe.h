// One try of a probe.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"

#include "local-cluster/runner/event_loop.h"
#include "local-cluster/runner/pod_spec.h"

namespace local_cluster {

struct ProbeResult {
  bool ok = false;
  std::string message;  // As kubelet words it: "HTTP probe failed with statuscode: 503".
};

// How exec actions are run: the program with its arguments in the container's environment.
struct ExecContext {
  std::string keeper;
  std::vector<std::string> command;  // Program path first. Empty: not found.
  std::vector<std::string> environment;
  std::string folder;
};

// A running try; destroying it ends it without a result. Loop's thread only.
class ProbeRun {
 public:
  virtual ~ProbeRun() = default;
};

// `done` is called once, later and never from inside this call. `address`: the pod's.
std::unique_ptr<ProbeRun> StartProbe(EventLoop& loop, const ActionSpec& action,
                                     const std::string& address, absl::Duration timeout,
                                     const ExecContext& exec,
                                     std::function<void(const ProbeResult&)> done);

}  // namespace local_cluster
