// The API server as a function call, for those in the same process.

#pragma once

#include <memory>

#include "common/kube/client.h"
#include "common/net/http_server.h"

namespace local_cluster {

// Calls `handler`, which must outlive it, on the caller's thread as user "system:local-cluster" of
// group system:masters. An answer that streams is read as from a socket.
std::unique_ptr<kube::Transport> MakeLocalTransport(net::Handler handler);

}  // namespace local_cluster
