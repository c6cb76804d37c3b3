#include "gpu-provisioner/arm/agent_pool_client.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"

namespace gpu_provisioner {
namespace {

constexpr int kPagesMax = 50;

// The pool of a 2xx answer. An answer that is none of what was asked for leaves the outcome open.
PoolAnswer WithPool(ArmAnswer answer) {
  PoolAnswer result{.status = answer.status, .failure = std::move(answer.failure)};
  if (!result.failure.ok()) return result;
  absl::StatusOr<AgentPool> pool = ParseAgentPool(answer.body);
  if (pool.ok()) {
    result.pool = *std::move(pool);
  } else {
    result.failure = UnknownOutcome(std::string(pool.status().message()));
  }
  return result;
}

PoolAnswer WithoutPool(ArmAnswer answer) {
  return {.status = answer.status, .failure = std::move(answer.failure)};
}

const boost::json::array* ValuesOf(const boost::json::value& json) {
  const auto* const root = json.if_object();
  const auto* const list = root == nullptr ? nullptr : root->if_contains("value");
  return list == nullptr ? nullptr : list->if_array();
}

std::string TextAt(const boost::json::value& json, const char* pointer) {
  boost::system::error_code error;
  const auto* const found = json.find_pointer(pointer, error);
  return found != nullptr && found->is_string() ? found->get_string().c_str() : "";
}

int64_t NumberAt(const boost::json::value& json, const char* pointer) {
  boost::system::error_code error;
  const auto* const found = json.find_pointer(pointer, error);
  if (found == nullptr) return 0;
  if (found->is_int64()) return found->get_int64();
  return found->is_double() ? static_cast<int64_t>(found->get_double()) : 0;
}

std::vector<std::string> TextsAt(const boost::json::value& json, const char* pointer) {
  std::vector<std::string> texts;
  boost::system::error_code error;
  const auto* const found = json.find_pointer(pointer, error);
  if (found == nullptr || !found->is_array()) return texts;
  for (const auto& entry : found->get_array()) {
    if (entry.is_string()) texts.emplace_back(entry.get_string().c_str());
  }
  return texts;
}

SkuFacts SkuOf(const boost::json::value& entry) {
  SkuFacts sku{.name = TextAt(entry, "/name"), .family = TextAt(entry, "/family")};
  sku.zones = TextsAt(entry, "/locationInfo/0/zones");
  std::ranges::sort(sku.zones);
  boost::system::error_code error;
  const auto* const restrictions = entry.find_pointer("/restrictions", error);
  if (restrictions != nullptr && restrictions->is_array()) {
    for (const auto& restriction : restrictions->get_array()) {
      if (TextAt(restriction, "/type") == "Location") sku.restricted = true;
      if (TextAt(restriction, "/type") == "Zone") {
        sku.restricted_zones = TextsAt(restriction, "/restrictionInfo/zones");
      }
    }
  }
  const auto* const capabilities = entry.find_pointer("/capabilities", error);
  if (capabilities == nullptr || !capabilities->is_array()) return sku;
  for (const auto& capability : capabilities->get_array()) {
    if (TextAt(capability, "/name") != "vCPUs") continue;
    sku.vcpus = std::clamp<int64_t>(std::atoll(TextAt(capability, "/value").c_str()), 0, 100'000);
  }
  return sku;
}

}  // namespace

std::string AgentPoolClient::PoolTarget(const std::string& name, std::string_view suffix,
                                        std::string_view query) const {
  return absl::StrFormat(
      "/subscriptions/%s/resourceGroups/%s/providers/Microsoft.ContainerService/managedClusters/%s/"
      "agentPools%s%s%s?api-version=%s%s",
      path_.subscription_id, net::PercentEncode(path_.resource_group),
      net::PercentEncode(path_.cluster_name), name.empty() ? "" : "/", net::PercentEncode(name),
      suffix, path_.api_version, query);
}

std::optional<std::string> AgentPoolClient::TargetOfLink(const std::string& link) const {
  const auto url = net::ParseUrl(link);
  const auto arm = net::ParseUrl(path_.arm_url);
  if (!url.ok() || !arm.ok() || !EqualFolded(url->host, arm->host) || url->port != arm->port ||
      url->scheme != arm->scheme) {
    return std::nullopt;
  }
  return url->target;
}

PoolAnswer AgentPoolClient::Get(const std::string& name, const std::string& correlation) {
  return WithPool(arm_.Call({.operation = ArmOperation::kGet,
                             .target = PoolTarget(name),
                             .pool = name,
                             .correlation = correlation}));
}

PoolList AgentPoolClient::List() {
  PoolList list;
  std::set<std::string> seen;
  std::string target = PoolTarget("");
  for (int page_number = 0; page_number < kPagesMax; ++page_number) {
    seen.insert(target);
    ArmAnswer answer = arm_.Call({.operation = ArmOperation::kList, .target = target});
    if (!answer.failure.ok()) {
      list.failure = std::move(answer.failure);
      return list;
    }
    absl::StatusOr<AgentPoolPage> page = ParseAgentPoolPage(answer.body);
    if (!page.ok()) {
      list.failure = UnknownOutcome(std::string(page.status().message()));
      return list;
    }
    const bool empty = page->pools.empty();
    std::ranges::move(page->pools, std::back_inserter(list.pools));
    // The link of the last page leads to an empty one.
    if (page->next_link.empty() || (empty && page_number > 0)) {
      list.complete = true;
      return list;
    }
    const std::optional<std::string> next = TargetOfLink(page->next_link);
    if (!next) {
      list.failure = UnknownOutcome("list agent pools: nextLink leads to another host");
      return list;
    }
    if (seen.contains(*next)) return list;
    target = *next;
  }
  return list;
}

PoolAnswer AgentPoolClient::Put(const std::string& name, const std::string& body,
                                const std::string& etag, const std::string& correlation) {
  ArmCall call{.operation = ArmOperation::kPut,
               .method = "PUT",
               .target = PoolTarget(name),
               .pool = name,
               .correlation = correlation,
               .body = body};
  if (etag.empty()) {
    call.headers.Set("If-None-Match", "*");
  } else {
    call.headers.Set("If-Match", etag);
  }
  return WithPool(arm_.Call(call));
}

PoolAnswer AgentPoolClient::Delete(const std::string& name, const std::string& etag,
                                   bool ignore_disruption_budget, const std::string& correlation) {
  ArmCall call{.operation = ArmOperation::kDelete,
               .method = "DELETE",
               .target = PoolTarget(
                   name, "", ignore_disruption_budget ? "&ignore-pod-disruption-budget=true" : ""),
               .pool = name,
               .correlation = correlation};
  if (!etag.empty()) call.headers.Set("If-Match", etag);
  return WithoutPool(arm_.Call(call));
}

PoolAnswer AgentPoolClient::Abort(const std::string& name, const std::string& correlation) {
  return WithoutPool(arm_.Call({.operation = ArmOperation::kAbort,
                                .method = "POST",
                                .target = PoolTarget(name, "/abort"),
                                .pool = name,
                                .correlation = correlation}));
}

std::vector<Machine> AgentPoolClient::Machines(const std::string& name, ArmFailure& failure) {
  ArmAnswer answer = arm_.Call({.operation = ArmOperation::kMachines,
                                .target = PoolTarget(name, "/machines"),
                                .pool = name});
  failure = std::move(answer.failure);
  std::vector<Machine> machines;
  if (!failure.ok()) return machines;
  boost::system::error_code error;
  const auto json = boost::json::parse(answer.body, error);
  const auto* const values = error ? nullptr : ValuesOf(json);
  if (values == nullptr) {
    failure = UnknownOutcome("list machines: not what was asked for");
    return machines;
  }
  for (const auto& entry : *values) {
    machines.push_back({TextAt(entry, "/name"), TextAt(entry, "/properties/resourceId")});
  }
  return machines;
}

std::map<std::string, QuotaUsage> AgentPoolClient::Usages(ArmFailure& failure) {
  ArmAnswer answer = arm_.Call(
      {.operation = ArmOperation::kUsages,
       .target = absl::StrFormat("/subscriptions/%s/providers/Microsoft.Compute/locations/%s/"
                                 "usages?api-version=2024-07-01",
                                 path_.subscription_id, net::PercentEncode(path_.location))});
  failure = std::move(answer.failure);
  std::map<std::string, QuotaUsage> usages;
  if (!failure.ok()) return usages;
  boost::system::error_code error;
  const auto json = boost::json::parse(answer.body, error);
  const auto* const values = error ? nullptr : ValuesOf(json);
  if (values == nullptr) {
    failure = UnknownOutcome("list usages: not what was asked for");
    return usages;
  }
  for (const auto& entry : *values) {
    const std::string family = Folded(TextAt(entry, "/name/value"));
    if (family.empty()) continue;
    usages[family] = {NumberAt(entry, "/limit"), NumberAt(entry, "/currentValue")};
  }
  return usages;
}

std::map<std::string, SkuFacts> AgentPoolClient::Skus(ArmFailure& failure) {
  std::map<std::string, SkuFacts> skus;
  const std::string filter =
      net::PercentEncode(absl::StrFormat("location eq '%s'", path_.location));
  std::string target = absl::StrFormat(
      "/subscriptions/%s/providers/Microsoft.Compute/skus?"
      "api-version=2021-07-01&$filter=%s",
      path_.subscription_id, filter);
  for (int page = 0; page < kPagesMax; ++page) {
    ArmAnswer answer = arm_.Call({.operation = ArmOperation::kSkus, .target = target});
    failure = std::move(answer.failure);
    if (!failure.ok()) return skus;
    boost::system::error_code error;
    const auto json = boost::json::parse(answer.body, error);
    const auto* const values = error ? nullptr : ValuesOf(json);
    if (values == nullptr) {
      failure = UnknownOutcome("list sizes: not what was asked for");
      return skus;
    }
    for (const auto& entry : *values) {
      if (TextAt(entry, "/resourceType") != "virtualMachines") continue;
      SkuFacts sku = SkuOf(entry);
      const std::string key = Folded(sku.name);
      if (!key.empty()) skus[key] = std::move(sku);
    }
    const std::string link = TextAt(json, "/nextLink");
    const auto next = link.empty() ? std::nullopt : TargetOfLink(link);
    if (!next) return skus;
    target = *next;
  }
  return skus;
}

}  // namespace gpu_provisioner
