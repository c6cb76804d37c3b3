// The sign of life of the Nodes that this machine plays.

#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>

#include "absl/synchronization/mutex.h"

#include "common/kube/client.h"
#include "common/kube/informer.h"

namespace local_cluster {

// True for Nodes whose pods run on this machine: those that the ARM endpoint made, and
// "local:///…".
bool IsLocalNode(const kube::Object& node);

// Renews the Lease (kube-node-lease) of every local Node every 10 s, and sets a Node Ready whose
// condition says otherwise. One thread.
class NodeHeartbeat {
 public:
  // Both are borrowed. Adds a handler to `nodes`: before its start.
  NodeHeartbeat(kube::Client& client, kube::Informer& nodes);
  ~NodeHeartbeat();

  void Start();

 private:
  void Run(const std::stop_token& stop);
  void Beat(const kube::Object& node);
  void KeepReady(const kube::Object& node);

  kube::Client& client_;
  kube::Informer& nodes_;
  absl::Mutex mutex_;
  bool changed_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::jthread thread_;
};

// A Node for pods that need no pool: this machine's cores and memory, under the name `name`.
absl::Status EnsureLocalNode(kube::Client& client, const std::string& name);

}  // namespace local_cluster
