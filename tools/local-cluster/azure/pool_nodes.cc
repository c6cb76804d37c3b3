// PoolCluster: its Nodes, other people's hands, history, and how it survives a restart.

#include <algorithm>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "local-cluster/azure/answers.h"
#include "local-cluster/azure/pool_cluster.h"
#include "local-cluster/azure/pool_state.h"

namespace local_cluster::azure {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

std::vector<std::string> Texts(const object& from, const char* key) {
  std::vector<std::string> texts;
  const auto* const list = from.if_contains(key);
  if (list == nullptr || !list->is_array()) return texts;
  for (const auto& entry : list->get_array()) {
    if (entry.is_string()) texts.emplace_back(entry.get_string().c_str());
  }
  return texts;
}

}  // namespace

void PoolCluster::Join(Pool& pool, int index) {
  if (pool.never_join || std::ranges::find(pool.nodes, index) != pool.nodes.end()) return;
  const std::string size = pool.Text("vmSize");
  const catalog::GpuType* const type = compute_.FindSize(size);
  NodeSpec node{.name = pool.NodeName(index)};
  node.provider_id = absl::StrFormat(
      "azure:///subscriptions/%s/resourceGroups/mc_%s_%s_%s/providers/Microsoft.Compute/"
      "virtualMachineScaleSets/aks-%s-%s-vmss/virtualMachines/%d",
      options_.subscription_id, Lower(options_.resource_group), Lower(options_.cluster_name),
      Lower(options_.location), Lower(pool.name), pool.digits, index);
  const std::string arch = type == nullptr ? "amd64" : type->arch;
  const std::string zone = pool.zone();
  node.labels = {
      {"agentpool", pool.name},
      {"kubernetes.azure.com/agentpool", pool.name},
      {"kubernetes.azure.com/cluster", absl::StrFormat("MC_%s_%s_%s", options_.resource_group,
                                                       options_.cluster_name, options_.location)},
      {"kubernetes.azure.com/mode", "user"},
      {"kubernetes.io/arch", arch},
      {"beta.kubernetes.io/arch", arch},
      {"kubernetes.io/os", "linux"},
      {"beta.kubernetes.io/os", "linux"},
      {"kubernetes.io/hostname", node.name},
      {"node.kubernetes.io/instance-type", size},
      {"beta.kubernetes.io/instance-type", size},
      {"topology.kubernetes.io/region", options_.location},
      {"topology.kubernetes.io/zone", zone.empty() ? "0" : options_.location + "-" + zone}};
  if (const auto* const labels = pool.properties.if_contains("nodeLabels");
      labels && labels->is_object()) {
    for (const auto& label : labels->get_object()) {
      if (label.value().is_string()) {
        node.labels[std::string(label.key())] = label.value().get_string().c_str();
      }
    }
  }
  node.taints = Texts(pool.properties, "nodeTaints");
  if (pool.spot()) {
    node.labels["kubernetes.azure.com/scalesetpriority"] = "spot";
    node.taints.emplace_back("kubernetes.azure.com/scalesetpriority=spot:NoSchedule");
  }
  node.arch = arch;
  node.gpus = type == nullptr ? 0 : type->gpus;
  node.image_version = "AKSUbuntu-2204gen2containerd-202601.01.0";
  const bool device_late = options_.device_time > absl::ZeroDuration() || pool.no_gpu;
  node.with_gpu = !device_late;
  pool.nodes.push_back(index);
  ++changes_;
  nodes_.Push({.kind = NodeAction::Kind::kCreate, .node = node});
  if (!device_late || pool.no_gpu || node.gpus == 0) return;
  const std::string key = Lower(pool.name);
  const uint64_t generation = pool.generation;
  After(options_.device_time, [this, key, generation, node] {
    const Pool* const found = Find(key);
    if (found == nullptr || found->generation != generation || found->no_gpu) return;
    nodes_.Push({.kind = NodeAction::Kind::kSetGpu, .node = node, .value = true});
  });
}

void PoolCluster::RemoveNodes(Pool& pool) {
  for (const int index : pool.nodes) {
    nodes_.Push({.kind = NodeAction::Kind::kDelete, .node = {.name = pool.NodeName(index)}});
  }
  pool.nodes.clear();
}

net::Response PoolCluster::ControlPool(const std::string& name, const value& body) {
  const std::string what(kube::StringAt(body, {"do"}));
  Pool* pool = Find(name);
  if (what == "create") {
    if (pool != nullptr) return ErrorAnswer(409, "Conflict", "the pool exists");
    object properties{{"count", 1},
                      {"mode", "User"},
                      {"vmSize", std::string(kube::StringAt(body, {"vmSize"}, "Standard_D2s_v5"))},
                      {"osType", "Linux"},
                      {"osSKU", "Ubuntu"}};
    if (const auto* const labels = kube::FindPath(body, {"labels"})) {
      properties["nodeLabels"] = *labels;
    }
    if (const auto* const tags = kube::FindPath(body, {"tags"})) properties["tags"] = *tags;
    net::Request request{.method = "PUT",
                         .body = boost::json::serialize(object{{"properties", properties}})};
    return Put("", name, request, std::nullopt);
  }
  if (pool == nullptr) return PoolNotFound();
  if (what == "delete") {
    if (pool->state == "Creating") Erase(Lower(name));
    return Delete(name, {}, std::nullopt);
  }
  if (what == "fail") {
    SetError(*pool, kube::StringAt(body, {"error", "code"}, "ReconcileVMSSAgentPoolFailed"),
             kube::StringAt(body, {"error", "message"}, "failed by hand"));
    SetState(*pool, "Failed");
  } else if (what == "upgrade") {
    SetState(*pool, "Upgrading");
    const std::string key = Lower(name);
    After(options_.create_time, [this, key] {
      Pool* const found = Find(key);
      if (found != nullptr && found->state == "Upgrading") SetState(*found, "Succeeded");
    });
  } else if (what == "scale") {
    const int count = static_cast<int>(kube::IntAt(body, {"count"}, 2));
    pool->properties["count"] = count;
    ++pool->etag;
    for (int i = 0; i < std::min(count, 1000); ++i) Join(*pool, i);
  } else if (what == "hold" || what == "release") {
    pool->held = what == "hold";
  } else {
    return ErrorAnswer(400, "BadRequest",
                       "do: must be create, delete, scale, upgrade, fail, hold "
                       "or release");
  }
  return JsonAnswer(200, PoolJson("", *pool));
}

net::Response PoolCluster::ControlNode(const std::string& name, std::string_view what) {
  Pool* const pool = Find(name);
  if (what == "never_join" || what == "no_gpu") {
    // Also of pools to come.
    node_faults_[Lower(name)].insert(std::string(what));
    if (pool != nullptr) (what == "never_join" ? pool->never_join : pool->no_gpu) = true;
    return JsonAnswer(200, object{});
  }
  if (pool == nullptr) return PoolNotFound();
  const catalog::GpuType* const type = compute_.FindSize(pool->Text("vmSize"));
  for (const int index : pool->nodes) {
    NodeAction action{.node = {.name = pool->NodeName(index), .gpus = type ? type->gpus : 0}};
    if (what == "gpu") {
      action.kind = NodeAction::Kind::kSetGpu;
      action.value = true;
    } else if (what == "ready" || what == "not_ready") {
      action.kind = NodeAction::Kind::kSetReady;
      action.value = what == "ready";
    } else if (what == "evict") {
      action.kind = NodeAction::Kind::kEvict;
    } else {
      return ErrorAnswer(400, "BadRequest",
                         "do: must be never_join, no_gpu, gpu, not_ready, ready or evict");
    }
    nodes_.Push(std::move(action));
  }
  if (what == "gpu") {
    pool->no_gpu = false;
    node_faults_[Lower(name)].erase("no_gpu");
  }
  return JsonAnswer(200, object{});
}

value PoolCluster::History() const {
  array lives;
  for (const Life& life : history_) {
    array states;
    for (const auto& [when, state] : life.states) {
      states.push_back(object{{"at", kube::FormatMicroTime(when)}, {"state", state}});
    }
    object json{{"name", life.name},
                {"uid", life.uid},
                {"from", kube::FormatMicroTime(life.from)},
                {"states", std::move(states)}};
    if (life.until != absl::InfiniteFuture()) json["until"] = kube::FormatMicroTime(life.until);
    lives.push_back(std::move(json));
  }
  return lives;
}

std::string PoolCluster::Save() const {
  array pools;
  for (const auto& [key, pool] : pools_) {
    if (pool->system) continue;
    array nodes;
    for (const int index : pool->nodes) nodes.emplace_back(index);
    pools.push_back(object{{"name", pool->name},
                           {"state", pool->state},
                           {"digits", pool->digits},
                           {"etag", pool->etag},
                           {"created", kube::FormatTime(pool->created)},
                           {"nodes", std::move(nodes)},
                           {"properties", pool->properties}});
  }
  return boost::json::serialize(object{{"pools", std::move(pools)}});
}

void PoolCluster::Restore(std::string_view text) {
  const auto json = kube::ParseJson(text);
  const auto* const pools = json.ok() ? kube::FindPath(*json, {"pools"}) : nullptr;
  if (pools == nullptr || !pools->is_array()) return;
  for (const auto& entry : pools->get_array()) {
    auto pool = std::make_unique<Pool>();
    pool->name = std::string(kube::StringAt(entry, {"name"}));
    pool->state = std::string(kube::StringAt(entry, {"state"}));
    pool->digits = std::string(kube::StringAt(entry, {"digits"}));
    pool->etag = static_cast<int>(kube::IntAt(entry, {"etag"}, 1));
    pool->created = kube::ParseTime(kube::StringAt(entry, {"created"})).value_or(clock_.Now());
    pool->generation = ++generation_;
    const auto* const properties = kube::FindPath(entry, {"properties"});
    if (pool->name.empty() || properties == nullptr || !properties->is_object()) continue;
    pool->properties = properties->get_object();
    const auto* const nodes = kube::FindPath(entry, {"nodes"});
    if (nodes != nullptr && nodes->is_array()) {
      for (const auto& index : nodes->get_array()) {
        if (index.is_int64()) pool->nodes.push_back(static_cast<int>(index.get_int64()));
      }
    }
    if (const auto* const type = compute_.FindSize(pool->Text("vmSize"))) {
      pool->counted = !compute_.Take(*type, pool->spot()).has_value();
      pool->allocated = true;
    }
    // What was going on goes on.
    const std::string key = Lower(pool->name);
    const uint64_t generation = pool->generation;
    if (pool->state == "Creating" || pool->state == "Updating") {
      After(options_.join_time, [this, key, generation] {
        Pool* const found = Find(key);
        if (found != nullptr && found->generation == generation) Join(*found, 0);
      });
      After(options_.create_time, [this, key, generation] { FinishCreate(key, generation, {}); });
    } else if (pool->state == "Deleting" || pool->state == "Canceling") {
      pool->state = "Deleting";
      After(options_.delete_time, [this, key, generation] { FinishDelete(key, generation, {}); });
    }
    pools_[key] = std::move(pool);
  }
}

}  // namespace local_cluster::azure
