// As much of a Kubernetes API as the provisioner uses, in memory and on the test's clock: objects
// with resource versions, merge patches, the status subresource, finalizers. No schema, no watches.

#pragma once

#include <map>
#include <memory>
#include <string>

#include <boost/json/fwd.hpp>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/kube/client.h"

namespace provisioner_testing {

// Thread-safe.
class ObjectApi final : public kube::Transport {
 public:
  explicit ObjectApi(const base::Clock& clock);
  ~ObjectApi() override;

  absl::StatusOr<net::Response> Send(const net::Request& request, absl::Duration timeout) override;
  // kUnimplemented: nobody watches here.
  absl::StatusOr<std::unique_ptr<net::HttpStream>> Open(const net::Request& request,
                                                        absl::Duration timeout) override;

 private:
  struct State;
  const base::Clock& clock_;
  absl::Mutex mutex_;
  const std::unique_ptr<State> state_;
};

}  // namespace provisioner_testing
