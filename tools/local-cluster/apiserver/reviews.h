// Who am I, may I: reviews of authentication and authorization.

#pragma once

#include <boost/json/fwd.hpp>

#include "absl/status/statusor.h"

#include "local-cluster/apiserver/authenticator.h"
#include "local-cluster/apiserver/request.h"

namespace local_cluster {

// The review with its status filled in. Everybody who is known may do everything.
absl::StatusOr<net::Response> AnswerReview(const ResourceRequest& request, boost::json::value body,
                                           const Authenticator& authenticator);

}  // namespace local_cluster
