// Writing our own children: only when they differ, and never over somebody else's object.

#pragma once

#include <optional>

#include "absl/status/status.h"

#include "common/kube/client.h"

namespace workspace_controller {

// Whether every member of `wanted` is in `current` with that value. Members that only `current`
// has, such as those that a server fills in, do not count; arrays must have the same length.
bool Covers(const boost::json::value& current, const boost::json::value& wanted);

// Creates or updates `wanted`; `current` is what the cache has. An object of this name that
// another controls is left alone: kAlreadyExists names it. `changed` says whether a write was
// made.
absl::Status ApplyChild(kube::Client& client, const kube::Resource& resource, kube::Object wanted,
                        const std::optional<kube::Object>& current, bool& changed);

}  // namespace workspace_controller
