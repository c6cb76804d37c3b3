#include "local-cluster/controllers/informer_set.h"

#include "absl/time/clock.h"

namespace local_cluster {

kube::Informer& InformerSet::Of(const kube::Resource& resource) {
  std::unique_ptr<kube::Informer>& informer = informers_[resource.Path()];
  if (!informer) informer = std::make_unique<kube::Informer>(client_, resource);
  return *informer;
}

void InformerSet::Start() {
  for (const auto& [path, informer] : informers_) informer->Start();
}

bool InformerSet::AwaitSync(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  for (const auto& [path, informer] : informers_) {
    if (!informer->AwaitSync(deadline - absl::Now())) return false;
  }
  return true;
}

void InformerSet::Stop() {
  for (const auto& [path, informer] : informers_) informer->Stop();
}

}  // namespace local_cluster
