#include "local-cluster/runner/environment.h"

#include <map>
#include <set>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "local-cluster/runner/rewrite.h"

namespace local_cluster {
namespace {

namespace json = boost::json;

class Builder {
 public:
  Builder(const kube::Object& pod, std::string_view container, const PodSources& sources)
      : pod_(pod), container_(container), sources_(sources) {}

  absl::Status AddAllOf(const json::value& from) {
    const std::string prefix(kube::StringAt(from, {"prefix"}));
    const bool is_secret = kube::FindPath(from, {"secretRef"}) != nullptr;
    const std::string_view member = is_secret ? "secretRef" : "configMapRef";
    const std::string_view name = kube::StringAt(from, {member, "name"});
    const absl::StatusOr<kube::Object> object = Fetch(is_secret, name);
    if (!object.ok()) {
      const bool optional = kube::BoolAt(from, {member, "optional"});
      return optional && absl::IsNotFound(object.status()) ? absl::OkStatus() : object.status();
    }
    for (const std::string_view section : {"data", "binaryData"}) {
      const json::value* data = object->Find({section});
      if (data == nullptr || !data->is_object() || (is_secret && section == "binaryData")) continue;
      for (const auto& entry : data->get_object()) {
        const std::string key(entry.key());
        ASSIGN_OR_RETURN(const std::optional<std::string> value, DataOf(*object, key));
        if (value) Set(prefix + key, *value);
      }
    }
    return absl::OkStatus();
  }

  absl::Status Add(const json::value& variable) {
    const std::string name(kube::StringAt(variable, {"name"}));
    const json::value* from = kube::FindPath(variable, {"valueFrom"});
    if (from == nullptr || !from->is_object()) {
      Set(name, ExpandVariables(kube::StringAt(variable, {"value"}), values_));
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const std::optional<std::string> value, ValueFrom(*from));
    if (value) Set(name, *value);
    return absl::OkStatus();
  }

  std::vector<std::pair<std::string, std::string>> Take() {
    std::vector<std::pair<std::string, std::string>> out;
    for (const std::string& name : order_) out.emplace_back(name, values_[name]);
    return out;
  }

 private:
  void Set(const std::string& name, std::string value) {
    if (!values_.contains(name)) order_.push_back(name);
    values_[name] = std::move(value);
  }

  absl::StatusOr<kube::Object> Fetch(bool is_secret, std::string_view name) {
    absl::StatusOr<kube::Object> object =
        is_secret ? sources_.secret(name) : sources_.config_map(name);
    if (absl::IsNotFound(object.status())) {
      return absl::NotFoundError(
          absl::StrFormat("%s \"%s\" not found", is_secret ? "secret" : "configmap", name));
    }
    return object;
  }

  absl::StatusOr<std::optional<std::string>> ValueFrom(const json::value& from) {
    if (const json::value* field = kube::FindPath(from, {"fieldRef"})) {
      ASSIGN_OR_RETURN(std::string text,
                       FieldText(pod_, kube::StringAt(*field, {"fieldPath"}), sources_));
      return std::optional<std::string>(std::move(text));
    }
    if (const json::value* resource = kube::FindPath(from, {"resourceFieldRef"})) {
      ASSIGN_OR_RETURN(std::string text, ResourceText(pod_, container_, *resource, sources_));
      return std::optional<std::string>(std::move(text));
    }
    const bool is_secret = kube::FindPath(from, {"secretKeyRef"}) != nullptr;
    return KeyValue(from, is_secret ? "secretKeyRef" : "configMapKeyRef", is_secret);
  }

  absl::StatusOr<std::optional<std::string>> KeyValue(const json::value& from,
                                                      std::string_view member, bool is_secret) {
    const std::string_view name = kube::StringAt(from, {member, "name"});
    const std::string_view key = kube::StringAt(from, {member, "key"});
    const bool optional = kube::BoolAt(from, {member, "optional"});
    const absl::StatusOr<kube::Object> object = Fetch(is_secret, name);
    if (!object.ok()) {
      if (optional && absl::IsNotFound(object.status())) return std::optional<std::string>();
      return object.status();
    }
    ASSIGN_OR_RETURN(std::optional<std::string> value, DataOf(*object, key));
    if (value || optional) return value;
    return absl::NotFoundError(absl::StrFormat("couldn't find key %s in %s %s/%s", key,
                                               is_secret ? "Secret" : "ConfigMap",
                                               pod_.namespace_name(), name));
  }

  const kube::Object& pod_;
  std::string_view container_;
  const PodSources& sources_;
  std::vector<std::string> order_;
  std::map<std::string, std::string, std::less<>> values_;
};

const json::value* ContainerJson(const kube::Object& pod, std::string_view name) {
  for (const std::string_view list : {"containers", "initContainers"}) {
    const json::value* containers = pod.Find({"spec", list});
    if (containers == nullptr || !containers->is_array()) continue;
    for (const json::value& container : containers->get_array()) {
      if (kube::StringAt(container, {"name"}) == name) return &container;
    }
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> BuildEnvironment(
    const kube::Object& pod, std::string_view container, const PodSources& sources) {
  Builder builder(pod, container, sources);
  const json::value* spec = ContainerJson(pod, container);
  if (spec == nullptr) return builder.Take();
  if (const json::value* from = kube::FindPath(*spec, {"envFrom"}); from && from->is_array()) {
    for (const json::value& entry : from->get_array()) RETURN_IF_ERROR(builder.AddAllOf(entry));
  }
  if (const json::value* variables = kube::FindPath(*spec, {"env"});
      variables && variables->is_array()) {
    for (const json::value& variable : variables->get_array()) {
      RETURN_IF_ERROR(builder.Add(variable));
    }
  }
  return builder.Take();
}

}  // namespace local_cluster
