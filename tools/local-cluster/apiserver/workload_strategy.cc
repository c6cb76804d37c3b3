// StatefulSets, Deployments, ReplicaSets, DaemonSets, Jobs: defaults, and what may change.

#include <string>
#include <vector>

#include "local-cluster/apiserver/builtin_strategies.h"
#include "local-cluster/apiserver/schema/json_edit.h"
#include "local-cluster/apiserver/strategies.h"

namespace local_cluster {
namespace {

using boost::json::array;
using boost::json::object;

object& SpecOf(object& owner) {
  object& spec = MakeObject(owner, "spec");
  if (object* pod = ObjectIn(MakeObject(spec, "template"), "spec")) SetPodSpecDefaults(*pod);
  return spec;
}

const object kEmpty;

const object& Member(const object& owner, std::string_view name) {
  const object* member = ObjectIn(owner, name);
  return member == nullptr ? kEmpty : *member;
}

// matchLabels and the template's labels; expressions are left to the loops.
void CheckSelector(const object& spec, Causes& causes) {
  const object* selector = ObjectIn(spec, "selector");
  if (selector == nullptr) {
    causes.push_back(RequiredField("spec.selector"));
    return;
  }
  const object& labels = Member(Member(Member(spec, "template"), "metadata"), "labels");
  for (const auto& wanted : Member(*selector, "matchLabels")) {
    const boost::json::value* label = labels.if_contains(wanted.key());
    if (label == nullptr || *label != wanted.value()) {
      causes.push_back(InvalidField("spec.template.metadata.labels", labels,
                                    "`selector` does not match template `labels`"));
      return;
    }
  }
}

void CheckTemplate(const object& spec, Causes& causes) {
  ValidatePodSpec(Member(Member(spec, "template"), "spec"), "spec.template.spec", causes);
}

void CheckReplicas(const object& spec, Causes& causes) {
  const boost::json::value* replicas = spec.if_contains("replicas");
  if (replicas != nullptr && replicas->is_int64() && replicas->get_int64() < 0) {
    causes.push_back(
        InvalidField("spec.replicas", *replicas, "must be greater than or equal to 0"));
  }
}

void CheckImmutable(const object& spec, const object& old, std::string_view name, Causes& causes) {
  if (SameMember(spec, old, name)) return;
  const boost::json::value* value = spec.if_contains(name);
  causes.push_back(InvalidField("spec." + std::string(name),
                                value == nullptr ? boost::json::value() : *value,
                                "field is immutable"));
}

void SetLabel(object& owner, std::string_view name, const boost::json::value& value) {
  SetDefault(MakeObject(MakeObject(owner, "metadata"), "labels"), name, value);
}

// Selects the job's own pods by its uid, as Kubernetes does when no selector is given.
void SetJobSelector(object& job, object& spec) {
  const object& metadata = MakeObject(job, "metadata");
  const boost::json::value* uid = metadata.if_contains("uid");
  const boost::json::value* name = metadata.if_contains("name");
  if (uid == nullptr || name == nullptr || spec.contains("selector")) return;
  object& pod = MakeObject(spec, "template");
  SetLabel(pod, "controller-uid", *uid);
  SetLabel(pod, "batch.kubernetes.io/controller-uid", *uid);
  SetLabel(pod, "job-name", *name);
  SetLabel(pod, "batch.kubernetes.io/job-name", *name);
  object labels{{"batch.kubernetes.io/controller-uid", *uid}};
  spec["selector"] = object{{"matchLabels", std::move(labels)}};
}

}  // namespace

void SetStatefulSetDefaults(object& owner) {
  object& spec = SpecOf(owner);
  SetDefault(spec, "podManagementPolicy", "OrderedReady");
  SetDefault(spec, "replicas", 1);
  SetDefault(spec, "revisionHistoryLimit", 10);
  object& strategy = MakeObject(spec, "updateStrategy");
  SetDefault(strategy, "type", "RollingUpdate");
  if (StringIn(strategy, "type") == "RollingUpdate") {
    SetDefault(MakeObject(strategy, "rollingUpdate"), "partition", 0);
  }
  object& retention = MakeObject(spec, "persistentVolumeClaimRetentionPolicy");
  SetDefault(retention, "whenDeleted", "Retain");
  SetDefault(retention, "whenScaled", "Retain");
  if (array* claims = ArrayIn(spec, "volumeClaimTemplates")) {
    for (boost::json::value& claim : *claims) {
      SetDefault(claim.as_object(), "apiVersion", "v1");
      SetDefault(claim.as_object(), "kind", "PersistentVolumeClaim");
      SetClaimDefaults(claim.as_object());
    }
  }
}

void ValidateStatefulSet(const object& owner, const object* old, Causes& causes) {
  const object& spec = Member(owner, "spec");
  CheckSelector(spec, causes);
  CheckTemplate(spec, causes);
  CheckReplicas(spec, causes);
  if (old == nullptr) return;
  const auto fixed = [](const object& all) {
    return Without(all,
                   {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
                    "persistentVolumeClaimRetentionPolicy", "minReadySeconds"});
  };
  if (!SemanticallyEqual(fixed(spec), fixed(Member(*old, "spec")))) {
    causes.push_back(ForbiddenField(
        "spec",
        "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
        "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
        "'minReadySeconds' are forbidden"));
  }
}

void SetDeploymentDefaults(object& owner) {
  object& spec = SpecOf(owner);
  SetDefault(spec, "replicas", 1);
  SetDefault(spec, "revisionHistoryLimit", 10);
  SetDefault(spec, "progressDeadlineSeconds", 600);
  object& strategy = MakeObject(spec, "strategy");
  SetDefault(strategy, "type", "RollingUpdate");
  if (StringIn(strategy, "type") == "RollingUpdate") {
    object& rolling = MakeObject(strategy, "rollingUpdate");
    SetDefault(rolling, "maxUnavailable", "25%");
    SetDefault(rolling, "maxSurge", "25%");
  }
}

void SetReplicaSetDefaults(object& owner) { SetDefault(SpecOf(owner), "replicas", 1); }

void SetDaemonSetDefaults(object& owner) {
  object& spec = SpecOf(owner);
  SetDefault(spec, "revisionHistoryLimit", 10);
  object& strategy = MakeObject(spec, "updateStrategy");
  SetDefault(strategy, "type", "RollingUpdate");
  if (StringIn(strategy, "type") == "RollingUpdate") {
    object& rolling = MakeObject(strategy, "rollingUpdate");
    SetDefault(rolling, "maxUnavailable", 1);
    SetDefault(rolling, "maxSurge", 0);
  }
}

void ValidateWorkload(const object& owner, const object* old, Causes& causes) {
  const object& spec = Member(owner, "spec");
  CheckSelector(spec, causes);
  CheckTemplate(spec, causes);
  CheckReplicas(spec, causes);
  if (old != nullptr) CheckImmutable(spec, Member(*old, "spec"), "selector", causes);
}

void SetJobDefaults(object& owner) {
  object& spec = SpecOf(owner);
  if (!spec.contains("completions") && !spec.contains("parallelism")) spec["completions"] = 1;
  SetDefault(spec, "parallelism", 1);
  SetDefault(spec, "backoffLimit", 6);
  SetDefault(spec, "completionMode", "NonIndexed");
  SetDefault(spec, "suspend", false);
  SetDefault(spec, "manualSelector", false);
  SetDefault(spec, "podReplacementPolicy",
             spec.contains("podFailurePolicy") ? "Failed" : "TerminatingOrFailed");
  SetJobSelector(owner, spec);
}

void ValidateJob(const object& owner, const object* old, Causes& causes) {
  const object& spec = Member(owner, "spec");
  CheckTemplate(spec, causes);
  const std::string_view policy =
      StringIn(Member(Member(spec, "template"), "spec"), "restartPolicy");
  if (policy != "OnFailure" && policy != "Never") {
    causes.push_back(RequiredField("spec.template.spec.restartPolicy",
                                   "valid values: \"OnFailure\", \"Never\""));
  }
  if (old == nullptr) return;
  const object& before = Member(*old, "spec");
  for (const char* name : {"selector", "template", "completionMode", "podFailurePolicy",
                           "backoffLimitPerIndex", "managedBy", "successPolicy"}) {
    CheckImmutable(spec, before, name, causes);
  }
  if (StringIn(spec, "completionMode") != "Indexed") {
    CheckImmutable(spec, before, "completions", causes);
  }
}

}  // namespace local_cluster
