// What the API server asks of whoever runs the pods: their logs, and raw connections into them.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "common/net/http_server.h"

namespace local_cluster {

// The query of GET …/pods/NAME/log.
struct PodLogOptions {
  std::string namespace_name;
  std::string pod;
  std::string pod_uid;
  std::string container;  // Never empty: the API server fills in the only one, or the default one.
  bool follow = false;
  bool previous = false;  // The run before the present one.
  bool timestamps = false;
  std::optional<int64_t> tail_lines;
  std::optional<absl::Time> since;
  std::optional<int64_t> limit_bytes;
};

// Where log text goes. Thread-safe; Write never blocks.
class LogSink {
 public:
  virtual ~LogSink() = default;

  // False once the reader has gone: stop.
  virtual bool Write(std::string text) = 0;
  virtual void End() = 0;

  // Bytes that the reader has not taken yet: a writer with much more to say waits for it.
  virtual size_t unsent_bytes() const = 0;

  // Calls `callback` once when the reader goes first. Only one; at once if it has gone already.
  virtual void OnClose(std::function<void()> callback) = 0;
};

// A connection into a pod that the client wants to upgrade: exec, attach or portforward.
struct PodConnection {
  std::string namespace_name;
  std::string pod;
  std::string subresource;  // "exec", "attach", "portforward".
  std::string container;
  std::vector<std::string> command;
  bool stdin_open = false;
  bool stdout_open = false;
  bool stderr_open = false;
  bool tty = false;
};

// Implemented by the runner; called on handler threads, from several at once. Must outlive the API
// server or be withdrawn with ApiServer::SetPodStreams(nullptr).
class PodStreams {
 public:
  virtual ~PodStreams() = default;

  // Keeps `sink` and writes to it from any thread, then End(). An error is what the client sees
  // instead: kFailedPrecondition (400, "container … is waiting to start: …"), kNotFound (404, no
  // such run), kUnavailable.
  virtual absl::Status OpenLog(const PodLogOptions& options, std::shared_ptr<LogSink> sink) = 0;

  // Answers `exchange` itself, with an upgrade or an error. By default refuses with kUnimplemented.
  virtual absl::Status OpenConnection(const PodConnection& connection,
                                      std::shared_ptr<net::Exchange> exchange);
};

}  // namespace local_cluster
