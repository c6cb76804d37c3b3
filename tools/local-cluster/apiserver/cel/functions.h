// The functions that expressions call, and their operators.

#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "local-cluster/apiserver/cel/value.h"

namespace local_cluster::cel {

// `arguments` have been evaluated; a method's receiver is the first. Not for && || ?: and macros.
absl::StatusOr<Value> CallFunction(std::string_view name, const std::vector<Value>& arguments);

}  // namespace local_cluster::cel
