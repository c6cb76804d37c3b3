#include <algorithm>
#include <cstdlib>
#include <map>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "local-cluster/controllers/objects.h"
#include "local-cluster/controllers/stateful_set.h"

namespace local_cluster {
namespace {

namespace json = boost::json;

constexpr char kRevisionLabel[] = "controller-revision-hash";

// Of a pod called "SET-n"; -1 for other names.
int OrdinalOf(const kube::Object& set, const kube::Object& pod) {
  const std::string prefix = absl::StrFormat("%s-", set.name());
  const std::string name(pod.name());
  if (!name.starts_with(prefix) || name.size() == prefix.size()) return -1;
  const std::string digits = name.substr(prefix.size());
  if (digits.find_first_not_of("0123456789") != std::string::npos || digits.size() > 9) return -1;
  return atoi(digits.c_str());
}

std::string ClaimName(const json::value& claim_template, std::string_view pod) {
  return absl::StrFormat("%s-%s", kube::StringAt(claim_template, {"metadata", "name"}), pod);
}

class Planner {
 public:
  Planner(const kube::Object& set, const std::vector<kube::Object>& pods,
          const StatefulSetRevisions& revisions)
      : set_(set),
        revisions_(revisions),
        first_(static_cast<int>(set.IntAt({"spec", "ordinals", "start"}))),
        replicas_(static_cast<int>(set.IntAt({"spec", "replicas"}, 1))),
        parallel_(set.StringAt({"spec", "podManagementPolicy"}) == "Parallel") {
    for (const kube::Object& pod : pods) {
      if (const int ordinal = OrdinalOf(set, pod); ordinal >= 0) pods_.emplace(ordinal, pod);
    }
  }

  StatefulSetPlan Run() {
    if (!set_.being_deleted() && KeepReplicas() && RemoveSurplus()) Update();
    plan_.status = std::make_unique<json::value>(Status());
    return std::move(plan_);
  }

 private:
  bool IsWanted(int ordinal) const { return ordinal >= first_ && ordinal < first_ + replicas_; }

  int Partition() const {
    return static_cast<int>(set_.IntAt({"spec", "updateStrategy", "rollingUpdate", "partition"}));
  }

  bool RollsUpdates() const {
    return set_.StringAt({"spec", "updateStrategy", "type"}) != "OnDelete";
  }

  // Makes what is missing, lowest first. False: wait before anything else.
  bool KeepReplicas() {
    for (int ordinal = first_; ordinal < first_ + replicas_; ++ordinal) {
      const auto found = pods_.find(ordinal);
      if (found == pods_.end()) {
        Create(ordinal);
      } else if (IsPodFinished(found->second) && !found->second.being_deleted()) {
        plan_.remove.push_back(found->second);  // Comes again under the same name.
      }
      const bool healthy = found != pods_.end() && !found->second.being_deleted() &&
                           IsPodRunningAndReady(found->second);
      if (!parallel_ && !healthy) return false;
    }
    return true;
  }

  // Removes ordinals beyond the wanted ones, highest first.
  bool RemoveSurplus() {
    for (auto pod = pods_.rbegin(); pod != pods_.rend(); ++pod) {
      if (IsWanted(pod->first)) continue;
      if (!pod->second.being_deleted()) plan_.remove.push_back(pod->second);
      if (!parallel_) return false;
    }
    return true;
  }

  // Replaces pods of another revision, highest first, each when those above are healthy.
  void Update() {
    if (!RollsUpdates()) return;
    for (int ordinal = first_ + replicas_ - 1; ordinal >= first_ + Partition(); --ordinal) {
      const auto found = pods_.find(ordinal);
      if (found == pods_.end() || found->second.being_deleted()) return;
      if (found->second.label(kRevisionLabel) != revisions_.update) {
        plan_.remove.push_back(found->second);
        return;
      }
      if (!IsPodRunningAndReady(found->second)) return;
    }
  }

  void Create(int ordinal) {
    // Below the partition a pod comes back as it was.
    const bool old =
        RollsUpdates() && revisions_.current != revisions_.update && ordinal < first_ + Partition();
    const kube::Object& source = old ? revisions_.current_set : set_;
    const json::value* pod_template = source.Find({"spec", "template"});
    if (pod_template == nullptr) return;
    const std::string name = absl::StrFormat("%s-%d", set_.name(), ordinal);
    kube::Object pod = PodFromTemplate(set_, *pod_template, name);
    pod.SetLabel("statefulset.kubernetes.io/pod-name", name);
    pod.SetLabel("apps.kubernetes.io/pod-index", std::to_string(ordinal));
    pod.SetLabel(kRevisionLabel, old ? revisions_.current : revisions_.update);
    json::object& spec = kube::MakePath(pod.mutable_json(), {"spec"}).as_object();
    spec["hostname"] = name;
    if (const std::string_view service = set_.StringAt({"spec", "serviceName"}); !service.empty()) {
      spec["subdomain"] = std::string(service);
    }
    AddClaims(name, spec);
    plan_.create.push_back(std::move(pod));
  }

  void AddClaims(const std::string& pod_name, json::object& spec) {
    const json::array& templates = ArrayAt(set_.json(), {"spec", "volumeClaimTemplates"});
    if (templates.empty()) return;
    json::array volumes;
    if (const json::value* given = spec.if_contains("volumes"); given && given->is_array()) {
      for (const json::value& volume : given->get_array()) {
        const auto replaces = [&](const json::value& claim_template) {
          return kube::StringAt(claim_template, {"metadata", "name"}) ==
                 kube::StringAt(volume, {"name"});
        };
        if (std::ranges::none_of(templates, replaces)) volumes.push_back(volume);
      }
    }
    for (const json::value& claim_template : templates) {
      const std::string volume(kube::StringAt(claim_template, {"metadata", "name"}));
      const std::string claim = ClaimName(claim_template, pod_name);
      volumes.push_back(json::object{
          {"name", volume}, {"persistentVolumeClaim", json::object{{"claimName", claim}}}});
      plan_.claims.push_back(Claim(claim_template, claim));
    }
    spec["volumes"] = std::move(volumes);
  }

  kube::Object Claim(const json::value& claim_template, const std::string& name) const {
    json::value value = claim_template;
    json::object& object = value.as_object();
    object["apiVersion"] = "v1";
    object["kind"] = "PersistentVolumeClaim";
    object.erase("status");
    json::object& metadata = kube::MakePath(value, {"metadata"}).as_object();
    metadata["name"] = name;
    metadata["namespace"] = std::string(set_.namespace_name());
    if (const json::value* labels = set_.Find({"spec", "selector", "matchLabels"})) {
      metadata["labels"] = *labels;
    }
    kube::Object claim(std::move(value));
    if (set_.StringAt({"spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted"}) ==
        "Delete") {
      claim.AddOwnerReference({.api_version = "apps/v1",
                               .kind = "StatefulSet",
                               .name = std::string(set_.name()),
                               .uid = std::string(set_.uid())});
    }
    return claim;
  }

  json::value Status() const {
    int replicas = 0;
    int ready = 0;
    int current = 0;
    int updated = 0;
    for (const auto& [ordinal, pod] : pods_) {
      ++replicas;
      if (IsPodRunningAndReady(pod)) ++ready;
      if (pod.being_deleted()) continue;
      if (pod.label(kRevisionLabel) == revisions_.current) ++current;
      if (pod.label(kRevisionLabel) == revisions_.update) ++updated;
    }
    std::string current_revision = revisions_.current;
    const bool complete =
        RollsUpdates() && updated == replicas_ && ready == replicas_ && replicas == replicas_;
    if (complete) {
      current_revision = revisions_.update;
      current = updated;
    }
    return json::object{{"observedGeneration", set_.generation()},
                        {"replicas", replicas},
                        {"readyReplicas", ready},
                        {"availableReplicas", ready},
                        {"currentReplicas", current},
                        {"updatedReplicas", updated},
                        {"currentRevision", current_revision},
                        {"updateRevision", revisions_.update},
                        {"collisionCount", 0}};
  }

  const kube::Object& set_;
  const StatefulSetRevisions& revisions_;
  const int first_;
  const int replicas_;
  const bool parallel_;
  std::map<int, kube::Object> pods_;
  StatefulSetPlan plan_;
};

}  // namespace

StatefulSetPlan PlanStatefulSet(const kube::Object& set, const std::vector<kube::Object>& pods,
                                const StatefulSetRevisions& revisions) {
  return Planner(set, pods, revisions).Run();
}

}  // namespace local_cluster
