// One of several replicas leads: the holder of a Lease (coordination.k8s.io/v1).

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/kube/client.h"

namespace kube {

struct LeaderElectorOptions {
  std::string name;
  std::string namespace_name = "kube-system";
  std::string identity;  // Unique. Empty: host name and a random part.
  absl::Duration lease_duration = absl::Seconds(15);
  absl::Duration renew_deadline = absl::Seconds(10);
  absl::Duration retry_period = absl::Seconds(2);
  metrics::Registry* registry = nullptr;
};

// Runs on a thread of its own. Followers judge a lease by their own sight of its last change, never
// by the times written in it.
class LeaderElector {
 public:
  LeaderElector(Client& client, LeaderElectorOptions options,
                const base::Clock& clock = base::RealClock());
  ~LeaderElector();  // Release().

  // `on_started` is called once, on the elector's thread, when the lease is ours; `on_lost` once if
  // it is lost: the process must then end at once.
  void Start(std::function<void()> on_started, std::function<void()> on_lost);

  // Instead of Start(): one try to take or renew the lease. Returns when to try again. Callbacks as
  // given to SetCallbacks().
  absl::Duration Step();
  void SetCallbacks(std::function<void()> on_started, std::function<void()> on_lost);

  // True while the lease is ours and valid for at least `margin` more, by the monotonic clock.
  bool IsLeader(absl::Duration margin = absl::ZeroDuration()) const;

  const std::string& identity() const;

  // Gives the lease up so that another can take it at once, and stops.
  void Release();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kube
