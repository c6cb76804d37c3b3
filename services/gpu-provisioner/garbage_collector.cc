#include "gpu-provisioner/garbage_collector.h"

#include <algorithm>
#include <set>

#include "common/base/log.h"
#include "common/kube/conditions.h"
#include "gpu-provisioner/nodes.h"
#include "gpu-provisioner/pool_body.h"

namespace gpu_provisioner {
namespace {

constexpr absl::Duration kApart = absl::Seconds(60);

std::set<std::string> UidsOf(const std::vector<kube::Object>& claims) {
  std::set<std::string> uids;
  for (const kube::Object& claim : claims) uids.emplace(claim.uid());
  return uids;
}

bool HasClaimNamed(const std::vector<kube::Object>& claims, std::string_view name) {
  return std::ranges::any_of(
      claims, [&](const kube::Object& claim) { return EqualFolded(claim.name(), name); });
}

}  // namespace

bool GarbageCollector::SeenTwice(Sights& sights, const std::string& key, absl::Duration listed) {
  const Sight& sight = sights.try_emplace(key, Sight{.first_list = listed}).first->second;
  return listed - sight.first_list >= kApart;
}

void GarbageCollector::RunOnce() {
  const auto view = parts_.snapshot.Current();
  // A read that failed proves nothing; a cluster that is not known is a wrong configuration.
  if (view->listed == PoolMemory::kNever || !view->failure.ok() || view->cluster_gone) return;
  const std::vector<kube::Object> claims = parts_.cluster.Claims();
  const std::vector<kube::Object> nodes = parts_.cluster.Nodes();
  CollectPools(*view, claims);
  CollectClaims(*view, claims, nodes);
  CollectNodes(*view, claims, nodes);

  const bool moving = std::ranges::any_of(claims, [](const kube::Object& claim) {
    return IsOurs(claim) && (claim.being_deleted() || !kube::IsConditionTrue(claim, "Ready"));
  });
  parts_.snapshot.SetMoving(moving || !lost_claims_.empty() || !orphan_pools_.empty());
  parts_.reconciler.ForgetIdle();
  if (parts_.registry == nullptr) return;
  std::map<std::string, int> states;
  for (const auto& [name, pool] : view->pools) ++states[pool.state];
  for (const auto& [state, count] : states) {
    parts_.registry->GetGauge("gpu_provisioner_pools", "Agent pools by state", {{"state", state}})
        .Set(count);
  }
  parts_.registry
      ->GetGauge("gpu_provisioner_pool_list_age_seconds", "Age of the last complete list of pools")
      .Set(absl::ToDoubleSeconds(parts_.clock.Monotonic() - view->listed));
}

void GarbageCollector::CollectPools(const PoolView& view, const std::vector<kube::Object>& claims) {
  const std::set<std::string> uids = UidsOf(claims);
  std::set<std::string> seen;
  for (const auto& [name, pool] : view.pools) {
    const std::string uid(pool.claim_uid());
    // Without our mark it is somebody's own; a label proves nothing.
    if (uid.empty() || uids.contains(uid)) continue;
    const std::string key = name + "/" + uid;
    seen.insert(key);
    if (!SeenTwice(orphan_pools_, key, view.listed)) continue;
    if (pool.deleting() || pool.creating() || parts_.writes.Busy(name)) continue;
    base::LogWarning("agent pool has no claim and is deleted", {{"pool", name}, {"uid", uid}});
    parts_.writes.Submit(
        {.kind = PoolJobKind::kDelete, .pool = name, .claim_uid = uid, .etag = pool.etag});
  }
  std::erase_if(orphan_pools_, [&](const auto& entry) { return !seen.contains(entry.first); });
}

void GarbageCollector::CollectClaims(const PoolView& view, const std::vector<kube::Object>& claims,
                                     const std::vector<kube::Object>& nodes) {
  std::set<std::string> seen;
  for (const kube::Object& object : claims) {
    if (!IsOurs(object) || object.being_deleted()) continue;
    const NodeRequest claim = ParseNodeClaim(object, options_.location);
    if (!claim.registered()) continue;
    const AgentPool* const pool = view.Find(claim.name);
    if (pool != nullptr && IsPoolOf(*pool, claim)) continue;
    const bool node_ready = std::ranges::any_of(nodes, [&](const kube::Object& node) {
      return PoolOfNode(node) == Folded(claim.name) && IsNodeReady(node);
    });
    seen.insert(claim.uid);
    if (!SeenTwice(lost_claims_, claim.uid, view.listed) || node_ready) continue;
    const PoolMemory memory = parts_.reconciler.Memory(claim.name);
    const bool foreign = pool != nullptr;
    const absl::Duration first_list = lost_claims_[claim.uid].first_list;
    if (!foreign && !(memory.gone && memory.last_get > first_list)) {
      parts_.writes.Submit({.kind = PoolJobKind::kGet, .pool = claim.name, .claim_uid = claim.uid});
      continue;
    }
    base::LogWarning("the instance is gone, so the claim is deleted", {{"claim", claim.name}});
    parts_.events.Warning(object, "InstanceGone", "its agent pool does not exist any more");
    const absl::Status deleted = parts_.kube.Delete(kube::resources::kNodeClaims, object.key(),
                                                    {.uid = std::string(object.uid())});
    if (!deleted.ok()) base::LogError("claim could not be deleted", {{"error", deleted}});
  }
  std::erase_if(lost_claims_, [&](const auto& entry) { return !seen.contains(entry.first); });
}

void GarbageCollector::CollectNodes(const PoolView& view, const std::vector<kube::Object>& claims,
                                    const std::vector<kube::Object>& nodes) {
  const std::set<std::string> uids = UidsOf(claims);
  std::set<std::string> seen;
  for (const kube::Object& node : nodes) {
    if (!IsManagedNode(node)) continue;
    const std::string pool = PoolOfNode(node);
    const auto owners = node.owner_references();
    const bool owned =
        std::ranges::any_of(owners, [&](const auto& owner) { return uids.contains(owner.uid); });
    if (pool.empty() || owned || HasClaimNamed(claims, pool) || view.Find(pool) != nullptr)
      continue;
    const std::string uid(node.uid());
    seen.insert(uid);
    if (!SeenTwice(orphan_nodes_, uid, view.listed)) continue;
    base::LogWarning("node has neither claim nor agent pool and is removed",
                     {{"node", node.name()}});
    absl::Status removed =
        kube::RemoveFinalizer(parts_.kube, kube::resources::kNodes, node, kFinalizer).status();
    if (removed.ok()) {
      removed = parts_.kube.Delete(kube::resources::kNodes, node.key(), {.uid = uid});
    }
    if (!removed.ok()) base::LogError("node could not be removed", {{"error", removed}});
  }
  std::erase_if(orphan_nodes_, [&](const auto& entry) { return !seen.contains(entry.first); });
}

}  // namespace gpu_provisioner
