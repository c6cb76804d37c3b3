// Events: what a person sees under "Events" in kubectl describe.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/kube/client.h"

namespace kube {

struct EventRecorderOptions {
  std::string reporting_controller;  // "workspace-controller"
  std::string reporting_instance;    // Pod or host name.
  metrics::Registry* registry = nullptr;
};

// Never blocks a caller: a queue of 1,000, written by a thread of its own (events.k8s.io/v1). Equal
// events become a series; 25 per object, then one per 5 minutes.
class EventRecorder {
 public:
  EventRecorder(Client& client, EventRecorderOptions options,
                const base::Clock& clock = base::RealClock());
  ~EventRecorder();  // Writes what is queued, at most 2 s.

  void Normal(const Object& regarding, std::string_view reason, std::string_view note,
              std::string_view action = "Reconcile");
  void Warning(const Object& regarding, std::string_view reason, std::string_view note,
               std::string_view action = "Reconcile");

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kube
