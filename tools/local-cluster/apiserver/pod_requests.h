// What requests to pods' subresources say, and the way log text takes back.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <boost/json/fwd.hpp>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/net/http_server.h"
#include "local-cluster/apiserver/pod_streams.h"

namespace local_cluster {

// The query of /log against the pod: the container named, the default one, or the only one; else
// 400 in Kubernetes' words.
absl::StatusOr<PodLogOptions> ParseLogOptions(const net::Request& request,
                                              const boost::json::value& pod, absl::Time now);

absl::StatusOr<PodConnection> ParseConnection(const net::Request& request,
                                              const boost::json::value& pod,
                                              const std::string& subresource);

// The pod as bound to `node`, with its condition PodScheduled.
boost::json::value BoundPod(boost::json::value pod, const std::string& node,
                            const std::string& now);

// Begins the answer with the first text.
std::shared_ptr<LogSink> MakeExchangeLogSink(std::shared_ptr<net::Exchange> exchange);

}  // namespace local_cluster
