// From what a client sent to what is stored: unknown fields out, defaults in.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/status/status.h"

#include "local-cluster/apiserver/cel/schema.h"

namespace local_cluster {

// "a.b" + "c", "a" + "[3]"; "" + "c" is "c".
std::string FieldPath(std::string_view parent, std::string_view name);
std::string FieldPath(std::string_view parent, size_t index);

// Removes the members that `schema` does not know and adds their paths ("spec.bogus") to `unknown`.
void Prune(boost::json::value& value, const Schema& schema, const std::string& path,
           std::vector<std::string>& unknown);

// Puts in the defaults that are missing, outermost first. A null that is not allowed counts as
// missing where there is a default.
void ApplyDefaults(boost::json::value& value, const Schema& schema);

// For built-in kinds: nulls out, numbers of quantities to text, and values of another type refused
// as the Go decoder does: "json: cannot unmarshal string into Go struct field ….spec.replicas of
// type int32".
absl::Status Decode(boost::json::value& value, const Schema& schema, std::string_view kind,
                    const std::string& path = "");

}  // namespace local_cluster
