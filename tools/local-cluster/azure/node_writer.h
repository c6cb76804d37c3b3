// Agent pools as Nodes of the local cluster.

#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/kube/client.h"

namespace local_cluster::azure {

struct NodeSpec {
  std::string name;
  std::string provider_id;
  std::map<std::string, std::string> labels;
  std::vector<std::string> taints;  // "key=value:effect"
  std::string arch = "amd64";
  int gpus = 0;
  bool with_gpu = true;  // The device plugin has reported.
  std::string image_version;
};

struct NodeAction {
  enum class Kind { kCreate, kSetReady, kSetGpu, kEvict, kDelete };
  Kind kind = Kind::kCreate;
  NodeSpec node;       // kCreate; of others the name and gpus.
  bool value = false;  // kSetReady, kSetGpu.
};

// A queue of changes, written in order by whoever calls Flush(). Thread-safe; one Flush() at a
// time.
class NodeWriter {
 public:
  // Borrowed.
  NodeWriter(kube::Client& client, const base::Clock& clock) : client_(client), clock_(clock) {}

  void Push(NodeAction action);

  // Writes what waits. A write that fails is tried again by the next Flush(), before those behind
  // it; false if any is left.
  bool Flush();
  bool empty() const;

 private:
  absl::Status Write(const NodeAction& action);
  absl::Status Create(const NodeSpec& node);

  kube::Client& client_;
  const base::Clock& clock_;
  mutable absl::Mutex mutex_;
  std::deque<NodeAction> actions_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace local_cluster::azure
