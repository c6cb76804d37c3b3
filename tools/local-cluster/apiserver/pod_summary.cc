// What kubectl shows as a Pod's status, in the words of Kubernetes' own printer.

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "common/kube/object.h"
#include "local-cluster/apiserver/printers.h"
#include "local-cluster/apiserver/table.h"

namespace local_cluster {
namespace {

using boost::json::array;
using boost::json::value;

const array& ArrayAt(const value& whole, std::initializer_list<std::string_view> path) {
  static const array kNone;
  const value* found = kube::FindPath(whole, path);
  return found == nullptr || !found->is_array() ? kNone : found->get_array();
}

bool HasCondition(const value& pod, std::string_view type) {
  return std::ranges::any_of(ArrayAt(pod, {"status", "conditions"}), [type](const value& one) {
    return kube::StringAt(one, {"type"}) == type && kube::StringAt(one, {"status"}) == "True";
  });
}

std::string Terminated(const value& container, std::string_view prefix) {
  const std::string_view reason = kube::StringAt(container, {"state", "terminated", "reason"});
  if (!reason.empty()) return absl::StrFormat("%s%s", prefix, reason);
  const int64_t signal = kube::IntAt(container, {"state", "terminated", "signal"});
  if (signal != 0) return absl::StrFormat("%sSignal:%d", prefix, signal);
  return absl::StrFormat("%sExitCode:%d", prefix,
                         kube::IntAt(container, {"state", "terminated", "exitCode"}));
}

class Restarts {
 public:
  void Add(const value& container) {
    count_ += kube::IntAt(container, {"restartCount"});
    const auto ended =
        kube::ParseTime(kube::StringAt(container, {"lastState", "terminated", "finishedAt"}));
    if (ended && (!last_ || *ended > *last_)) last_ = ended;
  }
  std::string Text(absl::Time now) const {
    if (count_ == 0 || !last_) return std::to_string(count_);
    return absl::StrFormat("%d (%s ago)", count_, HumanDuration(now - *last_));
  }

 private:
  int64_t count_ = 0;
  std::optional<absl::Time> last_;
};

// "Init:0/2" and the like; nullopt once all init containers have succeeded.
std::optional<std::string> InitStatus(const value& pod) {
  const array& states = ArrayAt(pod, {"status", "initContainerStatuses"});
  for (size_t i = 0; i < states.size(); ++i) {
    const value& container = states[i];
    const value* terminated = kube::FindPath(container, {"state", "terminated"});
    if (terminated != nullptr) {
      if (kube::IntAt(*terminated, {"exitCode"}) == 0) continue;
      return Terminated(container, "Init:");
    }
    const std::string_view waiting = kube::StringAt(container, {"state", "waiting", "reason"});
    if (!waiting.empty() && waiting != "PodInitializing") {
      return absl::StrFormat("Init:%s", waiting);
    }
    return absl::StrFormat("Init:%d/%d", i, ArrayAt(pod, {"spec", "initContainers"}).size());
  }
  return std::nullopt;
}

}  // namespace

PodSummary SummarizePod(const value& pod, absl::Time now) {
  const std::string_view phase = kube::StringAt(pod, {"status", "phase"});
  std::string status(kube::StringAt(pod, {"status", "reason"}, phase));
  Restarts restarts;
  int ready = 0;
  const std::optional<std::string> init = InitStatus(pod);
  if (init && !HasCondition(pod, "Initialized")) {
    status = *init;
    for (const value& one : ArrayAt(pod, {"status", "initContainerStatuses"})) restarts.Add(one);
  } else {
    bool running = false;
    const array& states = ArrayAt(pod, {"status", "containerStatuses"});
    for (auto state = states.rbegin(); state != states.rend(); ++state) {
      restarts.Add(*state);
      const std::string_view waiting = kube::StringAt(*state, {"state", "waiting", "reason"});
      if (!waiting.empty()) {
        status = waiting;
      } else if (kube::FindPath(*state, {"state", "terminated"}) != nullptr) {
        status = Terminated(*state, "");
      } else if (kube::BoolAt(*state, {"ready"}) &&
                 kube::FindPath(*state, {"state", "running"}) != nullptr) {
        running = true;
        ++ready;
      }
    }
    if (status == "Completed" && running) {
      status = HasCondition(pod, "Ready") ? "Running" : "NotReady";
    }
  }
  if (kube::FindPath(pod, {"metadata", "deletionTimestamp"}) != nullptr) {
    if (kube::StringAt(pod, {"status", "reason"}) == "NodeLost") {
      status = "Unknown";
    } else if (phase != "Failed" && phase != "Succeeded") {
      status = "Terminating";
    }
  }
  return {absl::StrFormat("%d/%d", ready, ArrayAt(pod, {"spec", "containers"}).size()), status,
          restarts.Text(now)};
}

}  // namespace local_cluster
