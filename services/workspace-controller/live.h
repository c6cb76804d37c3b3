// What the provisioner can tell at once and no object shows: can such nodes start, at what price.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/kube/object_key.h"
#include "workspace-controller/observed.h"

namespace workspace_controller {

struct AdviceQuestion {
  std::string instance_type;
  int count = 1;
  double storage_gib = 0;
  std::string image_family;

  bool operator==(const AdviceQuestion&) const = default;
};

struct LiveOptions {
  std::string provisioner;  // gRPC target; empty: nobody is asked.
  absl::Duration deadline = absl::Seconds(2);
  absl::Duration fresh_for = absl::Seconds(30);  // An answer is not asked for again before.
};

// A thread of its own asks; a reconcile only reads. No answer is no error: the caller goes on
// without.
//
// Thread-safe.
class Live {
 public:
  // `on_answer` is called on that thread when an answer differs from the one before.
  Live(LiveOptions options, std::function<void(const kube::ObjectKey&)> on_answer,
       const base::Clock& clock = base::RealClock());
  ~Live();  // Stop().

  // No `on_answer` any more once this returns. Waits for a call that runs, at most the deadline.
  void Stop();

  // What is known now; asks if that is old or for another question. Never blocks.
  std::optional<Advice> Ask(const kube::ObjectKey& workspace, const AdviceQuestion& question);

  void Forget(const kube::ObjectKey& workspace);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace workspace_controller
