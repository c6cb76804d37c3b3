// What the provisioner reads of Kubernetes.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/kube/client.h"
#include "common/kube/informer.h"
#include "common/kube/object.h"

namespace gpu_provisioner {

// Thread-safe.
class ClusterView {
 public:
  virtual ~ClusterView() = default;
  virtual std::optional<kube::Object> Claim(const std::string& name) const = 0;
  virtual std::vector<kube::Object> Claims() const = 0;  // All, not only ours.
  virtual std::vector<kube::Object> Nodes() const = 0;

  // Nodes that say they are of agent pool `pool`.
  std::vector<kube::Object> NodesOfPool(const std::string& pool) const;
};

// From the caches of two informers, which are borrowed.
class InformerView final : public ClusterView {
 public:
  InformerView(const kube::Informer& claims, const kube::Informer& nodes)
      : claims_(claims), nodes_(nodes) {}
  std::optional<kube::Object> Claim(const std::string& name) const override;
  std::vector<kube::Object> Claims() const override;
  std::vector<kube::Object> Nodes() const override;

 private:
  const kube::Informer& claims_;
  const kube::Informer& nodes_;
};

// Asks the API server every time: for tests without threads.
class ListingView final : public ClusterView {
 public:
  explicit ListingView(kube::Client& client) : client_(client) {}
  std::optional<kube::Object> Claim(const std::string& name) const override;
  std::vector<kube::Object> Claims() const override;
  std::vector<kube::Object> Nodes() const override;

 private:
  kube::Client& client_;
};

}  // namespace gpu_provisioner
