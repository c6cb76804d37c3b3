#include "local-cluster/azure/fault_rules.h"

#include "absl/strings/match.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "local-cluster/azure/answers.h"

namespace local_cluster::azure {
namespace {

constexpr size_t kRulesMax = 10'000;

// "30s", or a number of seconds.
absl::StatusOr<absl::Duration> DurationOf(const boost::json::value& value, const char* name) {
  if (value.is_number()) return absl::Seconds(value.to_number<double>());
  absl::Duration duration;
  if (value.is_string() && absl::ParseDuration(value.get_string().c_str(), &duration)) {
    return duration;
  }
  return absl::InvalidArgumentError(std::string("act.") + name + ": must be seconds or like 30s");
}

std::string TextOrJson(const boost::json::value& value) {
  return value.is_string() ? value.get_string().c_str() : boost::json::serialize(value);
}

absl::StatusOr<Outcome> OutcomeOf(const boost::json::value& json) {
  Outcome outcome;
  outcome.state = std::string(kube::StringAt(json, {"state"}, "Failed"));
  outcome.error_code = std::string(kube::StringAt(json, {"error", "code"}));
  outcome.error_message = std::string(kube::StringAt(json, {"error", "message"}));
  if (const auto* const after = kube::FindPath(json, {"after"})) {
    ASSIGN_OR_RETURN(outcome.after, DurationOf(*after, "outcome.after"));
  }
  return outcome;
}

absl::StatusOr<FaultAct> ActOf(const boost::json::value& json) {
  FaultAct act;
  act.apply = kube::BoolAt(json, {"apply"});
  act.cut = std::string(kube::StringAt(json, {"cut"}));
  act.list = std::string(kube::StringAt(json, {"list"}));
  act.list_pools = kube::StringsAt(json, {"pools"});
  if (const auto* const status = kube::FindPath(json, {"status"}); status && status->is_int64()) {
    net::Response answer{.status = static_cast<int>(status->get_int64())};
    if (const auto* const body = kube::FindPath(json, {"body"})) answer.body = TextOrJson(*body);
    if (const auto* const headers = kube::FindPath(json, {"headers"});
        headers && headers->is_object()) {
      for (const auto& header : headers->get_object()) {
        answer.headers.Add(std::string(header.key()), TextOrJson(header.value()));
      }
    }
    act.answer = std::move(answer);
  }
  if (const auto* const raw = kube::FindPath(json, {"raw"})) act.raw = TextOrJson(*raw);
  if (const auto* const delay = kube::FindPath(json, {"delay"})) {
    ASSIGN_OR_RETURN(act.delay, DurationOf(*delay, "delay"));
  }
  if (const auto* const outcome = kube::FindPath(json, {"outcome"})) {
    ASSIGN_OR_RETURN(act.outcome, OutcomeOf(*outcome));
  }
  return act;
}

}  // namespace

absl::Status FaultRules::Add(const boost::json::value& json) {
  if (rules_.size() >= kRulesMax) return absl::ResourceExhaustedError("too many rules");
  const auto* const act = kube::FindPath(json, {"act"});
  if (act == nullptr) return absl::InvalidArgumentError("act: is missing");
  Rule rule;
  ASSIGN_OR_RETURN(rule.act, ActOf(*act));
  rule.method = std::string(kube::StringAt(json, {"match", "method"}));
  rule.path = Lower(kube::StringAt(json, {"match", "path"}));
  rule.pool = Lower(kube::StringAt(json, {"match", "pool"}));
  rule.nth = static_cast<int>(kube::IntAt(json, {"match", "nth"}, 1));
  rule.times = static_cast<int>(kube::IntAt(json, {"match", "times"}, 1));
  const std::string id(kube::StringAt(json, {"id"}));
  rules_[id.empty() ? "rule" + std::to_string(rules_.size() + 1) : id] = std::move(rule);
  return absl::OkStatus();
}

bool FaultRules::Remove(const std::string& id) { return rules_.erase(id) > 0; }

std::optional<FaultAct> FaultRules::Match(std::string_view method, std::string_view path,
                                          std::string_view pool) {
  const std::string lower_path = Lower(path);
  const std::string lower_pool = Lower(pool);
  std::optional<FaultAct> found;
  for (auto& [id, rule] : rules_) {
    if (!rule.method.empty() && rule.method != method) continue;
    if (!rule.path.empty() && !absl::StrContains(lower_path, rule.path)) continue;
    if (absl::EndsWith(rule.pool, "*")) {
      if (!absl::StartsWith(lower_pool, rule.pool.substr(0, rule.pool.size() - 1))) continue;
    } else if (!rule.pool.empty() && rule.pool != lower_pool) {
      continue;
    }
    ++rule.calls;
    const bool due =
        rule.calls >= rule.nth && (rule.times == 0 || rule.calls < rule.nth + rule.times);
    if (due && !found) found = rule.act;
  }
  return found;
}

}  // namespace local_cluster::azure
