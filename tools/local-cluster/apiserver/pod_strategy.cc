// Pods and pod templates: defaults, and what may change.

#include <string>
#include <vector>

#include "local-cluster/apiserver/builtin_strategies.h"
#include "local-cluster/apiserver/schema/json_edit.h"
#include "local-cluster/apiserver/schema/normalize.h"
#include "local-cluster/apiserver/strategies.h"

namespace local_cluster {
namespace {

using boost::json::array;
using boost::json::object;

void SetHttpGetDefaults(object& owner) {
  if (object* get = ObjectIn(owner, "httpGet")) {
    SetDefault(*get, "path", "/");
    SetDefault(*get, "scheme", "HTTP");
  }
}

void SetProbeDefaults(object& container, std::string_view name) {
  object* probe = ObjectIn(container, name);
  if (probe == nullptr) return;
  SetDefault(*probe, "timeoutSeconds", 1);
  SetDefault(*probe, "periodSeconds", 10);
  SetDefault(*probe, "successThreshold", 1);
  SetDefault(*probe, "failureThreshold", 3);
  SetHttpGetDefaults(*probe);
  if (object* grpc = ObjectIn(*probe, "grpc")) SetDefault(*grpc, "service", "");
}

// Always for the tag "latest" or none.
std::string_view PullPolicy(std::string_view image) {
  if (image.find('@') != std::string_view::npos) return "IfNotPresent";
  const size_t slash = image.rfind('/');
  const std::string_view last = slash == std::string_view::npos ? image : image.substr(slash + 1);
  const size_t colon = last.find(':');
  return colon == std::string_view::npos || last.substr(colon) == ":latest" ? "Always"
                                                                            : "IfNotPresent";
}

void SetFieldRefDefaults(array* items) {
  if (items == nullptr) return;
  for (boost::json::value& item : *items) {
    if (!item.is_object()) continue;
    if (object* field = ObjectIn(item.get_object(), "fieldRef")) {
      SetDefault(*field, "apiVersion", "v1");
    }
  }
}

void SetContainerDefaults(object& container) {
  SetDefault(container, "terminationMessagePath", "/dev/termination-log");
  SetDefault(container, "terminationMessagePolicy", "File");
  SetDefault(container, "imagePullPolicy", JsonText(PullPolicy(StringIn(container, "image"))));
  SetDefault(container, "resources", object());
  if (array* ports = ArrayIn(container, "ports")) {
    for (boost::json::value& port : *ports) SetDefault(port.as_object(), "protocol", "TCP");
  }
  if (array* variables = ArrayIn(container, "env")) {
    for (boost::json::value& variable : *variables) {
      object* from = ObjectIn(variable.as_object(), "valueFrom");
      object* field = from == nullptr ? nullptr : ObjectIn(*from, "fieldRef");
      if (field != nullptr) SetDefault(*field, "apiVersion", "v1");
    }
  }
  for (const char* probe : {"livenessProbe", "readinessProbe", "startupProbe"}) {
    SetProbeDefaults(container, probe);
  }
  if (object* lifecycle = ObjectIn(container, "lifecycle")) {
    for (const char* hook : {"postStart", "preStop"}) {
      if (object* handler = ObjectIn(*lifecycle, hook)) SetHttpGetDefaults(*handler);
    }
  }
}

void SetVolumeDefaults(object& volume) {
  if (volume.size() == 1 && volume.contains("name")) volume["emptyDir"] = object();
  for (const char* source : {"secret", "configMap", "projected", "downwardAPI"}) {
    if (object* found = ObjectIn(volume, source)) SetDefault(*found, "defaultMode", 420);
  }
  if (object* path = ObjectIn(volume, "hostPath")) SetDefault(*path, "type", "");
  if (object* downward = ObjectIn(volume, "downwardAPI")) {
    SetFieldRefDefaults(ArrayIn(*downward, "items"));
  }
  object* projected = ObjectIn(volume, "projected");
  array* sources = projected == nullptr ? nullptr : ArrayIn(*projected, "sources");
  if (sources == nullptr) return;
  for (boost::json::value& source : *sources) {
    if (object* token = ObjectIn(source.as_object(), "serviceAccountToken")) {
      SetDefault(*token, "expirationSeconds", 3600);
    }
    if (object* downward = ObjectIn(source.as_object(), "downwardAPI")) {
      SetFieldRefDefaults(ArrayIn(*downward, "items"));
    }
  }
}

// Limits stand in for requests that are missing.
void DefaultRequestsFromLimits(object& container) {
  object* resources = ObjectIn(container, "resources");
  const object* limits = resources == nullptr ? nullptr : ObjectIn(*resources, "limits");
  if (limits == nullptr) return;
  const object copy = *limits;
  object& requests = MakeObject(*resources, "requests");
  for (const auto& limit : copy) SetDefault(requests, limit.key(), limit.value());
}

object Toleration(std::string_view key) {
  return {
      {"key", key}, {"operator", "Exists"}, {"effect", "NoExecute"}, {"tolerationSeconds", 300}};
}

bool Tolerates(const array& tolerations, std::string_view key) {
  for (const boost::json::value& toleration : tolerations) {
    const object& one = toleration.as_object();
    const std::string_view effect = StringIn(one, "effect");
    const std::string_view its_key = StringIn(one, "key");
    if ((its_key == key || its_key.empty()) && (effect.empty() || effect == "NoExecute")) {
      return true;
    }
  }
  return false;
}

// BestEffort, Burstable or Guaranteed.
std::string QosClass(const object& spec) {
  bool any = false;
  bool guaranteed = true;
  const array* containers = ArrayIn(spec, "containers");
  if (containers == nullptr) return "BestEffort";
  for (const boost::json::value& container : *containers) {
    const object* resources = ObjectIn(container.as_object(), "resources");
    for (const char* resource : {"cpu", "memory"}) {
      const object* limits = resources == nullptr ? nullptr : ObjectIn(*resources, "limits");
      const object* requests = resources == nullptr ? nullptr : ObjectIn(*resources, "requests");
      const bool limited = limits != nullptr && limits->contains(resource);
      any = any || limited || (requests != nullptr && requests->contains(resource));
      if (!limited || requests == nullptr || !SameMember(*limits, *requests, resource)) {
        guaranteed = false;
      }
    }
  }
  if (!any) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}

void CheckNames(const object& spec, std::string_view list, const std::string& path,
                std::vector<ErrorCause>& causes) {
  const array* items = ArrayIn(spec, list);
  if (items == nullptr) return;
  std::vector<std::string_view> seen;
  for (size_t i = 0; i < items->size(); ++i) {
    const std::string at = FieldPath(FieldPath(path, list), i);
    const std::string_view name = StringIn((*items)[i].as_object(), "name");
    if (name.empty()) causes.push_back(RequiredField(at + ".name"));
    for (const std::string_view other : seen) {
      if (other == name) causes.push_back(DuplicateField(at + ".name", JsonText(name)));
    }
    seen.push_back(name);
  }
}

// The parts of a spec that may change, taken out. A Pod is bound to a node once.
object FixedPart(const object& spec, bool bound) {
  object fixed =
      Without(spec, {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"});
  if (!bound) fixed.erase("nodeName");
  for (const char* list : {"containers", "initContainers"}) {
    if (array* containers = ArrayIn(fixed, list)) {
      for (boost::json::value& container : *containers) container.as_object().erase("image");
    }
  }
  return fixed;
}

}  // namespace

void SetPodSpecDefaults(object& spec) {
  SetDefault(spec, "restartPolicy", "Always");
  SetDefault(spec, "dnsPolicy", "ClusterFirst");
  SetDefault(spec, "terminationGracePeriodSeconds", 30);
  SetDefault(spec, "securityContext", object());
  SetDefault(spec, "schedulerName", "default-scheduler");
  for (const char* list : {"containers", "initContainers"}) {
    if (array* containers = ArrayIn(spec, list)) {
      for (boost::json::value& container : *containers) {
        SetContainerDefaults(container.as_object());
      }
    }
  }
  if (array* volumes = ArrayIn(spec, "volumes")) {
    for (boost::json::value& volume : *volumes) SetVolumeDefaults(volume.as_object());
  }
}

void SetPodDefaults(object& pod) {
  object& spec = MakeObject(pod, "spec");
  SetPodSpecDefaults(spec);
  SetDefault(spec, "enableServiceLinks", true);
  SetDefault(spec, "serviceAccountName", "default");
  SetDefault(spec, "serviceAccount", spec["serviceAccountName"]);
  SetDefault(spec, "priority", 0);
  SetDefault(spec, "preemptionPolicy", "PreemptLowerPriority");
  for (const char* list : {"containers", "initContainers"}) {
    if (array* containers = ArrayIn(spec, list)) {
      for (boost::json::value& container : *containers) {
        DefaultRequestsFromLimits(container.as_object());
      }
    }
  }
  boost::json::value& tolerations = spec["tolerations"];
  if (!tolerations.is_array()) tolerations = array();
  for (const char* key : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
    if (!Tolerates(tolerations.get_array(), key))
      tolerations.get_array().push_back(Toleration(key));
  }
  object& status = MakeObject(pod, "status");
  SetDefault(status, "phase", "Pending");
  SetDefault(status, "qosClass", JsonText(QosClass(spec)));
}

void ValidatePodSpec(const object& spec, const std::string& path, std::vector<ErrorCause>& causes) {
  const array* containers = ArrayIn(spec, "containers");
  if (containers == nullptr || containers->empty()) {
    causes.push_back(RequiredField(FieldPath(path, "containers")));
    return;
  }
  for (const char* list : {"containers", "initContainers", "volumes"}) {
    CheckNames(spec, list, path, causes);
  }
  for (size_t i = 0; i < containers->size(); ++i) {
    if (StringIn((*containers)[i].as_object(), "image").empty()) {
      causes.push_back(RequiredField(FieldPath(FieldPath(path, "containers"), i) + ".image"));
    }
  }
  const std::string_view policy = StringIn(spec, "restartPolicy");
  if (policy != "Always" && policy != "OnFailure" && policy != "Never") {
    causes.push_back(UnsupportedField(FieldPath(path, "restartPolicy"), JsonText(policy),
                                      {"Always", "OnFailure", "Never"}));
  }
}

void ValidatePod(const object& pod, const object* old, std::vector<ErrorCause>& causes) {
  const object* spec = ObjectIn(pod, "spec");
  if (spec == nullptr) return;
  ValidatePodSpec(*spec, "spec", causes);
  const object* old_spec = old == nullptr ? nullptr : ObjectIn(*old, "spec");
  if (old_spec == nullptr) return;
  const bool bound = !StringIn(*old_spec, "nodeName").empty();
  if (!SemanticallyEqual(FixedPart(*spec, bound), FixedPart(*old_spec, bound))) {
    causes.push_back(ForbiddenField(
        "spec",
        "pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
        "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be "
        "set to 1 if it was previously negative)"));
  }
}

}  // namespace local_cluster
