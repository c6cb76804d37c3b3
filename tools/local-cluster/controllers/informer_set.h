// The caches that loops, runner and proxies share.

#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/time/time.h"

#include "common/kube/client.h"
#include "common/kube/informer.h"

namespace local_cluster {

// One informer per kind, made when first asked for. One thread until Start().
class InformerSet {
 public:
  explicit InformerSet(kube::Client& client) : client_(client) {}
  ~InformerSet() { Stop(); }

  kube::Informer& Of(const kube::Resource& resource);

  void Start();
  // False when one of them had no answer within `timeout`.
  bool AwaitSync(absl::Duration timeout);
  void Stop();

 private:
  kube::Client& client_;
  std::map<std::string, std::unique_ptr<kube::Informer>> informers_;  // By collection path.
};

}  // namespace local_cluster
