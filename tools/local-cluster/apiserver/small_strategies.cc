// Services, configuration, claims, namespaces, events; and which kind has which functions.

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"

#include "local-cluster/apiserver/builtin_strategies.h"
#include "local-cluster/apiserver/crd.h"
#include "local-cluster/apiserver/schema/json_edit.h"
#include "local-cluster/apiserver/strategies.h"

namespace local_cluster {
namespace {

using boost::json::array;
using boost::json::object;

void Rename(object& owner, std::string_view from, std::string_view to) {
  boost::json::value* member = owner.if_contains(from);
  if (member == nullptr) return;
  boost::json::value moved = std::move(*member);
  owner.erase(from);
  owner[to] = std::move(moved);
}

constexpr std::pair<std::string_view, std::string_view> kEventFields[] = {
    // events.k8s.io, core
    {"regarding", "involvedObject"},
    {"note", "message"},
    {"deprecatedSource", "source"},
    {"deprecatedFirstTimestamp", "firstTimestamp"},
    {"deprecatedLastTimestamp", "lastTimestamp"},
    {"deprecatedCount", "count"},
    {"reportingController", "reportingComponent"},
};

void SetPortDefaults(object& owner) {
  array* subsets = ArrayIn(owner, "subsets");
  if (subsets == nullptr) return;
  for (boost::json::value& subset : *subsets) {
    array* ports = ArrayIn(subset.as_object(), "ports");
    if (ports == nullptr) continue;
    for (boost::json::value& port : *ports) SetDefault(port.as_object(), "protocol", "TCP");
  }
}

void SetSliceDefaults(object& owner) {
  array* ports = ArrayIn(owner, "ports");
  if (ports == nullptr) return;
  for (boost::json::value& port : *ports) {
    SetDefault(port.as_object(), "protocol", "TCP");
    SetDefault(port.as_object(), "name", "");
  }
}

void SetVolumeDefaults(object& owner) {
  object& spec = MakeObject(owner, "spec");
  SetDefault(spec, "persistentVolumeReclaimPolicy", "Retain");
  SetDefault(spec, "volumeMode", "Filesystem");
  SetDefault(MakeObject(owner, "status"), "phase", "Pending");
}

void SetStorageClassDefaults(object& owner) {
  SetDefault(owner, "reclaimPolicy", "Delete");
  SetDefault(owner, "volumeBindingMode", "Immediate");
}

void SetWebhookDefaults(object& owner) {
  const bool mutating = StringIn(owner, "kind") == "MutatingWebhookConfiguration";
  array* webhooks = ArrayIn(owner, "webhooks");
  if (webhooks == nullptr) return;
  for (boost::json::value& webhook : *webhooks) {
    object& hook = webhook.as_object();
    SetDefault(hook, "failurePolicy", "Fail");
    SetDefault(hook, "matchPolicy", "Equivalent");
    SetDefault(hook, "namespaceSelector", object());
    SetDefault(hook, "objectSelector", object());
    SetDefault(hook, "timeoutSeconds", 10);
    if (mutating) SetDefault(hook, "reinvocationPolicy", "Never");
    if (array* rules = ArrayIn(hook, "rules")) {
      for (boost::json::value& rule : *rules) SetDefault(rule.as_object(), "scope", "*");
    }
  }
}

void ValidateLease(const object& lease, const object*, Causes& causes) {
  const object* spec = ObjectIn(lease, "spec");
  const boost::json::value* seconds =
      spec == nullptr ? nullptr : spec->if_contains("leaseDurationSeconds");
  if (seconds != nullptr && seconds->is_int64() && seconds->get_int64() <= 0) {
    causes.push_back(InvalidField("spec.leaseDurationSeconds", *seconds, "must be greater than 0"));
  }
}

void ValidateRevision(const object& revision, const object* old, Causes& causes) {
  if (old != nullptr && !SameMember(revision, *old, "data")) {
    causes.push_back(InvalidField("data", *revision.if_contains("data"), "field is immutable"));
  }
}

}  // namespace

void SetServiceDefaults(object& owner) {
  object& spec = MakeObject(owner, "spec");
  SetDefault(spec, "type", "ClusterIP");
  SetDefault(spec, "sessionAffinity", "None");
  if (StringIn(spec, "type") != "ExternalName") {
    SetDefault(spec, "internalTrafficPolicy", "Cluster");
    SetDefault(spec, "ipFamilies", array{"IPv4"});
    SetDefault(spec, "ipFamilyPolicy", "SingleStack");
  }
  if (array* ports = ArrayIn(spec, "ports")) {
    for (boost::json::value& port : *ports) {
      object& one = port.as_object();
      SetDefault(one, "protocol", "TCP");
      if (const boost::json::value* number = one.if_contains("port")) {
        SetDefault(one, "targetPort", boost::json::value(*number));
      }
    }
  }
  SetDefault(MakeObject(owner, "status"), "loadBalancer", object());
}

void ValidateService(const object& owner, const object* old, Causes& causes) {
  const object* spec = ObjectIn(owner, "spec");
  if (spec == nullptr) return;
  const std::string_view type = StringIn(*spec, "type");
  const array* ports = ArrayIn(*spec, "ports");
  if ((ports == nullptr || ports->empty()) && type != "ExternalName" &&
      StringIn(*spec, "clusterIP") != "None") {
    causes.push_back(RequiredField("spec.ports"));
  }
  for (size_t i = 0; ports != nullptr && i < ports->size(); ++i) {
    const boost::json::value* port = (*ports)[i].as_object().if_contains("port");
    if (port == nullptr || !port->is_int64() || port->get_int64() < 1 ||
        port->get_int64() > 65535) {
      causes.push_back(InvalidField("spec.ports[" + std::to_string(i) + "].port",
                                    port == nullptr ? boost::json::value(0) : *port,
                                    "must be between 1 and 65535, inclusive"));
    }
  }
  const object* before = old == nullptr ? nullptr : ObjectIn(*old, "spec");
  if (before == nullptr) return;
  const std::string_view address = StringIn(*before, "clusterIP");
  if (type != "ExternalName" && StringIn(*before, "type") != "ExternalName" && !address.empty() &&
      StringIn(*spec, "clusterIP") != address) {
    causes.push_back(InvalidField("spec.clusterIPs[0]", array{StringIn(*spec, "clusterIP")},
                                  "may not change once set"));
  }
}

void SetSecretDefaults(object& owner) {
  SetDefault(owner, "type", "Opaque");
  const object* texts = ObjectIn(owner, "stringData");
  if (texts == nullptr) return;
  const object copy = *texts;
  owner.erase("stringData");
  object& data = MakeObject(owner, "data");
  for (const auto& text : copy) {
    if (!text.value().is_string()) continue;
    const boost::json::string& plain = text.value().get_string();
    data[text.key()] = absl::Base64Escape(absl::string_view(plain.data(), plain.size()));
  }
}

void ValidateConfig(const object& owner, const object* old, Causes& causes) {
  const object* data = ObjectIn(owner, "data");
  size_t bytes = 0;
  if (data != nullptr) {
    for (const auto& entry : *data) {
      if (entry.value().is_string()) bytes += entry.value().get_string().size();
    }
  }
  if (bytes > (1U << 20U) * 4 / 3) {
    causes.push_back({"FieldValueTooLong", "", "Too long: may not be more than 1048576 bytes"});
  }
  if (old == nullptr) return;
  if (StringIn(owner, "type") != StringIn(*old, "type")) {
    causes.push_back(InvalidField("type", JsonText(StringIn(owner, "type")), "field is immutable"));
  }
  const boost::json::value* immutable = old->if_contains("immutable");
  if (immutable == nullptr || *immutable != boost::json::value(true)) return;
  for (const char* name : {"immutable", "data", "binaryData"}) {
    if (SameMember(owner, *old, name)) continue;
    causes.push_back(ForbiddenField(name, "field is immutable when `immutable` is set"));
  }
}

void SetClaimDefaults(object& owner) {
  SetDefault(MakeObject(owner, "spec"), "volumeMode", "Filesystem");
  SetDefault(MakeObject(owner, "status"), "phase", "Pending");
}

void ValidateClaim(const object& owner, const object* old, Causes& causes) {
  const object* spec = ObjectIn(owner, "spec");
  const object* before = old == nullptr ? nullptr : ObjectIn(*old, "spec");
  if (spec == nullptr || before == nullptr) return;
  // The binder sets volumeName once.
  const bool binding = StringIn(*before, "volumeName").empty();
  const auto fixed = [binding](const object& all) {
    object rest = Without(all, {"volumeAttributesClassName"});
    if (binding) rest.erase("volumeName");
    if (object* resources = ObjectIn(rest, "resources")) resources->erase("requests");
    return rest;
  };
  if (!SemanticallyEqual(fixed(*spec), fixed(*before))) {
    causes.push_back(
        ForbiddenField("spec",
                       "spec is immutable after creation except resources.requests and "
                       "volumeAttributesClassName for bound claims"));
  }
}

void SetNamespaceDefaults(object& owner) {
  object& metadata = MakeObject(owner, "metadata");
  // A copy: making the labels may move the name.
  const std::string name(StringIn(metadata, "name"));
  MakeObject(metadata, "labels")["kubernetes.io/metadata.name"] = name;
  SetDefault(MakeObject(owner, "status"), "phase", "Active");
  SetDefault(MakeObject(owner, "spec"), "finalizers", array{"kubernetes"});
}

void EventToStorage(object& event) {
  for (const auto& [outer, core] : kEventFields) Rename(event, outer, core);
  event["apiVersion"] = "v1";
}

void EventFromStorage(object& event) {
  for (const auto& [outer, core] : kEventFields) Rename(event, core, outer);
  event["apiVersion"] = "events.k8s.io/v1";
}

Strategy StrategyOf(std::string_view group, std::string_view kind) {
  Strategy strategy;
  if (group == "events.k8s.io") {
    strategy.to_storage = EventToStorage;
    strategy.from_storage = EventFromStorage;
  }
  static constexpr struct {
    std::string_view kind;
    void (*set_defaults)(JsonObject&);
    void (*validate)(const JsonObject&, const JsonObject*, Causes&);
  } kStrategies[] = {
      {"Pod", SetPodDefaults, ValidatePod},
      {"StatefulSet", SetStatefulSetDefaults, ValidateStatefulSet},
      {"Deployment", SetDeploymentDefaults, ValidateWorkload},
      {"ReplicaSet", SetReplicaSetDefaults, ValidateWorkload},
      {"DaemonSet", SetDaemonSetDefaults, ValidateWorkload},
      {"Job", SetJobDefaults, ValidateJob},
      {"Service", SetServiceDefaults, ValidateService},
      {"Secret", SetSecretDefaults, ValidateConfig},
      {"ConfigMap", nullptr, ValidateConfig},
      {"PersistentVolumeClaim", SetClaimDefaults, ValidateClaim},
      {"PersistentVolume", SetVolumeDefaults, nullptr},
      {"Namespace", SetNamespaceDefaults, nullptr},
      {"Endpoints", SetPortDefaults, nullptr},
      {"EndpointSlice", SetSliceDefaults, nullptr},
      {"StorageClass", SetStorageClassDefaults, nullptr},
      {"MutatingWebhookConfiguration", SetWebhookDefaults, nullptr},
      {"ValidatingWebhookConfiguration", SetWebhookDefaults, nullptr},
      {"CustomResourceDefinition", SetCrdDefaults, ValidateCrd},
      {"Lease", nullptr, ValidateLease},
      {"ControllerRevision", nullptr, ValidateRevision},
  };
  for (const auto& row : kStrategies) {
    if (row.kind != kind) continue;
    strategy.set_defaults = row.set_defaults;
    strategy.validate = row.validate;
  }
  return strategy;
}

}  // namespace local_cluster
