// metadata: what names, labels, annotations and owners must look like.

#pragma once

#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "local-cluster/apiserver/kinds.h"

namespace local_cluster {

bool IsDnsLabel(std::string_view text);
bool IsDnsSubdomain(std::string_view text);
bool IsQualifiedName(std::string_view text);  // "example.com/name", "name".
bool IsLabelValue(std::string_view text);

// `old` is null on create.
void ValidateMetadata(const boost::json::object& metadata, const boost::json::object* old,
                      const Kind& kind, std::vector<ErrorCause>& causes);

}  // namespace local_cluster
