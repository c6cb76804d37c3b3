// Workspace → node claims, workload, service, status.

#pragma once

#include <string>

#include "absl/status/statusor.h"

#include "common/base/clock.h"
#include "common/catalog/gpu_types.h"
#include "common/catalog/presets.h"
#include "common/kube/client.h"
#include "common/kube/controller.h"
#include "common/kube/events.h"
#include "workspace-controller/controller_metrics.h"
#include "workspace-controller/decision.h"
#include "workspace-controller/desired_objects.h"
#include "workspace-controller/live.h"
#include "workspace-controller/object_reader.h"
#include "workspace-controller/reservations.h"
#include "workspace-controller/status.h"

namespace workspace_controller {

struct ReconcilerOptions {
  WorkspaceDefaults defaults;
  DecisionOptions decision;
  ObjectOptions objects;
  StatusOptions status;
};

// What a reconcile works with; all borrowed, and outliving the reconciler.
struct ReconcilerParts {
  kube::Client& client;
  const ObjectReader& reader;
  const catalog::Presets& presets;
  const catalog::GpuTypes& types;
  kube::EventRecorder& events;
  Live& live;
  Reservations& reservations;
  ControllerMetrics& metrics;
  const base::Clock& clock = base::RealClock();
};

// Reads caches, decides, writes the difference, reports. Blocks on nothing but its own writes.
// Thread-safe: several workers, each with another key.
class WorkspaceReconciler final : public kube::Reconciler {
 public:
  WorkspaceReconciler(ReconcilerParts parts, ReconcilerOptions options);

  absl::StatusOr<kube::ReconcileResult> Reconcile(const kube::ObjectKey& key) override;

 private:
  absl::StatusOr<kube::ReconcileResult> Finalize(const Workspace& workspace);
  absl::Status DeleteOwned(const Workspace& workspace);

  Observed Observe(const Workspace& workspace);
  void ObserveConfig(const Workspace& workspace, Observed& observed) const;
  std::vector<NodeView> ObserveNodes(const Workspace& workspace) const;
  Decision DecideAndHold(const Workspace& workspace, Observed& observed);

  absl::Status Apply(const Workspace& workspace, const Observed& observed,
                     const Decision& decision);
  absl::Status ApplyShared(const Workspace& workspace, const Observed& observed);
  absl::Status CreateClaims(const Workspace& workspace, const Observed& observed,
                            const Decision& decision);
  absl::Status CreateClaim(const Workspace& workspace, int slot, const Observed& observed);
  absl::Status LabelNodes(const Decision& decision);
  absl::Status Report(const Workspace& workspace, const Observed& observed,
                      const Decision& decision, const absl::Status& applied);
  void RecordEvents(const Workspace& workspace, const Decision& decision, const Observed& observed);

  ReconcilerParts parts_;
  ReconcilerOptions options_;
};

}  // namespace workspace_controller
