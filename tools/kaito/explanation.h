// Why a Workspace is not ready, in plain words: pure, from what the objects say.

#pragma once

#include <string>
#include <vector>

#include "common/kube/object.h"

namespace kaito {

// What was found in the cluster about one Workspace.
struct Evidence {
  kube::Object workspace;
  std::vector<kube::Object> node_claims;
  std::vector<kube::Object> nodes;  // Those that the claims or pods name.
  std::vector<kube::Object> pods;
  std::vector<kube::Object> events;  // Of the Workspace, its claims and pods.
  // The last lines of the containers that are not well, by "pod/container".
  std::vector<std::pair<std::string, std::string>> last_log_lines;
  std::vector<std::string> dead_processes;  // Of the local cluster, if it is one.
};

struct Cause {
  std::string
      where;  // "condition ResourceReady", "node claim x", "pod y", "log of y/model-server".
  std::string text;
};

struct Explanation {
  bool ready = false;
  std::string headline;
  std::vector<Cause> causes;  // From the Workspace down to what happened last.
  std::string next_step;
};

Explanation Explain(const Evidence& evidence);

// The containers whose log may say more: "pod", "container", and whether their previous run counts.
struct TroubledContainer {
  std::string pod;
  std::string container;
  bool previous = false;
};
std::vector<TroubledContainer> TroubledContainers(const std::vector<kube::Object>& pods);

}  // namespace kaito
