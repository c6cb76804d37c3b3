#include "kaito/explanation.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/conditions.h"
#include "common/kube/json.h"
#include "kaito/kube_access.h"

namespace kaito {
namespace {

namespace json = boost::json;
using kube::Condition;
using kube::Object;
using kube::StringAt;

std::string OneLine(std::string_view text) {
  std::string line(text.substr(0, 500));
  std::ranges::replace(line, '\n', ' ');
  return line;
}

std::string ReasonAndMessage(const Condition& condition) {
  if (condition.message.empty()) return condition.reason;
  return absl::StrFormat("%s: %s", condition.reason, OneLine(condition.message));
}

// The first of `types` that is there and not True.
std::optional<Condition> FirstNotTrue(const Object& object,
                                      std::initializer_list<const char*> types) {
  for (const char* type : types) {
    std::optional<Condition> condition = kube::FindCondition(object, type);
    if (condition && condition->status != "True") return condition;
  }
  return std::nullopt;
}

const json::array& ArrayAt(const Object& object, std::initializer_list<std::string_view> path) {
  static const auto* const empty = new json::array();
  const json::value* found = object.Find(path);
  return found == nullptr || !found->is_array() ? *empty : found->as_array();
}

// What is wrong with a container; "" when it is well.
std::string ContainerTrouble(const json::value& status) {
  if (const json::value* waiting = kube::FindPath(status, {"state", "waiting"})) {
    const std::string_view reason = StringAt(*waiting, {"reason"}, "waiting");
    const std::string_view message = StringAt(*waiting, {"message"});
    std::string text = absl::StrFormat("%s%s%s", reason, message.empty() ? "" : ": ", message);
    if (const json::value* last = kube::FindPath(status, {"lastState", "terminated"})) {
      text += absl::StrFormat(" (last exit code %d, %s)", kube::IntAt(*last, {"exitCode"}),
                              StringAt(*last, {"reason"}, "Error"));
    }
    return OneLine(text);
  }
  if (const json::value* ended = kube::FindPath(status, {"state", "terminated"})) {
    const int64_t code = kube::IntAt(*ended, {"exitCode"});
    if (code == 0) return "";
    return OneLine(absl::StrFormat("ended with exit code %d, %s %s", code,
                                   StringAt(*ended, {"reason"}), StringAt(*ended, {"message"})));
  }
  if (!kube::BoolAt(status, {"ready"})) {
    if (kube::FindPath(status, {"state", "running"}) == nullptr) return "has not started";
    return kube::BoolAt(status, {"started"}) ? "runs, but its readiness probe does not pass"
                                             : "runs, but is still starting";
  }
  return "";
}

void ExplainClaims(const Evidence& evidence, std::vector<Cause>& causes) {
  for (const Object& claim : evidence.node_claims) {
    const std::string where = absl::StrFormat("node claim %s", claim.name());
    if (claim.being_deleted()) {
      causes.push_back({where, "is being deleted"});
      continue;
    }
    const std::optional<Condition> condition =
        FirstNotTrue(claim, {"Launched", "Registered", "Initialized", "Ready"});
    if (condition) {
      causes.push_back({where, absl::StrFormat("%s is %s: %s", condition->type, condition->status,
                                               ReasonAndMessage(*condition))});
    } else if (claim.Find({"status", "conditions"}) == nullptr) {
      causes.push_back({where, "gpu-provisioner has not looked at it yet"});
    }
  }
  for (const Object& node : evidence.nodes) {
    if (kube::IsConditionTrue(node, "Ready")) continue;
    const std::optional<Condition> ready = kube::FindCondition(node, "Ready");
    causes.push_back({absl::StrFormat("node %s", node.name()),
                      ready ? "is not ready: " + ReasonAndMessage(*ready) : "says nothing"});
  }
}

void ExplainPods(const Evidence& evidence, std::vector<Cause>& causes) {
  for (const Object& pod : evidence.pods) {
    const std::string where = absl::StrFormat("pod %s", pod.name());
    if (pod.being_deleted()) {
      causes.push_back({where, "is being ended"});
      continue;
    }
    bool said = false;
    for (const char* list : {"initContainerStatuses", "containerStatuses"}) {
      for (const json::value& status : ArrayAt(pod, {"status", list})) {
        const std::string trouble = ContainerTrouble(status);
        if (trouble.empty()) continue;
        causes.push_back(
            {where, absl::StrFormat("container %s: %s", StringAt(status, {"name"}), trouble)});
        said = true;
      }
    }
    const std::optional<Condition> scheduled = kube::FindCondition(pod, "PodScheduled");
    if (scheduled && scheduled->status != "True") {
      causes.push_back({where, "has no node: " + ReasonAndMessage(*scheduled)});
    } else if (!said && !kube::IsConditionTrue(pod, "Ready")) {
      const std::string_view reason = pod.StringAt({"status", "reason"});
      causes.push_back({where, absl::StrFormat("is %s %s", pod.StringAt({"status", "phase"}),
                                               reason.empty() ? "and not ready" : reason)});
    }
  }
  for (const auto& [where, line] : evidence.last_log_lines) {
    if (!line.empty()) causes.push_back({"log of " + where, OneLine(line)});
  }
}

// The newest warning, which often says more than a condition may.
void ExplainEvents(const Evidence& evidence, std::vector<Cause>& causes) {
  const Object* newest = nullptr;
  const auto time = [](const Object& event) {
    for (const std::string_view text :
         {event.StringAt({"series", "lastObservedTime"}), event.StringAt({"eventTime"}),
          event.StringAt({"deprecatedLastTimestamp"}), event.StringAt({"lastTimestamp"})}) {
      if (!text.empty()) return std::string(text);
    }
    return std::string();
  };
  for (const Object& event : evidence.events) {
    if (event.StringAt({"type"}) != "Warning") continue;
    if (newest == nullptr || time(event) > time(*newest)) newest = &event;
  }
  if (newest == nullptr) return;
  std::string_view note = newest->StringAt({"note"});
  if (note.empty()) note = newest->StringAt({"message"});
  causes.push_back(
      {"last warning", absl::StrFormat("%s: %s", newest->StringAt({"reason"}), OneLine(note))});
}

struct Advice {
  std::string_view sign;  // In any cause's text, letters as they come.
  std::string_view step;
};

// The first sign that is found decides, so the exact ones come first.
constexpr std::array<Advice, 19> kAdvice = {{
    {"QuotaExceeded", "ask for more quota of this VM family, or choose another instanceType"},
    {"quota", "ask for more quota of this VM family, or choose another instanceType"},
    {"SkuNotAvailable", "choose another instanceType or region: this one is not sold there"},
    {"InsufficientCapacity", "the cloud has no such machine now: wait, or choose another type"},
    {"AllocationFailed", "the cloud has no such machine now: wait, or choose another instanceType"},
    {"AuthorizationFailed", "give gpu-provisioner's identity the right to manage agent pools"},
    {"InvalidSpec", "correct the Workspace: `kubectl edit workspace %s`"},
    {"NodePlanRefused", "choose another instanceType: `kubectl edit workspace %s`"},
    {"ModelDoesNotFit", "choose a larger instanceType or a smaller model"},
    {"GpuNotSupported", "choose an instanceType with a supported GPU"},
    {"ConfigMapNotFound", "create the ConfigMap that the Workspace names"},
    {"SecretNotFound", "create the Secret that the Workspace names"},
    {"ImagePull", "check the image name and the pull secret"},
    {"OOMKilled", "choose a larger instanceType, or a smaller max_model_len"},
    {"CrashLoopBackOff", "read its log: `kaito logs %s`"},
    {"ended with exit code", "read its log: `kaito logs %s`"},
    {"still starting", "wait: the model is being loaded; `kaito logs %s -f` shows it"},
    {"not looked at it yet", "see that gpu-provisioner runs: `kaito status`"},
    {"has no node", "see `kubectl get nodes`: none fits, or none is ready"},
}};

std::string NextStep(const Explanation& explanation, const Object& workspace) {
  for (const Advice& advice : kAdvice) {
    for (const Cause& cause : explanation.causes) {
      if (cause.text.find(advice.sign) == std::string::npos) continue;
      std::string step(advice.step);
      if (const size_t at = step.find("%s"); at != std::string::npos) {
        step.replace(at, 2, workspace.name());
      }
      return step;
    }
  }
  return absl::StrFormat("wait; `kubectl get workspace %s -n %s -w` shows each change",
                         workspace.name(), workspace.namespace_name());
}

void ExplainDeletion(const Evidence& evidence, Explanation& explanation) {
  std::string waits;
  for (const std::string& finalizer : evidence.workspace.finalizers()) waits += " " + finalizer;
  explanation.causes.push_back(
      {"deletion", waits.empty() ? "is about to end" : "waits for the finalizer" + waits});
  if (const auto condition = kube::FindCondition(evidence.workspace, "WorkspaceDeleting")) {
    explanation.causes.push_back({"condition WorkspaceDeleting", ReasonAndMessage(*condition)});
  }
  ExplainClaims(evidence, explanation.causes);
}

}  // namespace

std::vector<TroubledContainer> TroubledContainers(const std::vector<Object>& pods) {
  std::vector<TroubledContainer> troubled;
  for (const Object& pod : pods) {
    for (const json::value& status : ArrayAt(pod, {"status", "containerStatuses"})) {
      if (ContainerTrouble(status).empty()) continue;
      const bool waiting = kube::FindPath(status, {"state", "waiting"}) != nullptr;
      const bool ran = kube::FindPath(status, {"lastState", "terminated"}) != nullptr;
      if (waiting && !ran) continue;  // It never wrote a line.
      troubled.push_back({.pod = std::string(pod.name()),
                          .container = std::string(StringAt(status, {"name"})),
                          .previous = waiting});
    }
  }
  return troubled;
}

Explanation Explain(const Evidence& evidence) {
  const Object& workspace = evidence.workspace;
  Explanation explanation;
  const std::string name = workspace.key().ToString();
  explanation.ready = IsWorkspaceReady(workspace);
  if (explanation.ready) {
    explanation.headline = absl::StrFormat("workspace %s is ready", name);
    explanation.next_step = absl::StrFormat("`kaito chat %s`", workspace.name());
    return explanation;
  }
  for (const std::string& process : evidence.dead_processes) {
    explanation.causes.push_back({"process " + process, "is not running"});
  }
  if (workspace.being_deleted()) {
    explanation.headline = absl::StrFormat("workspace %s is being deleted", name);
    ExplainDeletion(evidence, explanation);
    explanation.next_step = NextStep(explanation, workspace);
    return explanation;
  }
  explanation.headline = absl::StrFormat("workspace %s is not ready", name);
  const bool has_conditions = !ArrayAt(workspace, {"status", "conditions"}).empty();
  if (!has_conditions) {
    explanation.causes.push_back(
        {"status", "is empty: workspace-controller has not looked at it yet"});
    explanation.next_step = "see that workspace-controller runs: `kaito status`";
    return explanation;
  }
  for (const char* type : {"ResourceReady", "InferenceReady", "JobStarted", "WorkspaceSucceeded"}) {
    const std::optional<Condition> condition = kube::FindCondition(workspace, type);
    if (!condition || condition->status == "True") continue;
    explanation.causes.push_back({absl::StrFormat("condition %s is %s", type, condition->status),
                                  ReasonAndMessage(*condition)});
    break;  // Those after it only follow from it.
  }
  if (!kube::IsConditionTrue(workspace, "ResourceReady")) {
    if (const auto part = FirstNotTrue(workspace, {"NodeClaimReady", "NodesReady"})) {
      explanation.causes.push_back({absl::StrFormat("condition %s is %s", part->type, part->status),
                                    ReasonAndMessage(*part)});
    }
    ExplainClaims(evidence, explanation.causes);
  } else {
    ExplainPods(evidence, explanation.causes);
  }
  ExplainEvents(evidence, explanation.causes);
  explanation.next_step = NextStep(explanation, workspace);
  return explanation;
}

}  // namespace kaito
