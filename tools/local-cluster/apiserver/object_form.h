// Between what a request carries and what is stored: versions, unknown fields, defaults, checks.

#pragma once

#include <string>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/status/status.h"

#include "local-cluster/apiserver/request.h"
#include "local-cluster/apiserver/storage/store.h"

namespace local_cluster {

// Makes the storage form of an object from a request's body: right kind, decoded, pruned. Paths of
// unknown fields are refused, or added to `warnings`, as the request wants.
absl::Status ToStorage(const ResourceRequest& request, boost::json::value& object,
                       std::vector<std::string>& warnings);

// An object of the store as this version of its kind shows it: apiVersion, defaults of its schema.
// Returns `stored` itself where nothing differs.
SharedJson ToVersion(const Kind& kind, const KindVersion& version, SharedJson stored);

// Fills in what the kind's schema and strategy fill in.
void FillDefaults(const Kind& kind, boost::json::value& object);

// All that is wrong with an object in storage form as one 422; `old` is null on create.
absl::Status ValidateObject(const ResourceRequest& request, const boost::json::value& object,
                            const boost::json::value* old);

}  // namespace local_cluster
