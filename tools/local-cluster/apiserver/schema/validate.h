// Whether a custom resource is what its CRD says, in the words of Kubernetes.

#pragma once

#include <vector>

#include <boost/json/fwd.hpp>

#include "local-cluster/apiserver/cel/schema.h"
#include "local-cluster/apiserver/schema/errors.h"

namespace local_cluster {

// Adds what is wrong with `object`. Where `old` has the same value at the same place, faults that
// it has too are let pass; `old` is null on create.
void ValidateBySchema(const boost::json::value& object, const boost::json::value* old,
                      const Schema& schema, std::vector<ErrorCause>& causes);

}  // namespace local_cluster
