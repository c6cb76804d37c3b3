#include "gpu-provisioner/cluster_view.h"

#include "gpu-provisioner/arm/agent_pool.h"
#include "gpu-provisioner/nodes.h"

namespace gpu_provisioner {

std::vector<kube::Object> ClusterView::NodesOfPool(const std::string& pool) const {
  std::vector<kube::Object> nodes;
  const std::string wanted = Folded(pool);
  for (kube::Object& node : Nodes()) {
    if (PoolOfNode(node) == wanted) nodes.push_back(std::move(node));
  }
  return nodes;
}

std::optional<kube::Object> InformerView::Claim(const std::string& name) const {
  return claims_.Find({"", name});
}

std::vector<kube::Object> InformerView::Claims() const { return claims_.Snapshot()->All(); }

std::vector<kube::Object> InformerView::Nodes() const { return nodes_.Snapshot()->All(); }

std::optional<kube::Object> ListingView::Claim(const std::string& name) const {
  auto claim = client_.Get(kube::resources::kNodeClaims, {"", name});
  if (!claim.ok()) return std::nullopt;
  return *std::move(claim);
}

std::vector<kube::Object> ListingView::Claims() const {
  auto list = client_.List(kube::resources::kNodeClaims);
  return list.ok() ? std::move(list->items) : std::vector<kube::Object>();
}

std::vector<kube::Object> ListingView::Nodes() const {
  auto list = client_.List(kube::resources::kNodes);
  return list.ok() ? std::move(list->items) : std::vector<kube::Object>();
}

}  // namespace gpu_provisioner
