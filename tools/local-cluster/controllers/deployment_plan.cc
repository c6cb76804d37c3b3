#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/conditions.h"
#include "common/kube/json.h"
#include "local-cluster/controllers/deployment.h"
#include "local-cluster/controllers/objects.h"

namespace local_cluster {
namespace {

namespace json = boost::json;

constexpr char kHashLabel[] = "pod-template-hash";
constexpr char kRevisionAnnotation[] = "deployment.kubernetes.io/revision";

int64_t Replicas(const kube::Object& set) { return set.IntAt({"spec", "replicas"}, 1); }
int64_t Ready(const kube::Object& set) { return set.IntAt({"status", "readyReplicas"}); }
int64_t Revision(const kube::Object& set) {
  return strtoll(std::string(set.annotation(kRevisionAnnotation)).c_str(), nullptr, 10);
}

// maxSurge and maxUnavailable: a number, or a percentage of `replicas`.
int64_t NumberOrPercent(const kube::Object& object, std::string_view member, int64_t replicas,
                        bool round_up) {
  const json::value* value = object.Find({"spec", "strategy", "rollingUpdate", member});
  if (value != nullptr && !value->is_string()) {
    return object.IntAt({"spec", "strategy", "rollingUpdate", member});
  }
  const std::string text(object.StringAt({"spec", "strategy", "rollingUpdate", member}));
  const double share =
      (text.empty() ? 25.0 : strtod(text.c_str(), nullptr)) / 100.0 * static_cast<double>(replicas);
  return static_cast<int64_t>(round_up ? std::ceil(share) : std::floor(share));
}

// Pods that are not ready, and younger ones, go first.
bool GoesBefore(const kube::Object& a, const kube::Object& b) {
  const auto rank = [](const kube::Object& pod) {
    return std::pair(IsPodRunningAndReady(pod), pod.StringAt({"spec", "nodeName"}).empty() ? 0 : 1);
  };
  if (rank(a) != rank(b)) return rank(a) < rank(b);
  return a.creation_time() > b.creation_time();
}

class Planner {
 public:
  Planner(const kube::Object& deployment, const std::vector<kube::Object>& sets, absl::Time now)
      : deployment_(deployment),
        now_(now),
        wanted_(Replicas(deployment)),
        hash_(TemplateHash(*deployment.Find({"spec", "template"}))) {
    for (const kube::Object& set : sets) {
      if (set.label(kHashLabel) == hash_) {
        current_ = set;
      } else {
        old_.push_back(set);
      }
    }
  }

  DeploymentPlan Run() {
    if (!current_) {
      plan_.create = NewSet();
    } else if (!deployment_.BoolAt({"spec", "paused"})) {
      Scale();
    }
    RemoveOld();
    plan_.status = std::make_unique<json::value>(Status());
    return std::move(plan_);
  }

 private:
  bool Recreates() const {
    return deployment_.StringAt({"spec", "strategy", "type"}) == "Recreate";
  }

  int64_t OldReplicas() const {
    int64_t sum = 0;
    for (const kube::Object& set : old_) sum += Replicas(set);
    return sum;
  }

  kube::Object NewSet() const {
    const json::value& pod_template = *deployment_.Find({"spec", "template"});
    int64_t revision = 0;
    for (const kube::Object& set : old_) revision = std::max(revision, Revision(set));
    const bool alone = OldReplicas() == 0;
    const int64_t surge = NumberOrPercent(deployment_, "maxSurge", wanted_, true);
    const int64_t first = alone ? wanted_
                          : Recreates()
                              ? 0
                              : std::clamp<int64_t>(wanted_ + surge - OldReplicas(), 0, wanted_);
    kube::Object set(json::object{
        {"apiVersion", "apps/v1"},
        {"kind", "ReplicaSet"},
        {"metadata", json::object{{"name", absl::StrFormat("%s-%s", deployment_.name(), hash_)},
                                  {"namespace", std::string(deployment_.namespace_name())}}},
        {"spec", json::object{{"replicas", first}, {"template", pod_template}}}});
    json::value selector = *deployment_.Find({"spec", "selector"});
    kube::MakePath(selector, {"matchLabels"}).as_object()[kHashLabel] = hash_;
    kube::MakePath(set.mutable_json(), {"spec", "selector"}) = std::move(selector);
    kube::MakePath(set.mutable_json(), {"spec", "template", "metadata", "labels"})
        .as_object()[kHashLabel] = hash_;
    if (const json::value* labels = kube::FindPath(pod_template, {"metadata", "labels"})) {
      kube::MakePath(set.mutable_json(), {"metadata", "labels"}) = *labels;
    }
    set.SetLabel(kHashLabel, hash_);
    set.SetAnnotation(kRevisionAnnotation, std::to_string(revision + 1));
    set.AddOwnerReference({.api_version = "apps/v1",
                           .kind = "Deployment",
                           .name = std::string(deployment_.name()),
                           .uid = std::string(deployment_.uid()),
                           .controller = true,
                           .block_owner_deletion = true});
    return set;
  }

  void SetScale(const kube::Object& set, int64_t replicas) {
    if (Replicas(set) != replicas) plan_.scale[std::string(set.name())] = replicas;
  }

  void Scale() {
    const int64_t old_total = OldReplicas();
    if (Recreates()) {
      for (const kube::Object& set : old_) SetScale(set, 0);
      int64_t running = 0;
      for (const kube::Object& set : old_) running += set.IntAt({"status", "replicas"});
      if (running == 0 && old_total == 0) SetScale(*current_, wanted_);
      return;
    }
    const int64_t surge = NumberOrPercent(deployment_, "maxSurge", wanted_, true);
    const int64_t unavailable = std::max<int64_t>(
        NumberOrPercent(deployment_, "maxUnavailable", wanted_, false), surge == 0 ? 1 : 0);
    const int64_t room = std::max<int64_t>(wanted_ + surge - old_total, 0);
    SetScale(*current_, std::clamp<int64_t>(std::max(Replicas(*current_), room), 0, wanted_));
    int64_t ready = Ready(*current_);
    for (const kube::Object& set : old_) ready += Ready(set);
    // Pods that are not ready serve nobody, so they go whatever the limit.
    int64_t may_go = std::max<int64_t>(ready - (wanted_ - unavailable), 0);
    for (const kube::Object& set : old_) {
      const int64_t unready = Replicas(set) - std::min(Replicas(set), Ready(set));
      const int64_t go = std::min(Replicas(set), unready + may_go);
      may_go -= std::max<int64_t>(go - unready, 0);
      SetScale(set, Replicas(set) - go);
    }
  }

  void RemoveOld() {
    std::vector<kube::Object> unused;
    for (const kube::Object& set : old_) {
      if (Replicas(set) == 0 && set.IntAt({"status", "replicas"}) == 0) unused.push_back(set);
    }
    std::ranges::sort(unused, {}, [](const kube::Object& set) { return Revision(set); });
    const auto limit = static_cast<size_t>(deployment_.IntAt({"spec", "revisionHistoryLimit"}, 10));
    for (size_t i = 0; i + limit < unused.size(); ++i) plan_.remove.push_back(unused[i]);
  }

  json::value Status() const {
    int64_t replicas = current_ ? current_->IntAt({"status", "replicas"}) : 0;
    const int64_t updated = replicas;
    int64_t ready = current_ ? Ready(*current_) : 0;
    for (const kube::Object& set : old_) {
      replicas += set.IntAt({"status", "replicas"});
      ready += Ready(set);
    }
    const int64_t unavailable_max = NumberOrPercent(deployment_, "maxUnavailable", wanted_, false);
    const bool available = ready >= wanted_ - unavailable_max;
    const bool complete = updated == wanted_ && replicas == wanted_ && ready == wanted_ && current_;
    json::object status{{"observedGeneration", deployment_.generation()},
                        {"replicas", replicas},
                        {"updatedReplicas", updated},
                        {"readyReplicas", ready},
                        {"availableReplicas", ready},
                        {"unavailableReplicas", std::max<int64_t>(wanted_ - ready, 0)}};
    status["conditions"] = kube::ConditionsJson(
        deployment_,
        {{.type = "Available",
          .status = available ? "True" : "False",
          .reason = available ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
          .message = available ? "Deployment has minimum availability."
                               : "Deployment does not have minimum availability."},
         {.type = "Progressing",
          .status = "True",
          .reason = complete ? "NewReplicaSetAvailable" : "ReplicaSetUpdated",
          .message =
              absl::StrFormat("ReplicaSet \"%s-%s\" %s", deployment_.name(), hash_,
                              complete ? "has successfully progressed." : "is progressing.")}},
        now_);
    return status;
  }

  const kube::Object& deployment_;
  const absl::Time now_;
  const int64_t wanted_;
  const std::string hash_;
  std::optional<kube::Object> current_;
  std::vector<kube::Object> old_;
  DeploymentPlan plan_;
};

}  // namespace

ReplicaSetPlan PlanReplicaSet(const kube::Object& set, const std::vector<kube::Object>& pods) {
  ReplicaSetPlan plan;
  std::vector<kube::Object> active;
  for (const kube::Object& pod : pods) {
    if (!pod.being_deleted() && !IsPodFinished(pod)) active.push_back(pod);
  }
  const int64_t wanted = set.being_deleted() ? static_cast<int64_t>(active.size()) : Replicas(set);
  const json::value* pod_template = set.Find({"spec", "template"});
  for (auto i = static_cast<int64_t>(active.size()); i < wanted && pod_template; ++i) {
    plan.create.push_back(
        PodFromTemplate(set, *pod_template, absl::StrFormat("%s-%s", set.name(), RandomSuffix())));
  }
  std::ranges::sort(active, GoesBefore);
  for (int64_t i = 0; i + wanted < static_cast<int64_t>(active.size()); ++i) {
    plan.remove.push_back(active[i]);
  }
  const auto ready = std::ranges::count_if(active, IsPodRunningAndReady);
  plan.status = std::make_unique<json::value>(
      json::object{{"replicas", static_cast<int64_t>(active.size())},
                   {"fullyLabeledReplicas", static_cast<int64_t>(active.size())},
                   {"readyReplicas", ready},
                   {"availableReplicas", ready},
                   {"observedGeneration", set.generation()}});
  return plan;
}

DeploymentPlan PlanDeployment(const kube::Object& deployment, const std::vector<kube::Object>& sets,
                              absl::Time now) {
  return Planner(deployment, sets, now).Run();
}

}  // namespace local_cluster
