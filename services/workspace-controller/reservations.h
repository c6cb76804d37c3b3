// Who holds which node: decided in one place, so that no node is given away twice.

#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"

#include "common/kube/object_key.h"

namespace workspace_controller {

// The record is status.workerNodes of each Workspace, as the cache shows it; what this process
// chose itself is newer than any cache and counts instead.
//
// Thread-safe.
class Reservations {
 public:
  // Held from choosing to holding, so that two workers never choose the same node.
  class Session {
   public:
    explicit Session(Reservations& reservations);

    // The Workspace that holds `node`, unless it is `key` itself.
    std::optional<kube::ObjectKey> HolderOf(
        const std::string& node, const kube::ObjectKey& key) const ABSL_NO_THREAD_SAFETY_ANALYSIS;

    // `key` holds exactly these from now on.
    void Hold(const kube::ObjectKey& key,
              const std::vector<std::string>& nodes) ABSL_NO_THREAD_SAFETY_ANALYSIS;

   private:
    Reservations& reservations_;
    absl::MutexLock lock_;
  };

  // What the cache shows of a Workspace.
  void Record(const kube::ObjectKey& key, const std::vector<std::string>& nodes);

  // The Workspace is gone, or being deleted with its nodes.
  void Release(const kube::ObjectKey& key);

 private:
  using ByWorkspace = std::map<kube::ObjectKey, std::vector<std::string>>;
  using ByNode = std::map<std::string, kube::ObjectKey>;
  static void Set(const kube::ObjectKey& key, const std::vector<std::string>& nodes,
                  ByWorkspace& by_workspace, ByNode& by_node);

  absl::Mutex mutex_;
  ByWorkspace chosen_ ABSL_GUARDED_BY(mutex_);
  ByNode chosen_by_node_ ABSL_GUARDED_BY(mutex_);
  ByWorkspace recorded_ ABSL_GUARDED_BY(mutex_);
  ByNode recorded_by_node_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace workspace_controller
