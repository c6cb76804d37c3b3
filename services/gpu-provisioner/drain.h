// Emptying a Node before its machine goes.

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/kube/client.h"
#include "gpu-provisioner/conditions.h"

namespace gpu_provisioner {

struct DrainProgress {
  bool done = false;
  Verdict drained;
  Verdict volumes;                    // VolumesDetached; empty reason: not reached yet.
  std::vector<std::string> blockers;  // "pod ns/name: …", for Explain.
  std::vector<std::string> refused;   // Evictions that a disruption budget forbade just now.
};

// One pass: taints the Node, evicts the first group of pods that is not empty, looks at volumes.
// Never waits; call again until done. `deadline`: when force may be used, if there is such a time.
//
// Groups: ordinary, ordinary DaemonSet, critical, critical DaemonSet pods; each when the former is
// empty. Pods that tolerate the taint, mirror and finished pods stay; pods that should have been
// gone for a minute are passed over (the kubelet is dead).
absl::StatusOr<DrainProgress> DrainNode(kube::Client& client, const kube::Object& node,
                                        std::optional<absl::Time> deadline, absl::Time now);

// 0 … 3, the group of `pod`; nullopt when it is not to be drained. Pure.
std::optional<int> DrainGroup(const kube::Object& pod, absl::Time now);

}  // namespace gpu_provisioner
