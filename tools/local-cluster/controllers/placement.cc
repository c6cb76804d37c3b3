#include <algorithm>
#include <set>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

#include "boost/json.hpp"
#include "common/kube/conditions.h"
#include "common/kube/json.h"
#include "local-cluster/controllers/objects.h"
#include "local-cluster/controllers/scheduler.h"

namespace local_cluster {
namespace {

namespace json = boost::json;

constexpr char kHostLabel[] = "kubernetes.io/hostname";
// The API server sets these requests' defaults from limits; where it did not, limits count.
Resources RequestsOf(const json::value& container) {
  Resources out;
  for (const std::string_view list : {"limits", "requests"}) {
    const json::value* amounts = kube::FindPath(container, {"resources", list});
    if (amounts == nullptr || !amounts->is_object()) continue;
    for (const auto& entry : amounts->get_object()) {
      const std::string name(entry.key());
      std::string text(kube::StringAt(*amounts, {name}));
      if (entry.value().is_int64()) text = std::to_string(entry.value().get_int64());
      out[name] = kube::ParseQuantity(text).value_or(0);
    }
  }
  return out;
}

void AddTo(Resources& sum, const Resources& more) {
  for (const auto& [name, amount] : more) sum[name] += amount;
}

bool Tolerates(const json::value& toleration, std::string_view key, std::string_view value,
               std::string_view effect) {
  const std::string_view wanted_effect = kube::StringAt(toleration, {"effect"});
  if (!wanted_effect.empty() && wanted_effect != effect) return false;
  const std::string_view wanted_key = kube::StringAt(toleration, {"key"});
  const bool exists = kube::StringAt(toleration, {"operator"}, "Equal") == "Exists";
  if (wanted_key.empty()) return exists;
  return wanted_key == key && (exists || kube::StringAt(toleration, {"value"}) == value);
}

// "" when all taints are tolerated, else the first one's text.
std::string UntoleratedTaint(const kube::Object& pod, const kube::Object& node) {
  for (const json::value& taint : ArrayAt(node.json(), {"spec", "taints"})) {
    const std::string_view effect = kube::StringAt(taint, {"effect"});
    if (effect != "NoSchedule" && effect != "NoExecute") continue;
    const std::string_view key = kube::StringAt(taint, {"key"});
    const std::string_view value = kube::StringAt(taint, {"value"});
    const bool tolerated = std::ranges::any_of(
        ArrayAt(pod.json(), {"spec", "tolerations"}),
        [&](const json::value& toleration) { return Tolerates(toleration, key, value, effect); });
    if (!tolerated) return absl::StrFormat("{%s: %s}", key, value);
  }
  return "";
}

bool MatchesTerm(const json::value& term, const kube::Object& node,
                 const std::map<std::string, std::string>& labels) {
  const json::array& expressions = ArrayAt(term, {"matchExpressions"});
  const json::array& fields = ArrayAt(term, {"matchFields"});
  if (expressions.empty() && fields.empty()) return false;
  const std::map<std::string, std::string> names = {{"metadata.name", std::string(node.name())}};
  return std::ranges::all_of(expressions,
                             [&](const json::value& e) { return MatchesExpression(e, labels); }) &&
         std::ranges::all_of(fields,
                             [&](const json::value& e) { return MatchesExpression(e, names); });
}

bool MatchesNodeAffinity(const kube::Object& pod, const kube::Object& node) {
  const std::map<std::string, std::string> labels = node.labels();
  if (const json::value* selector = pod.Find({"spec", "nodeSelector"});
      selector && selector->is_object()) {
    for (const auto& entry : selector->get_object()) {
      const std::string key(entry.key());
      const auto label = labels.find(key);
      if (label == labels.end() || label->second != kube::StringAt(*selector, {key})) return false;
    }
  }
  const json::value* required = pod.Find(
      {"spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"});
  if (required == nullptr || !required->is_object()) return true;
  return std::ranges::any_of(
      ArrayAt(*required, {"nodeSelectorTerms"}),
      [&](const json::value& term) { return MatchesTerm(term, node, labels); });
}

// Of one Node, for one Pod.
class NodeFit {
 public:
  NodeFit(const kube::Object& pod, const kube::Object& node,
          const std::map<std::string, const kube::Object*>& nodes_by_name,
          const std::vector<kube::Object>& pods)
      : pod_(pod), node_(node), nodes_by_name_(nodes_by_name), pods_(pods) {}

  // Empty: the Pod fits. In the order of kube-scheduler's filters.
  std::vector<std::string> Reasons() const {
    if (node_.BoolAt({"spec", "unschedulable"})) return {"node(s) were unschedulable"};
    if (const std::string taint = UntoleratedTaint(pod_, node_); !taint.empty()) {
      return {absl::StrFormat("node(s) had untolerated taint %s", taint)};
    }
    if (!kube::IsConditionTrue(node_, "Ready")) {
      return {"node(s) had untolerated taint {node.kubernetes.io/not-ready: }"};
    }
    if (!MatchesNodeAffinity(pod_, node_)) {
      return {"node(s) didn't match Pod's node affinity/selector"};
    }
    std::vector<std::string> missing = MissingResources();
    if (!missing.empty()) return missing;
    if (!MatchesPodAffinity("podAffinity", true)) {
      return {"node(s) didn't match pod affinity rules"};
    }
    if (!MatchesPodAffinity("podAntiAffinity", false)) {
      return {"node(s) didn't match pod anti-affinity rules"};
    }
    return {};
  }

  double FreeCpu() const {
    Resources taken = Taken();
    return Allocatable("cpu") - taken["cpu"];
  }

 private:
  double Allocatable(std::string_view name) const {
    return kube::ParseQuantity(node_.StringAt({"status", "allocatable", name})).value_or(0);
  }

  Resources Taken() const {
    Resources taken;
    for (const kube::Object& other : pods_) {
      if (other.StringAt({"spec", "nodeName"}) != node_.name() || IsPodFinished(other)) continue;
      AddTo(taken, PodRequests(other));
      taken["pods"] += 1;
    }
    return taken;
  }

  std::vector<std::string> MissingResources() const {
    std::vector<std::string> missing;
    Resources taken = Taken();
    const double pods_max = Allocatable("pods");
    if (pods_max > 0 && taken["pods"] + 1 > pods_max) missing.emplace_back("Too many pods");
    for (const auto& [name, amount] : PodRequests(pod_)) {
      constexpr double kRounding = 1e-9;
      if (amount > 0 && taken[name] + amount > Allocatable(name) + kRounding) {
        missing.push_back(absl::StrFormat("Insufficient %s", name));
      }
    }
    return missing;
  }

  // Another Pod's Node has the same value of the topology key as this one.
  bool SharesTopology(const kube::Object& other, const std::string& topology_key) const {
    const std::string other_node(other.StringAt({"spec", "nodeName"}));
    if (topology_key == kHostLabel) return other_node == node_.name();
    const auto found = nodes_by_name_.find(other_node);
    if (found == nodes_by_name_.end()) return false;
    const std::string_view value = node_.label(topology_key);
    return !value.empty() && found->second->label(topology_key) == value;
  }

  bool AnyMatches(const json::value& term) const {
    const std::string topology_key(kube::StringAt(term, {"topologyKey"}));
    std::vector<std::string> namespaces = kube::StringsAt(term, {"namespaces"});
    if (namespaces.empty()) namespaces.emplace_back(pod_.namespace_name());
    return std::ranges::any_of(pods_, [&](const kube::Object& other) {
      return other.uid() != pod_.uid() && !IsPodFinished(other) &&
             std::ranges::find(namespaces, other.namespace_name()) != namespaces.end() &&
             MatchesSelector(kube::FindPath(term, {"labelSelector"}), other.labels()) &&
             SharesTopology(other, topology_key);
    });
  }

  bool MatchesPodAffinity(std::string_view kind, bool wanted) const {
    for (const json::value& term :
         ArrayAt(pod_.json(),
                 {"spec", "affinity", kind, "requiredDuringSchedulingIgnoredDuringExecution"})) {
      if (AnyMatches(term) == wanted) continue;
      // The first pod of a group that wants its own company may start it.
      const bool starts_group =
          wanted && MatchesSelector(kube::FindPath(term, {"labelSelector"}), pod_.labels());
      if (!starts_group) return false;
    }
    return true;
  }

  const kube::Object& pod_;
  const kube::Object& node_;
  const std::map<std::string, const kube::Object*>& nodes_by_name_;
  const std::vector<kube::Object>& pods_;
};

std::string Explain(size_t nodes, const std::map<std::string, int>& reasons) {
  if (nodes == 0) return "no nodes available to schedule pods";
  std::vector<std::string> texts;
  bool preemption_may_help = false;
  for (const auto& [reason, count] : reasons) {
    texts.push_back(absl::StrFormat("%d %s", count, reason));
    preemption_may_help |= reason.starts_with("Insufficient") || reason.starts_with("Too many");
  }
  std::ranges::sort(texts);
  return absl::StrFormat(
      "0/%d nodes are available: %s. preemption: 0/%d nodes are available: %d %s.", nodes,
      absl::StrJoin(texts, ", "), nodes, nodes,
      preemption_may_help ? "No preemption victims found for incoming pod"
                          : "Preemption is not helpful for scheduling");
}

}  // namespace

Resources PodRequests(const kube::Object& pod) {
  Resources sum;
  for (const json::value& container : ArrayAt(pod.json(), {"spec", "containers"})) {
    AddTo(sum, RequestsOf(container));
  }
  Resources sidecars;
  Resources largest_init;
  for (const json::value& container : ArrayAt(pod.json(), {"spec", "initContainers"})) {
    const Resources requests = RequestsOf(container);
    if (kube::StringAt(container, {"restartPolicy"}) == "Always") {
      AddTo(sidecars, requests);
      continue;
    }
    Resources together = sidecars;
    AddTo(together, requests);
    for (const auto& [name, amount] : together) {
      largest_init[name] = std::max(largest_init[name], amount);
    }
  }
  AddTo(sum, sidecars);
  for (const auto& [name, amount] : largest_init) sum[name] = std::max(sum[name], amount);
  return sum;
}

Placement PlacePod(const kube::Object& pod, const std::vector<kube::Object>& nodes,
                   const std::vector<kube::Object>& pods) {
  std::map<std::string, const kube::Object*> by_name;
  for (const kube::Object& node : nodes) by_name[std::string(node.name())] = &node;
  Placement best;
  double best_free_cpu = 0;
  std::map<std::string, int> reasons;
  for (const kube::Object& node : nodes) {
    const NodeFit fit(pod, node, by_name, pods);
    const std::vector<std::string> misfits = fit.Reasons();
    for (const std::string& reason : misfits) ++reasons[reason];
    if (!misfits.empty()) continue;
    const double free_cpu = fit.FreeCpu();
    if (best.node.empty() || free_cpu > best_free_cpu) {
      best.node = node.name();
      best_free_cpu = free_cpu;
    }
  }
  if (best.node.empty()) best.message = Explain(nodes.size(), reasons);
  return best;
}

}  // namespace local_cluster
