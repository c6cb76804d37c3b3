// What the objects of a Workspace have in common. For the .cc files that make them.

#pragma once

#include <string_view>

#include <boost/json/fwd.hpp>

#include "common/kube/object.h"
#include "workspace-controller/workspace.h"

namespace workspace_controller {

inline constexpr int kGatewayPort = 5000;
inline constexpr int kRankPort = 8003;

// Name, namespace and the Workspace's label.
boost::json::object Metadata(const Workspace& workspace, std::string_view name);

// The Workspace as controlling owner: the object goes when it goes.
void SetOwner(const Workspace& workspace, boost::json::object& metadata);

// An object with one more member, such as "spec".
kube::Object Made(std::string_view api_version, std::string_view kind, boost::json::object metadata,
                  std::string_view member, boost::json::value content);

}  // namespace workspace_controller
