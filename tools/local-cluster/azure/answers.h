// Shapes of ARM's answers.

#pragma once

#include <string>
#include <string_view>

#include <boost/json/fwd.hpp>

#include "absl/time/time.h"

#include "common/net/http.h"

namespace local_cluster::azure {

net::Response JsonAnswer(int status, const boost::json::value& body);
// {"error":{"code":…,"message":…}}
net::Response ErrorAnswer(int status, std::string_view code, std::string_view message);

net::Response PoolNotFound();
net::Response ClusterNotFound(std::string_view cluster, std::string_view resource_group);
net::Response InProgressCreate(absl::Time started);
net::Response InProgressOther(std::string_view operation);

std::string Lower(std::string_view text);

}  // namespace local_cluster::azure
