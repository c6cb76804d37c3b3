#include "local-cluster/controllers/objects.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>

#include "absl/random/random.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

#include "boost/json.hpp"
#include "common/kube/conditions.h"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

namespace json = boost::json;

// As Kubernetes: no vowels and no look-alikes, so that no name is a word.
constexpr std::string_view kNameCharacters = "bcdfghjklmnpqrstvwxz2456789";

std::optional<std::string> LabelOf(const std::map<std::string, std::string>& labels,
                                   std::string_view key) {
  const auto found = labels.find(std::string(key));
  if (found == labels.end()) return std::nullopt;
  return found->second;
}

void CopyStringMap(const json::value& from, std::string_view member, json::object& to) {
  const json::value* entries = kube::FindPath(from, {"metadata", member});
  if (entries != nullptr && entries->is_object() && !entries->get_object().empty()) {
    to[member] = *entries;
  }
}

}  // namespace

const json::array& ArrayAt(const json::value& value, std::initializer_list<std::string_view> path) {
  static const json::array kEmpty;
  const json::value* found = kube::FindPath(value, path);
  return found != nullptr && found->is_array() ? found->get_array() : kEmpty;
}

bool MatchesExpression(const json::value& expression,
                       const std::map<std::string, std::string>& labels) {
  const std::optional<std::string> label = LabelOf(labels, kube::StringAt(expression, {"key"}));
  const std::vector<std::string> values = kube::StringsAt(expression, {"values"});
  const std::string_view op = kube::StringAt(expression, {"operator"});
  const bool listed = label && std::ranges::find(values, *label) != values.end();
  if (op == "In") return listed;
  if (op == "NotIn") return !listed;
  if (op == "Exists") return label.has_value();
  if (op == "DoesNotExist") return !label.has_value();
  if ((op == "Gt" || op == "Lt") && label && values.size() == 1) {
    const int64_t have = strtoll(label->c_str(), nullptr, 10);
    const int64_t bound = strtoll(values[0].c_str(), nullptr, 10);
    return op == "Gt" ? have > bound : have < bound;
  }
  return false;
}

bool MatchesLabels(const json::value* wanted, const std::map<std::string, std::string>& labels) {
  if (wanted == nullptr || !wanted->is_object()) return false;
  return std::ranges::all_of(wanted->get_object(), [&](const auto& entry) {
    return LabelOf(labels, std::string(entry.key())) ==
           std::string(kube::StringAt(*wanted, {std::string(entry.key())}));
  });
}

bool MatchesSelector(const json::value* selector,
                     const std::map<std::string, std::string>& labels) {
  if (selector == nullptr || !selector->is_object()) return false;
  const json::value* wanted = kube::FindPath(*selector, {"matchLabels"});
  if (wanted != nullptr && wanted->is_object() && !MatchesLabels(wanted, labels)) return false;
  return std::ranges::all_of(
      ArrayAt(*selector, {"matchExpressions"}),
      [&](const json::value& expression) { return MatchesExpression(expression, labels); });
}

std::string SelectorText(const json::value* selector) {
  std::vector<std::string> terms;
  if (selector == nullptr) return "";
  if (const json::value* wanted = kube::FindPath(*selector, {"matchLabels"});
      wanted && wanted->is_object()) {
    for (const auto& entry : wanted->get_object()) {
      const std::string key(entry.key());
      terms.push_back(absl::StrFormat("%s=%s", key, kube::StringAt(*wanted, {key})));
    }
  }
  for (const json::value& expression : ArrayAt(*selector, {"matchExpressions"})) {
    const std::string_view key = kube::StringAt(expression, {"key"});
    const std::string_view op = kube::StringAt(expression, {"operator"});
    const std::string values = absl::StrJoin(kube::StringsAt(expression, {"values"}), ",");
    if (op == "In") terms.push_back(absl::StrFormat("%s in (%s)", key, values));
    if (op == "NotIn") terms.push_back(absl::StrFormat("%s notin (%s)", key, values));
    if (op == "Exists") terms.emplace_back(key);
    if (op == "DoesNotExist") terms.push_back(absl::StrFormat("!%s", key));
  }
  return absl::StrJoin(terms, ",");
}

bool IsPodReady(const kube::Object& pod) { return kube::IsConditionTrue(pod, "Ready"); }

bool IsPodFinished(const kube::Object& pod) {
  const std::string_view phase = pod.StringAt({"status", "phase"});
  return phase == "Succeeded" || phase == "Failed";
}

bool IsPodRunningAndReady(const kube::Object& pod) {
  return pod.StringAt({"status", "phase"}) == "Running" && IsPodReady(pod);
}

bool IsControlledBy(const kube::Object& object, std::string_view uid) {
  const std::optional<kube::OwnerReference> owner = object.controller();
  return owner && owner->uid == uid;
}

kube::Object PodFromTemplate(const kube::Object& owner, const json::value& pod_template,
                             std::string_view name) {
  json::object metadata{{"name", std::string(name)},
                        {"namespace", std::string(owner.namespace_name())}};
  CopyStringMap(pod_template, "labels", metadata);
  CopyStringMap(pod_template, "annotations", metadata);
  if (const json::value* finalizers = kube::FindPath(pod_template, {"metadata", "finalizers"})) {
    metadata["finalizers"] = *finalizers;
  }
  json::object object{{"apiVersion", "v1"}, {"kind", "Pod"}, {"metadata", std::move(metadata)}};
  const json::value* spec = kube::FindPath(pod_template, {"spec"});
  object["spec"] = spec == nullptr ? json::value(json::object{}) : *spec;
  kube::Object pod(std::move(object));
  pod.AddOwnerReference({.api_version = std::string(owner.api_version()),
                         .kind = std::string(owner.kind()),
                         .name = std::string(owner.name()),
                         .uid = std::string(owner.uid()),
                         .controller = true,
                         .block_owner_deletion = true});
  return pod;
}

std::string TemplateHash(const json::value& value) {
  uint64_t hash = 14695981039346656037ULL;  // FNV-1a: names, not security.
  for (const char c : kube::CanonicalJson(value)) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  }
  std::string text;
  for (int i = 0; i < 10; ++i) {
    text += kNameCharacters[hash % kNameCharacters.size()];
    hash /= kNameCharacters.size();
  }
  return text;
}

std::string RandomSuffix() {
  absl::BitGen random;
  std::string text;
  for (int i = 0; i < 5; ++i) {
    text += kNameCharacters[absl::Uniform<size_t>(random, 0, kNameCharacters.size())];
  }
  return text;
}

}  // namespace local_cluster
