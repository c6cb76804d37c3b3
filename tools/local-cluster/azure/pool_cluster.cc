#include "local-cluster/azure/pool_cluster.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "common/net/digest.h"
#include "local-cluster/azure/answers.h"
#include "local-cluster/azure/pool_state.h"

namespace local_cluster::azure {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

constexpr absl::Duration kAbortTakes = absl::Seconds(5);
constexpr size_t kOperationsMax = 10'000;
constexpr size_t kHistoryMax = 100'000;

bool ValidName(std::string_view name) {
  return !name.empty() && name.size() <= 12 && absl::ascii_islower(name[0]) &&
         std::ranges::all_of(
             name, [](char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c); });
}

net::Response Invalid(std::string_view target, std::string_view message) {
  return ErrorAnswer(
      400, "InvalidParameter",
      absl::StrFormat("The value of parameter %s is invalid. Error details: %s", target, message));
}

net::Response PreconditionFailed() {
  return ErrorAnswer(412, "PreconditionFailed",
                     "The condition set by If-None-Match or If-Match was not met");
}

std::string ETag(int number) { return absl::StrFormat("%08x-0000-0000-0000-000000000000", number); }

}  // namespace

std::string PoolCluster::Pool::NodeName(int index) const {
  return absl::StrFormat("aks-%s-%s-vmss%06d", Lower(name), digits, index);
}

PoolCluster::PoolCluster(const ArmEmulatorOptions& options, Compute& compute, NodeWriter& nodes,
                         const base::Clock& clock)
    : options_(options), compute_(compute), nodes_(nodes), clock_(clock), random_(options.seed) {
  auto system = std::make_unique<Pool>();
  system->name = "nodepool1";
  system->system = true;
  system->state = "Succeeded";
  system->digits = Digits(8);
  system->created = clock.Now();
  system->properties = {{"count", 1},        {"vmSize", "Standard_D2s_v5"},
                        {"mode", "System"},  {"osType", "Linux"},
                        {"osSKU", "Ubuntu"}, {"type", "VirtualMachineScaleSets"}};
  pools_["nodepool1"] = std::move(system);
}

PoolCluster::~PoolCluster() = default;

std::string PoolCluster::Digits(int count) {
  std::string digits;
  for (int i = 0; i < count; ++i) digits.push_back(static_cast<char>('1' + random_() % 9));
  return digits;
}

PoolCluster::Pool* PoolCluster::Find(std::string_view name) {
  const auto pool = pools_.find(Lower(name));
  return pool == pools_.end() ? nullptr : pool->second.get();
}

const PoolCluster::Pool* PoolCluster::Find(std::string_view name) const {
  const auto pool = pools_.find(Lower(name));
  return pool == pools_.end() ? nullptr : pool->second.get();
}

void PoolCluster::After(absl::Duration wait, std::function<void()> task) {
  due_.emplace(clock_.Monotonic() + wait, std::move(task));
}

void PoolCluster::RunDue() {
  while (!due_.empty() && due_.begin()->first <= clock_.Monotonic()) {
    const auto task = std::move(due_.begin()->second);
    due_.erase(due_.begin());
    task();
  }
}

absl::Duration PoolCluster::NextDue() const {
  return due_.empty() ? absl::InfiniteDuration() : due_.begin()->first;
}

void PoolCluster::SetState(Pool& pool, std::string state) {
  pool.state = std::move(state);
  ++pool.etag;
  ++changes_;
  for (auto life = history_.rbegin(); life != history_.rend(); ++life) {
    if (life->generation != pool.generation) continue;
    life->states.emplace_back(clock_.Now(), pool.state);
    break;
  }
}

void PoolCluster::SetError(Pool& pool, std::string_view code, std::string_view message) {
  pool.properties["status"] =
      object{{"provisioningError",
              object{{"code", std::string(code)}, {"message", std::string(message)}}}};
}

// ---- Operations
// ----------------------------------------------------------------------------------

std::string PoolCluster::StartOperation(Pool& pool) {
  const std::string id = net::RandomUuid();
  RunningOperation operation{.start = clock_.Now()};
  operation.target = absl::StrFormat(
      "/subscriptions/%s/providers/Microsoft.ContainerService/locations/%s/operations/%s?"
      "api-version=2016-03-30&t=%s&c=%s&s=%s&h=%s",
      options_.subscription_id, options_.location, id, "6" + Digits(18), net::RandomHex(3000),
      net::RandomHex(300), net::RandomHex(40));
  const std::string target = operation.target;
  operations_[id] = std::move(operation);
  operation_order_.push_back(id);
  if (operation_order_.size() > kOperationsMax) {
    operations_.erase(operation_order_.front());
    operation_order_.pop_front();
  }
  pool.operation = id;
  return url_ + target;
}

void PoolCluster::EndOperation(const Pool& pool) {
  const auto running = operations_.find(pool.operation);
  if (running == operations_.end() || running->second.status != "InProgress") return;
  RunningOperation& operation = running->second;
  operation.end = clock_.Now();
  operation.status = pool.state == "Failed" || pool.state == "Canceled" ? pool.state : "Succeeded";
  const value properties = pool.properties;
  operation.error_code =
      std::string(kube::StringAt(properties, {"status", "provisioningError", "code"}));
  operation.error_message =
      std::string(kube::StringAt(properties, {"status", "provisioningError", "message"}));
}

net::Response PoolCluster::Operation(const net::Request& request, bool result_only) const {
  const std::string_view path = request.path();
  const auto found = operations_.find(std::string(path.substr(path.rfind('/') + 1)));
  if (found == operations_.end()) {
    return ErrorAnswer(404, "NotFound", "The operation was not found");
  }
  const RunningOperation& operation = found->second;
  std::string wanted = operation.target;
  if (result_only) {
    const size_t at = wanted.find("/operations/");
    wanted.replace(at, 12, "/operationresults/");
  }
  if (request.target != wanted) {
    return ErrorAnswer(403, "AuthenticationFailed", "The signature of the URL does not match");
  }
  if (result_only) {
    return operation.status == "InProgress" ? net::Response{.status = 202}
                                            : net::Response{.status = 204};
  }
  object body{{"name", std::string(found->first)},
              {"status", operation.status},
              {"startTime", kube::FormatMicroTime(operation.start)}};
  if (operation.status != "InProgress") body["endTime"] = kube::FormatMicroTime(operation.end);
  if (!operation.error_code.empty()) {
    body["error"] = object{{"code", operation.error_code}, {"message", operation.error_message}};
  }
  return JsonAnswer(200, body);
}

// ---- Reads
// ---------------------------------------------------------------------------------------

value PoolCluster::PoolJson(const std::string& base, const Pool& pool) const {
  object properties = pool.properties;
  properties["provisioningState"] = pool.state;
  properties["powerState"] = object{{"code", "Running"}};
  properties["eTag"] = ETag(pool.etag);
  const bool linux_image = pool.Text("osSKU") != "AzureLinux";
  properties["nodeImageVersion"] =
      linux_image ? "AKSUbuntu-2204gen2containerd-202601.01.0" : "AKSAzureLinux-V3gen2-202601.01.0";
  properties["orchestratorVersion"] = "1.33";
  properties["currentOrchestratorVersion"] = "1.33.0";
  // Left out where it has its default, as Azure does.
  if (pool.Text("scaleSetPriority") == "Regular") properties.erase("scaleSetPriority");
  for (const char* key : {"nodeLabels", "nodeTaints", "tags"}) {
    const auto* const member = properties.if_contains(key);
    const bool empty =
        member != nullptr && ((member->is_object() && member->get_object().empty()) ||
                              (member->is_array() && member->get_array().empty()));
    if (empty) properties.erase(key);
  }
  return object{{"id", absl::StrFormat("%s/agentPools/%s", base, pool.name)},
                {"name", pool.name},
                {"type", "Microsoft.ContainerService/managedClusters/agentPools"},
                {"properties", std::move(properties)}};
}

net::Response PoolCluster::Get(const std::string& base, const std::string& name) const {
  const Pool* const pool = Find(name);
  return pool == nullptr ? PoolNotFound() : JsonAnswer(200, PoolJson(base, *pool));
}

net::Response PoolCluster::List(const std::string& base, std::string_view query,
                                const std::optional<FaultAct>& fault) const {
  const std::string version = net::QueryParameter(query, "api-version").value_or("");
  const std::string kind = fault ? fault->list : "";
  const auto link = [&](const std::string& token) {
    return absl::StrFormat("%s%s/agentPools?%%24skipToken=%s&api-version=%s&skipToken=%s", url_,
                           base, token, version, token);
  };
  array pools;
  const bool next_page = net::QueryParameter(query, "skipToken").has_value();
  if (!next_page && kind != "empty") {
    for (const auto& [key, pool] : pools_) {
      const bool omitted = kind == "omit" && std::ranges::find(fault->list_pools, pool->name) !=
                                                 fault->list_pools.end();
      if (!omitted) pools.push_back(PoolJson(base, *pool));
    }
  }
  object body{{"value", std::move(pools)}};
  // The link is on the last page too, and leads to an empty one.
  if (!next_page && kind != "empty") body["nextLink"] = link("3138411");
  if (kind == "loop") body["nextLink"] = link("3138411");
  return JsonAnswer(200, body);
}

net::Response PoolCluster::Machines(const std::string& base, const std::string& name) const {
  const Pool* const pool = Find(name);
  if (pool == nullptr) return PoolNotFound();
  array machines;
  const bool exists = pool->state != "Creating" && pool->state != "Failed" && !pool->system;
  const int count = static_cast<int>(kube::IntAt(pool->properties, {"count"}, 1));
  for (int i = 0; exists && i < count; ++i) {
    machines.push_back(object{
        {"id",
         absl::StrFormat("%s/agentPools/%s/machines/%s", base, pool->name, pool->NodeName(i))},
        {"name", pool->NodeName(i)},
        {"type", "Microsoft.ContainerService/managedClusters/agentPools/machines"},
        {"properties",
         object{{"resourceId",
                 absl::StrFormat("/subscriptions/%s/resourceGroups/MC_%s_%s_%s/providers/"
                                 "Microsoft.Compute/virtualMachineScaleSets/aks-%s-%s-vmss/"
                                 "virtualMachines/%d",
                                 options_.subscription_id, options_.resource_group,
                                 options_.cluster_name, options_.location, Lower(pool->name),
                                 pool->digits, i)}}}});
  }
  return JsonAnswer(200, object{{"value", std::move(machines)}});
}

// ---- PUT
// -----------------------------------------------------------------------------------------

std::optional<net::Response> PoolCluster::CheckBody(const std::string& name, const value& body,
                                                    bool exists) const {
  if (!exists && !ValidName(name)) {
    return Invalid("agentPool.name", "must match ^[a-z][a-z0-9]{0,11}$");
  }
  const auto* const properties = kube::FindPath(body, {"properties"});
  if (properties == nullptr || !properties->is_object()) {
    return ErrorAnswer(400, "InvalidRequestContent", "properties is missing");
  }
  const std::string_view size = kube::StringAt(*properties, {"vmSize"});
  if (size.empty()) return Invalid("agentPoolProfile.vmSize", "must be given");
  if (compute_.FindSize(size) == nullptr) {
    return ErrorAnswer(
        400, "BadRequest",
        absl::StrFormat("The VM size of AgentPoolProfile:%s is not allowed in your subscription in "
                        "location '%s'. The available VM sizes are ...",
                        name, options_.location));
  }
  const int64_t count = kube::IntAt(*properties, {"count"}, 1);
  if (count < 0 || count > 1000) return Invalid("agentPoolProfile.count", "must be 0 to 1000");
  const int64_t disk = kube::IntAt(*properties, {"osDiskSizeGB"});
  if (disk < 0 || disk > 2048) return Invalid("agentPoolProfile.osDiskSizeGB", "must be 0 to 2048");
  const auto* const labels = kube::FindPath(*properties, {"nodeLabels"});
  if (labels != nullptr && labels->is_object()) {
    for (const auto& label : labels->get_object()) {
      const std::string key(label.key());
      const std::string domain = key.substr(0, key.find('/'));
      if (domain == "kubernetes.azure.com" || absl::EndsWith(domain, "kubernetes.io")) {
        return Invalid("agentPoolProfile.nodeLabels",
                       absl::StrFormat("label %s has a reserved prefix", key));
      }
    }
  }
  return std::nullopt;
}

net::Response PoolCluster::Put(const std::string& base, const std::string& name,
                               const net::Request& request, const std::optional<Outcome>& outcome) {
  const auto body = kube::ParseJson(request.body, 64);
  if (!body.ok()) {
    return ErrorAnswer(400, "InvalidRequestContent", "The request content was invalid JSON");
  }
  Pool* const pool = Find(name);
  if (auto refusal = CheckBody(name, *body, pool != nullptr)) return *refusal;
  const auto if_match = request.headers.Find("If-Match");
  if (request.headers.Find("If-None-Match") == "*" && pool != nullptr) return PreconditionFailed();
  if (if_match && (pool == nullptr || *if_match != ETag(pool->etag))) return PreconditionFailed();
  if (held_) return InProgressOther("Updating");
  if (pool != nullptr) return ChangePool(base, *pool, *body);
  if (static_cast<int>(pools_.size()) >= options_.pools_max) {
    return ErrorAnswer(400, "MaxAgentPoolsReached",
                       absl::StrFormat("The cluster has reached the maximum of %d agent pools",
                                       options_.pools_max));
  }
  return CreatePool(base, name, *body, outcome);
}

net::Response PoolCluster::ChangePool(const std::string& base, Pool& pool, const value& body) {
  if (pool.state == "Creating") return InProgressCreate(pool.created);
  if (pool.state == "Deleting") return InProgressOther(pool.name + " - Deleting");
  const std::string_view size = kube::StringAt(body, {"properties", "vmSize"});
  if (Lower(size) != Lower(pool.Text("vmSize"))) {
    return ErrorAnswer(400, "PropertyChangeNotAllowed",
                       "Changing property 'properties.vmSize' is not allowed.");
  }
  for (const auto& member : body.at("properties").as_object()) {
    pool.properties[member.key()] = member.value();
  }
  pool.properties.erase("status");
  pool.generation = ++generation_;
  SetState(pool, "Updating");
  const std::string key = Lower(pool.name);
  const uint64_t generation = pool.generation;
  After(options_.create_time / 4, [this, key, generation] { FinishCreate(key, generation, {}); });
  net::Response response = JsonAnswer(200, PoolJson(base, pool));
  response.headers.Set("Azure-AsyncOperation", StartOperation(pool));
  return response;
}

net::Response PoolCluster::CreatePool(const std::string& base, const std::string& name,
                                      const value& body, const std::optional<Outcome>& outcome) {
  auto made = std::make_unique<Pool>();
  Pool& pool = *made;
  pool.name = name;
  pool.properties = body.at("properties").as_object();
  pool.digits = Digits(8);
  pool.created = clock_.Now();
  pool.generation = ++generation_;
  if (auto refusal = compute_.Take(*compute_.FindSize(pool.Text("vmSize")), pool.spot())) {
    return *refusal;
  }
  pool.counted = true;
  const std::string key = Lower(name);
  pool.never_join = node_faults_[key].contains("never_join");
  pool.no_gpu = node_faults_[key].contains("no_gpu");
  pools_[key] = std::move(made);
  if (history_.size() < kHistoryMax) {
    history_.push_back(
        {.name = name, .uid = pool.uid(), .generation = pool.generation, .from = clock_.Now()});
  }
  SetState(pool, "Creating");
  net::Response response = JsonAnswer(201, PoolJson(base, pool));
  response.headers.Set("Azure-AsyncOperation", StartOperation(pool));

  const uint64_t generation = pool.generation;
  pool.allocated = compute_.Allocate(pool.Text("vmSize"), pool.zone());
  const int count = static_cast<int>(kube::IntAt(pool.properties, {"count"}, 1));
  if (pool.allocated && !(outcome && outcome->state != "Succeeded")) {
    After(options_.join_time, [this, key, generation, count] {
      Pool* const found = Find(key);
      if (found == nullptr || found->generation != generation) return;
      for (int i = 0; i < count; ++i) Join(*found, i);
    });
  }
  const absl::Duration takes = outcome && outcome->after ? *outcome->after : options_.create_time;
  After(takes, [this, key, generation, outcome] { FinishCreate(key, generation, outcome); });
  return response;
}

void PoolCluster::FinishCreate(const std::string& key, uint64_t generation,
                               const std::optional<Outcome>& outcome) {
  Pool* const pool = Find(key);
  if (pool == nullptr || pool->generation != generation) return;
  if (pool->held) {
    After(absl::Seconds(1),
          [this, key, generation, outcome] { FinishCreate(key, generation, outcome); });
    return;
  }
  if (pool->state != "Creating" && pool->state != "Updating") return;
  if (outcome && outcome->state != "Succeeded") {
    SetError(*pool, outcome->error_code, outcome->error_message);
    SetState(*pool, outcome->state);
  } else if (pool->state == "Creating" && !pool->allocated) {
    const bool zonal = !pool->zone().empty();
    SetError(*pool, "ReconcileVMSSAgentPoolFailed",
             absl::StrFormat("Code=\"%s\" Message=\"Allocation failed. We do not have sufficient "
                             "capacity for the requested VM size in this %s. Read more about "
                             "improving likelihood of allocation success at "
                             "http://aka.ms/allocation-guidance\"",
                             zonal ? "ZonalAllocationFailed" : "AllocationFailed",
                             zonal ? "zone" : "region"));
    SetState(*pool, "Failed");
  } else {
    SetState(*pool, "Succeeded");
  }
  EndOperation(*pool);
}

// ---- DELETE and abort
// ----------------------------------------------------------------------------

net::Response PoolCluster::Delete(const std::string& name, const net::Request& request,
                                  const std::optional<Outcome>& outcome) {
  Pool* const pool = Find(name);
  if (pool == nullptr) return {.status = 204};
  const auto if_match = request.headers.Find("If-Match");
  if (if_match && *if_match != ETag(pool->etag)) return PreconditionFailed();
  if (held_) return InProgressOther("Updating");
  if (pool->system) {
    return ErrorAnswer(400, "OperationNotAllowed", "The last System pool cannot be deleted");
  }
  if (pool->state == "Creating" || pool->state == "Canceling") {
    return InProgressCreate(pool->created);
  }
  net::Response response{.status = 202};
  if (pool->state != "Deleting") {
    SetState(*pool, "Deleting");
    const std::string key = Lower(pool->name);
    const uint64_t generation = pool->generation;
    const absl::Duration takes = outcome && outcome->after ? *outcome->after : options_.delete_time;
    After(takes, [this, key, generation, outcome] { FinishDelete(key, generation, outcome); });
    StartOperation(*pool);
  }
  std::string link = url_ + operations_[pool->operation].target;
  response.headers.Set("Azure-AsyncOperation", link);
  link.replace(link.find("/operations/"), 12, "/operationresults/");
  response.headers.Set("Location", link);
  return response;
}

void PoolCluster::FinishDelete(const std::string& key, uint64_t generation,
                               const std::optional<Outcome>& outcome) {
  Pool* const pool = Find(key);
  if (pool == nullptr || pool->generation != generation || pool->state != "Deleting") return;
  if (outcome && outcome->state != "Succeeded") {
    SetError(*pool, outcome->error_code, outcome->error_message);
    SetState(*pool, outcome->state);
    EndOperation(*pool);
    return;
  }
  EndOperation(*pool);
  Erase(key);
}

net::Response PoolCluster::Abort(const std::string& name) {
  Pool* const pool = Find(name);
  if (pool == nullptr) return PoolNotFound();
  if (pool->state != "Creating") {
    return ErrorAnswer(409, "OperationNotAllowed", "There is no operation that could be aborted");
  }
  SetState(*pool, "Canceling");
  const std::string key = Lower(pool->name);
  const uint64_t generation = pool->generation;
  After(std::min(kAbortTakes, options_.create_time), [this, key, generation] {
    Pool* const found = Find(key);
    if (found == nullptr || found->generation != generation || found->state != "Canceling") return;
    RemoveNodes(*found);
    SetState(*found, "Canceled");
    EndOperation(*found);
  });
  return {.status = 202};
}

void PoolCluster::Erase(const std::string& key) {
  const auto found = pools_.find(key);
  if (found == pools_.end()) return;
  Pool& pool = *found->second;
  RemoveNodes(pool);
  if (const auto* const type = compute_.FindSize(pool.Text("vmSize"))) {
    if (pool.counted) compute_.GiveBack(*type, pool.spot());
    if (pool.allocated) compute_.Deallocate(pool.Text("vmSize"), pool.zone());
  }
  for (auto life = history_.rbegin(); life != history_.rend(); ++life) {
    if (life->name != pool.name || life->until != absl::InfiniteFuture()) continue;
    life->until = clock_.Now();
    break;
  }
  pools_.erase(found);
  ++changes_;
}

}  // namespace local_cluster::azure
