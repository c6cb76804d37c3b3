// All built-in loops of the local cluster, with their threads.

#pragma once

#include <memory>
#include <string>

#include "common/kube/client.h"
#include "local-cluster/controllers/informer_set.h"

namespace local_cluster {

// Watches through `informers`, so it is made before their start. Both are borrowed.
class BuiltInLoops {
 public:
  // `ca_pem`: for kube-root-ca.crt in new namespaces.
  BuiltInLoops(kube::Client& client, InformerSet& informers, std::string ca_pem);
  ~BuiltInLoops();  // Stop().

  void Start();
  void Stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace local_cluster
