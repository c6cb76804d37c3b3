#include "workspace-controller/pod_failures.h"

#include <optional>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/conditions.h"
#include "common/kube/json.h"

namespace workspace_controller {
namespace {

namespace json = boost::json;

enum Severity {
  kOutOfMemory = 1,
  kImage = 2,
  kContainerStart = 3,
  kCrashLoop = 4,
  kEvicted = 5,
  kUnschedulable = 6,
};

constexpr size_t kMessageMax = 512;

std::string Cut(std::string_view text) { return std::string(text.substr(0, kMessageMax)); }

bool IsImageReason(std::string_view reason) {
  return reason == "ErrImagePull" || reason == "ImagePullBackOff" || reason == "InvalidImageName" ||
         reason == "ErrImageNeverPull" || reason == "ImageInspectError" ||
         reason == "RegistryUnavailable";
}

bool IsStartReason(std::string_view reason) {
  return reason == "CreateContainerConfigError" || reason == "CreateContainerError" ||
         reason == "RunContainerError" || reason == "ContainerCannotRun";
}

// The last end of a container: of the present one, else of the one before.
const json::value* Termination(const json::value& status) {
  if (const json::value* now = kube::FindPath(status, {"state", "terminated"})) return now;
  return kube::FindPath(status, {"lastState", "terminated"});
}

PodFailure ClassifyContainer(std::string_view pod, const json::value& status) {
  const std::string_view container = kube::StringAt(status, {"name"});
  const std::string_view waiting = kube::StringAt(status, {"state", "waiting", "reason"});
  const std::string_view words = kube::StringAt(status, {"state", "waiting", "message"});
  const json::value* ended = Termination(status);
  const bool is_running = kube::FindPath(status, {"state", "running"}) != nullptr;
  if (ended != nullptr && kube::StringAt(*ended, {"reason"}) == "OOMKilled" &&
      !kube::BoolAt(status, {"ready"})) {
    return {kOutOfMemory, "ContainerOOMKilled",
            absl::StrFormat("container %s of pod %s ran out of memory and was killed (exit code "
                            "%d); choose a larger type or a shorter max-model-len",
                            container, pod, kube::IntAt(*ended, {"exitCode"}, 137))};
  }
  if (IsImageReason(waiting)) {
    return {kImage, "ImagePullError",
            absl::StrFormat("container %s of pod %s: image %s cannot be pulled: %s %s", container,
                            pod, kube::StringAt(status, {"image"}), waiting, Cut(words))};
  }
  if (IsStartReason(waiting)) {
    return {kContainerStart, "ContainerStartError",
            absl::StrFormat("container %s of pod %s cannot start: %s %s", container, pod, waiting,
                            Cut(words))};
  }
  const bool ended_badly = ended != nullptr && kube::IntAt(*ended, {"exitCode"}) != 0;
  if (waiting == "CrashLoopBackOff" || (ended_badly && !is_running)) {
    const int64_t code = ended != nullptr ? kube::IntAt(*ended, {"exitCode"}) : 0;
    const std::string_view last =
        ended != nullptr ? kube::StringAt(*ended, {"message"}) : std::string_view();
    return {
        kCrashLoop, "ContainerCrashLoopBackOff",
        absl::StrFormat("container %s of pod %s ended with exit code %d%s%s; it is restarted "
                        "with a growing pause (kubectl logs %s -c %s)",
                        container, pod, code, last.empty() ? "" : ": ", Cut(last), pod, container)};
  }
  return {};
}

PodFailure ClassifyWholePod(const kube::Object& pod) {
  if (pod.StringAt({"status", "reason"}) == "Evicted") {
    const std::string message(pod.StringAt({"status", "message"}));
    std::string lower = message;
    absl::AsciiStrToLower(&lower);
    std::string reason = "PodEvicted";
    if (absl::StrContains(lower, "ephemeral-storage") || absl::StrContains(lower, "disk")) {
      reason = "NodeDiskPressure";
    } else if (absl::StrContains(lower, "memory")) {
      reason = "NodeMemoryPressure";
    }
    return {kEvicted, reason, absl::StrFormat("pod %s was evicted: %s", pod.name(), Cut(message))};
  }
  const std::optional<kube::Condition> scheduled = kube::FindCondition(pod, "PodScheduled");
  if (scheduled && scheduled->status == "False" && scheduled->reason == "Unschedulable") {
    return {kUnschedulable, "Unschedulable",
            absl::StrFormat("pod %s: %s", pod.name(), Cut(scheduled->message))};
  }
  return {};
}

void TakeWorse(PodFailure candidate, PodFailure& worst) {
  if (candidate.severity == 0) return;
  if (worst.severity == 0 || candidate.severity < worst.severity) worst = std::move(candidate);
}

}  // namespace

PodFailure ClassifyPod(const kube::Object& pod) {
  PodFailure worst;
  if (pod.being_deleted()) return worst;
  for (const char* list : {"initContainerStatuses", "containerStatuses"}) {
    const json::value* statuses = pod.Find({"status", list});
    if (statuses == nullptr || !statuses->is_array()) continue;
    for (const json::value& status : statuses->get_array()) {
      TakeWorse(ClassifyContainer(pod.name(), status), worst);
    }
  }
  TakeWorse(ClassifyWholePod(pod), worst);
  return worst;
}

PodFailure WorstFailure(const std::vector<kube::Object>& pods) {
  PodFailure worst;
  for (const kube::Object& pod : pods) TakeWorse(ClassifyPod(pod), worst);
  return worst;
}

std::string PodPhase(const kube::Object& pod) {
  if (kube::IsConditionTrue(pod, "Ready")) return "Serving";
  const json::value* statuses = pod.Find({"status", "containerStatuses"});
  if (statuses == nullptr || !statuses->is_array()) return "PullingImage";
  for (const json::value& status : statuses->get_array()) {
    const bool has_run =
        kube::FindPath(status, {"state", "running"}) != nullptr || Termination(status) != nullptr;
    if (!has_run) return "PullingImage";
  }
  return "LoadingWeights";
}

}  // namespace workspace_controller
