// What to do next for a Pod's containers: kubelet's decisions as pure functions.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

#include "local-cluster/runner/pod_spec.h"

namespace local_cluster {

struct Termination {
  int exit_code = 0;
  int signal = 0;
  std::string reason;  // Completed, Error, OOMKilled, ContainerStatusUnknown.
  std::string message;
  absl::Time started_at;
  absl::Time finished_at;
};

// What the runner knows of one container.
struct ContainerState {
  enum class Phase { kWaiting, kStarting, kRunning, kTerminated };
  Phase phase = Phase::kWaiting;
  std::string
      waiting_reason;  // ErrImagePull, CreateContainerConfigError …; empty: it waits its turn.
  std::string waiting_message;
  std::string container_id;
  absl::Time started_at = absl::InfinitePast();
  std::optional<Termination> termination;  // With kTerminated.
  std::optional<Termination> last;         // Of the run before.
  int restarts = 0;
  bool started = false;  // The startup probe has succeeded, or there is none.
  bool ready = false;    // The readiness probe, or running where there is none.
  bool stopping = false;

  absl::Duration backoff = absl::ZeroDuration();  // Before the next restart, from its end.
  absl::Time not_before = absl::InfinitePast();   // After an error before the start.
  absl::Duration start_backoff = absl::ZeroDuration();

  bool running() const { return phase == Phase::kRunning || phase == Phase::kStarting; }
};

using ContainerStates = std::map<std::string, ContainerState, std::less<>>;

enum class PodPhase { kPending, kRunning, kSucceeded, kFailed };

struct PodPlan {
  std::vector<std::string> start;
  std::vector<std::string> stop;
  absl::Time wake_at = absl::InfiniteFuture();  // Look again then.
  bool all_ended = false;                       // Nothing runs, and nothing will.
};

// kubelet's: the first restart is immediate, then 10 s, 20 s … 5 min after the last end; a run of
// 10 minutes starts over.
inline constexpr absl::Duration kBackoffInitial = absl::Seconds(10);
inline constexpr absl::Duration kBackoffMax = absl::Minutes(5);
inline constexpr absl::Duration kBackoffReset = absl::Minutes(10);

// The back-off that counts from the end of a run of `ran`, where `before` counted from the last.
absl::Duration NextBackoff(absl::Duration before, absl::Duration ran);

bool ShouldRestart(const PodSpec& spec, const ContainerSpec& container, const Termination& ended);

// True once every init container has succeeded and every sidecar has started.
bool IsInitialized(const PodSpec& spec, const ContainerStates& states);

// `stopping`: the Pod is being deleted, or has failed as a whole (deadline, eviction).
PodPlan PlanPod(const PodSpec& spec, const ContainerStates& states, bool stopping, absl::Time now);

// `failed`: the Pod has failed as a whole.
PodPhase ComputePhase(const PodSpec& spec, const ContainerStates& states, bool failed);

}  // namespace local_cluster
