// Why a pod does not run, in the words that its owner can act on. Pure.

#pragma once

#include <string>
#include <vector>

#include "common/kube/object.h"

namespace workspace_controller {

struct PodFailure {
  int severity = 0;  // 0: none. The smaller of two others is the worse.
  std::string reason;
  std::string message;
};

// What is wrong with one pod; severity 0 when nothing is, or it only waits.
PodFailure ClassifyPod(const kube::Object& pod);

// The worst of a group; of equal ones the first.
PodFailure WorstFailure(const std::vector<kube::Object>& pods);

// Where a pod is on its way: "PullingImage", "LoadingWeights", "Serving".
std::string PodPhase(const kube::Object& pod);

}  // namespace workspace_controller
