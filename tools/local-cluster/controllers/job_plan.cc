#include <algorithm>
#include <cstdlib>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

#include "boost/json.hpp"
#include "common/kube/conditions.h"
#include "common/kube/json.h"
#include "local-cluster/controllers/job.h"
#include "local-cluster/controllers/objects.h"

namespace local_cluster {
namespace {

namespace json = boost::json;

constexpr absl::Duration kRetryInitial = absl::Seconds(10);
constexpr absl::Duration kRetryMax = absl::Minutes(6);
constexpr char kIndexAnnotation[] = "batch.kubernetes.io/job-completion-index";

struct Failure {
  std::string reason;
  std::string message;
};

// `detail` says which container matched.
bool ExitCodesMatch(const json::value& rule, const kube::Object& pod, std::string& detail) {
  const std::string_view container = kube::StringAt(rule, {"containerName"});
  const bool in = kube::StringAt(rule, {"operator"}) == "In";
  for (const std::string_view list : {"containerStatuses", "initContainerStatuses"}) {
    for (const json::value& status : ArrayAt(pod.json(), {"status", list})) {
      const std::string_view name = kube::StringAt(status, {"name"});
      const json::value* ended = kube::FindPath(status, {"state", "terminated"});
      if (ended == nullptr || (!container.empty() && container != name)) continue;
      const int64_t code = kube::IntAt(*ended, {"exitCode"});
      if (code == 0) continue;
      const bool listed = std::ranges::any_of(
          ArrayAt(rule, {"values"}),
          [&](const json::value& value) { return value.is_int64() && value.get_int64() == code; });
      if (listed != in) continue;
      detail = absl::StrFormat("Container %s for pod %s failed with exit code %d", name,
                               pod.key().ToString(), code);
      return true;
    }
  }
  return false;
}

bool ConditionsMatch(const json::array& patterns, const kube::Object& pod, std::string& detail) {
  for (const json::value& pattern : patterns) {
    const std::string_view type = kube::StringAt(pattern, {"type"});
    const std::optional<kube::Condition> condition = kube::FindCondition(pod, type);
    if (!condition || condition->status != kube::StringAt(pattern, {"status"}, "True")) continue;
    detail = absl::StrFormat("Pod %s has condition %s", pod.key().ToString(), type);
    return true;
  }
  return false;
}

class Planner {
 public:
  Planner(const kube::Object& job, const std::vector<kube::Object>& pods, absl::Time now)
      : job_(job), pods_(pods), now_(now) {
    for (const kube::Object& pod : pods_) Count(pod);
  }

  JobPlan Run() {
    if (IsFinished()) {
      CleanUp();
      return std::move(plan_);
    }
    if (job_.being_deleted()) {
      plan_.release = pods_;
      return std::move(plan_);
    }
    suspended_ = job_.BoolAt({"spec", "suspend"});
    failure_ = FindFailure();
    complete_ = !failure_ && IsComplete();
    if (failure_ || complete_ || suspended_) {
      plan_.remove = active_;
      if (failure_ || complete_) ReleaseAll();
    } else {
      Adjust();
    }
    plan_.status = std::make_unique<json::value>(Status());
    return std::move(plan_);
  }

 private:
  void Count(const kube::Object& pod) {
    const std::string_view phase = pod.StringAt({"status", "phase"});
    if (phase == "Succeeded") {
      succeeded_.push_back(pod);
    } else if (phase == "Failed" || pod.being_deleted()) {
      // A pod that was deleted while it ran counts as failed, once it has ended.
      (IsPodFinished(pod) || pod.StringAt({"spec", "nodeName"}).empty() ? failed_ : terminating_)
          .push_back(pod);
    } else {
      active_.push_back(pod);
    }
  }

  bool IsFinished() const {
    return kube::IsConditionTrue(job_, "Complete") || kube::IsConditionTrue(job_, "Failed");
  }

  bool IsIndexed() const { return job_.StringAt({"spec", "completionMode"}) == "Indexed"; }
  bool HasCompletions() const { return job_.Find({"spec", "completions"}) != nullptr; }
  int64_t Completions() const { return job_.IntAt({"spec", "completions"}, 1); }

  static std::string IndexOf(const kube::Object& pod) {
    return std::string(pod.annotation(kIndexAnnotation));
  }

  std::set<int64_t> SucceededIndexes() const {
    std::set<int64_t> indexes;
    for (const kube::Object& pod : succeeded_) {
      const int64_t index = strtoll(IndexOf(pod).c_str(), nullptr, 10);
      if (index < Completions()) indexes.insert(index);
    }
    return indexes;
  }

  int64_t SucceededCount() const {
    return IsIndexed() ? static_cast<int64_t>(SucceededIndexes().size())
                       : static_cast<int64_t>(succeeded_.size());
  }

  bool IsComplete() const {
    if (HasCompletions()) return SucceededCount() >= Completions();
    // A work queue: one success says that the work is done; the others end by themselves.
    return !succeeded_.empty() && active_.empty() && terminating_.empty();
  }

  absl::Time StartTime() const {
    return kube::ParseTime(job_.StringAt({"status", "startTime"})).value_or(now_);
  }

  std::optional<Failure> FindFailure() {
    counted_failures_ = 0;
    for (const kube::Object& pod : failed_) {
      std::string detail;
      const std::string action = PolicyAction(pod, detail);
      if (action == "FailJob") {
        return Failure{"PodFailurePolicy",
                       absl::StrFormat("%s matching FailJob rule at index %d", detail, rule_)};
      }
      if (action != "Ignore") ++counted_failures_;
    }
    if (const int64_t seconds = job_.IntAt({"spec", "activeDeadlineSeconds"});
        seconds > 0 && !suspended_) {
      const absl::Time deadline = StartTime() + absl::Seconds(seconds);
      if (now_ >= deadline) {
        return Failure{"DeadlineExceeded", "Job was active longer than specified deadline"};
      }
      LookAgainAt(deadline);
    }
    if (counted_failures_ + Restarts() > job_.IntAt({"spec", "backoffLimit"}, 6)) {
      return Failure{"BackoffLimitExceeded", "Job has reached the specified backoff limit"};
    }
    return std::nullopt;
  }

  // With restartPolicy OnFailure the containers' restarts count.
  int64_t Restarts() const {
    if (job_.StringAt({"spec", "template", "spec", "restartPolicy"}) != "OnFailure") return 0;
    int64_t restarts = 0;
    for (const kube::Object& pod : active_) {
      for (const json::value& status : ArrayAt(pod.json(), {"status", "containerStatuses"})) {
        restarts += kube::IntAt(status, {"restartCount"});
      }
    }
    return restarts;
  }

  std::string PolicyAction(const kube::Object& pod, std::string& detail) {
    rule_ = 0;
    for (const json::value& rule : ArrayAt(job_.json(), {"spec", "podFailurePolicy", "rules"})) {
      const json::value* codes = kube::FindPath(rule, {"onExitCodes"});
      const bool matches = (codes != nullptr && ExitCodesMatch(*codes, pod, detail)) ||
                           ConditionsMatch(ArrayAt(rule, {"onPodConditions"}), pod, detail);
      if (matches) return std::string(kube::StringAt(rule, {"action"}));
      ++rule_;
    }
    return "Count";
  }

  void LookAgainAt(absl::Time time) {
    const absl::Duration wait = std::max(time - now_, absl::Milliseconds(1));
    if (plan_.look_again == absl::ZeroDuration() || wait < plan_.look_again) {
      plan_.look_again = wait;
    }
  }

  // After the n-th failure without a success since, the next pod waits 10 s × 2^(n-1).
  absl::Time NextStart() const {
    absl::Time last_failure = absl::InfinitePast();
    for (const kube::Object& pod : failed_) last_failure = std::max(last_failure, EndOf(pod));
    if (counted_failures_ == 0 || failed_.empty()) return absl::InfinitePast();
    absl::Duration wait = kRetryInitial;
    for (int64_t i = 1; i < counted_failures_ && wait < kRetryMax; ++i) wait *= 2;
    return last_failure + std::min(wait, kRetryMax);
  }

  absl::Time EndOf(const kube::Object& pod) const {
    absl::Time end = absl::InfinitePast();
    for (const json::value& status : ArrayAt(pod.json(), {"status", "containerStatuses"})) {
      const auto time =
          kube::ParseTime(kube::StringAt(status, {"state", "terminated", "finishedAt"}));
      if (time) end = std::max(end, *time);
    }
    return end == absl::InfinitePast() ? now_ : end;
  }

  void Adjust() {
    const int64_t running = static_cast<int64_t>(active_.size() + terminating_.size());
    int64_t wanted = job_.IntAt({"spec", "parallelism"}, 1);
    if (HasCompletions()) {
      wanted = std::min(wanted, Completions() - SucceededCount());
    } else if (!succeeded_.empty()) {
      wanted = std::min(wanted, running);
    }
    for (int64_t i = wanted; i < static_cast<int64_t>(active_.size()); ++i) {
      plan_.remove.push_back(active_[i]);
    }
    if (running >= wanted) return;
    if (const absl::Time start = NextStart(); start > now_) return LookAgainAt(start);
    constexpr int64_t kBatch = 500;
    for (int64_t i = running; i < std::min(wanted, running + kBatch); ++i) Create();
  }

  void Create() {
    const json::value* pod_template = job_.Find({"spec", "template"});
    if (pod_template == nullptr) return;
    std::string name = absl::StrFormat("%s-%s", job_.name(), RandomSuffix());
    std::optional<int64_t> index;
    if (IsIndexed()) {
      index = FreeIndex();
      if (!index) return;
      name = absl::StrFormat("%s-%d-%s", job_.name(), *index, RandomSuffix());
    }
    kube::Object pod = PodFromTemplate(job_, *pod_template, name);
    for (const std::string_view prefix : {"", "batch.kubernetes.io/"}) {
      pod.SetLabel(absl::StrFormat("%sjob-name", prefix), job_.name());
      pod.SetLabel(absl::StrFormat("%scontroller-uid", prefix), job_.uid());
    }
    json::value& metadata = kube::MakePath(pod.mutable_json(), {"metadata"});
    metadata.as_object()["finalizers"] = json::array{kJobFinalizer};
    if (index) SetIndex(pod, *index);
    plan_.create.push_back(std::move(pod));
  }

  std::optional<int64_t> FreeIndex() const {
    std::set<int64_t> taken = SucceededIndexes();
    for (const auto* list : {&active_, &terminating_, &plan_.create}) {
      for (const kube::Object& pod : *list) {
        taken.insert(strtoll(IndexOf(pod).c_str(), nullptr, 10));
      }
    }
    for (int64_t index = 0; index < Completions(); ++index) {
      if (!taken.contains(index)) return index;
    }
    return std::nullopt;
  }

  void SetIndex(kube::Object& pod, int64_t index) const {
    const std::string text = std::to_string(index);
    pod.SetAnnotation(kIndexAnnotation, text);
    pod.SetLabel(kIndexAnnotation, text);
    json::object& spec = kube::MakePath(pod.mutable_json(), {"spec"}).as_object();
    spec["hostname"] = absl::StrFormat("%s-%s", job_.name(), text);
    json::value& containers = spec["containers"];
    if (!containers.is_array()) return;
    for (json::value& container : containers.get_array()) {
      if (!container.is_object()) continue;
      json::value& env = container.as_object()["env"];
      if (!env.is_array()) env = json::array{};
      env.get_array().push_back(json::object{{"name", "JOB_COMPLETION_INDEX"}, {"value", text}});
    }
  }

  void ReleaseAll() {
    for (const kube::Object& pod : pods_) {
      if (pod.HasFinalizer(kJobFinalizer)) plan_.release.push_back(pod);
    }
  }

  void CleanUp() {
    ReleaseAll();
    for (const kube::Object& pod : active_) plan_.remove.push_back(pod);
    const json::value* ttl = job_.Find({"spec", "ttlSecondsAfterFinished"});
    if (ttl == nullptr || !ttl->is_int64()) return;
    absl::Time finished = now_;
    for (const json::value& condition : ArrayAt(job_.json(), {"status", "conditions"})) {
      const std::string_view type = kube::StringAt(condition, {"type"});
      if (type != "Complete" && type != "Failed") continue;
      finished = kube::ParseTime(kube::StringAt(condition, {"lastTransitionTime"})).value_or(now_);
    }
    const absl::Time end = finished + absl::Seconds(ttl->get_int64());
    if (end <= now_) {
      plan_.delete_job = true;
    } else {
      LookAgainAt(end);
    }
  }

  json::value Status() const {
    const auto active = static_cast<int64_t>(active_.size() + plan_.create.size());
    int64_t ready = 0;
    for (const kube::Object& pod : active_) ready += IsPodReady(pod) ? 1 : 0;
    const bool ends = failure_ || complete_ || suspended_;
    json::object status{{"active", ends ? 0 : active},
                        {"ready", ends ? 0 : ready},
                        {"terminating", static_cast<int64_t>(terminating_.size())},
                        {"succeeded", SucceededCount()},
                        {"failed", static_cast<int64_t>(failed_.size())},
                        {"uncountedTerminatedPods", json::object{}}};
    if (!suspended_) status["startTime"] = kube::FormatTime(StartTime());
    if (complete_) status["completionTime"] = kube::FormatTime(now_);
    if (IsIndexed()) {
      std::vector<std::string> indexes;
      for (const int64_t index : SucceededIndexes()) indexes.push_back(std::to_string(index));
      status["completedIndexes"] = absl::StrJoin(indexes, ",");
    }
    json::array conditions;
    if (complete_) {
      for (const std::string_view type : {"SuccessCriteriaMet", "Complete"}) {
        conditions.push_back(
            Condition(type, "CompletionsReached", "Reached expected number of succeeded pods"));
      }
    } else if (failure_) {
      for (const std::string_view type : {"FailureTarget", "Failed"}) {
        conditions.push_back(Condition(type, failure_->reason, failure_->message));
      }
    } else if (suspended_) {
      conditions.push_back(Condition("Suspended", "JobSuspended", "Job suspended"));
    }
    if (!conditions.empty()) status["conditions"] = std::move(conditions);
    return status;
  }

  // Conditions here only ever become true, so an old one of the same type stays as it is.
  json::value Condition(std::string_view type, std::string_view reason,
                        std::string_view message) const {
    for (const json::value& old : ArrayAt(job_.json(), {"status", "conditions"})) {
      if (kube::StringAt(old, {"type"}) == type && kube::StringAt(old, {"status"}) == "True") {
        return old;
      }
    }
    return json::object{{"type", std::string(type)},
                        {"status", "True"},
                        {"reason", std::string(reason)},
                        {"message", std::string(message)},
                        {"lastProbeTime", kube::FormatTime(now_)},
                        {"lastTransitionTime", kube::FormatTime(now_)}};
  }

  const kube::Object& job_;
  const std::vector<kube::Object>& pods_;
  const absl::Time now_;
  std::vector<kube::Object> active_;
  std::vector<kube::Object> terminating_;
  std::vector<kube::Object> succeeded_;
  std::vector<kube::Object> failed_;
  int64_t counted_failures_ = 0;
  int rule_ = 0;  // Of the podFailurePolicy: the last one looked at.
  bool suspended_ = false;
  bool complete_ = false;
  std::optional<Failure> failure_;
  JobPlan plan_;
};

}  // namespace

JobPlan PlanJob(const kube::Object& job, const std::vector<kube::Object>& pods, absl::Time now) {
  return Planner(job, pods, now).Run();
}

}  // namespace local_cluster
