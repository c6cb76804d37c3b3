// One connected socket of a blocking client, with deadlines on every step and a way to end them.

#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace net {

// A time that never jumps, for deadlines. Only differences mean something.
absl::Time SteadyNow();

// Used by one thread; only Cancel() may be called from another.
//
// Deadlines are points of SteadyNow(). Errors: kUnavailable (refused, reset, no address),
// kDeadlineExceeded, kCancelled.
class ClientSocket {
 public:
  ClientSocket();
  ~ClientSocket();
  ClientSocket(const ClientSocket&) = delete;
  ClientSocket& operator=(const ClientSocket&) = delete;

  absl::Status ConnectTcp(const std::string& host, int port, absl::Time deadline);
  absl::Status ConnectUnix(const std::string& path, absl::Time deadline);

  // Blocks until there are bytes, and appends them to `*out`. 0 when the peer closed.
  absl::StatusOr<size_t> Read(std::string* out, absl::Time deadline);
  absl::Status WriteAll(std::string_view data, absl::Time deadline);

  // True when an idle connection cannot be used any more: the peer closed or sent something.
  bool Stale() const;

  // Ends what blocks now and everything later with kCancelled. Any thread.
  void Cancel();

 private:
  absl::Status ConnectTo(const void* address, unsigned address_size, int family,
                         absl::Time deadline);
  absl::Status Await(short events, absl::Time deadline);

  int fd_ = -1;
  int wake_fd_ = -1;  // An eventfd that Cancel() makes readable.
  std::atomic<bool> cancelled_ = false;
};

}  // namespace net
