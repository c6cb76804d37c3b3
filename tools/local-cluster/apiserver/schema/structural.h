// From the openAPIV3Schema of a CRD to a Schema.

#pragma once

#include <string>
#include <vector>

#include <boost/json/fwd.hpp>

#include "local-cluster/apiserver/cel/schema.h"
#include "local-cluster/apiserver/schema/errors.h"

namespace local_cluster {

// The root has apiVersion, kind and metadata as every object has. What is wrong is added to
// `causes` below `path`; the result is then of no use. Rules are compiled.
const Schema* ParseStructural(const boost::json::value& json, const std::string& path,
                              SchemaArena& arena, std::vector<ErrorCause>& causes);

}  // namespace local_cluster
