// What is counted about Workspaces.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/kube/conditions.h"
#include "common/kube/object_key.h"
#include "common/metrics/metrics.h"

namespace workspace_controller {

// Thread-safe.
class ControllerMetrics {
 public:
  explicit ControllerMetrics(metrics::Registry& registry);

  // After a status was computed: phases and presets of all Workspaces, and what changed.
  void Observed(const kube::Object& before, const std::vector<kube::Condition>& conditions,
                const std::string& preset, absl::Time now);
  void Deleting(const kube::ObjectKey& key);
  void Gone(const kube::ObjectKey& key);

  void Wrote(const std::string& verb, const std::string& kind);

 private:
  struct Seen {
    std::string phase;
    std::string preset;
  };
  void Replace(const kube::ObjectKey& key, std::optional<Seen> seen)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  metrics::Registry& registry_;
  absl::Mutex mutex_;
  std::map<kube::ObjectKey, Seen> seen_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int> presets_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace workspace_controller
